"""``top``: what the caches of running processes are doing, from the files that the exporter ``top`` writes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from codomyrmex.cache.measures import MEASURES

from ._errors import CommandError, known
from ._output import NONE, print_json, size
from ._publish import FORMAT, default_directory, private, started

HINT = 'no process shows its caches: put exporters = ["top"] into its config, or [exporters.top] with an interval'
_SUMMED = tuple(field for measure in MEASURES if measure.grows for field in measure.fields.values())


@dataclass(frozen=True)
class Reading:
    """One cache of one process, at one moment.

    Attributes:
        process: Its number.
        command: What it runs.
        time: When this was written, in seconds since the epoch.
        cache: Name of the cache.
        stats: The fields of `CacheStats`; a process may know fewer, or more.
    """

    process: int
    command: str
    time: float
    cache: str
    stats: Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One line of the view: a cache, of one process or of all.

    Attributes:
        cache: Its name.
        backend: Of its backend.
        who: The process, or how many there are.
        totals: Sums of the counters since the processes began.
        rates: The same per second, since the reading before; empty without one.
        entries: Entries in the store, and their limit.
        bytes: Their size, and its limit.
    """

    cache: str
    backend: str
    who: str
    totals: Mapping[str, float]
    rates: Mapping[str, float]
    entries: tuple[float | None, float | None]
    bytes: tuple[float | None, float | None]


def show(
    interval: float, *, once: bool, as_json: bool, processes: bool, cache: str | None, directory: Path | None
) -> int:
    """Show the view until it is interrupted.

    Args:
        interval: Seconds between two looks.
        once: Look once, and end.
        as_json: Print what is read as JSON, once.
        processes: A line for each process, in place of one for all.
        cache: Only this one; None for all.
        directory: Where the files are; None for where the exporter puts them.

    Raises:
        CommandError: Nobody shows anything, or the directory can't be trusted.
    """
    place = private(default_directory() if directory is None else directory)
    now = readings(place, cache)
    if as_json:
        print_json([{**vars(one), "stats": dict(one.stats)} for one in now])
        return 0
    if once or not sys.stdout.isatty():
        if not now:
            raise CommandError(_nothing(place, cache))
        console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
        console.print(table(lines(now, (), processes), console.width, processes))
        return 0
    with contextlib.suppress(KeyboardInterrupt), Live(screen=True, auto_refresh=False) as live:
        before: Sequence[Reading] = ()
        latest = now
        while True:
            rows = lines(latest, before, processes)
            live.update(
                table(rows, live.console.width, processes) if rows else Text(_nothing(place, cache)), refresh=True
            )
            time.sleep(interval)
            now = readings(place, cache)
            # Processes write at intervals of their own: a rate is that between two of their readings.
            before, latest = _pairs(latest, before, now), now
    return 0


def readings(directory: Path, cache: str | None = None) -> list[Reading]:
    """What processes have written that are alive; files of others are removed."""
    found: list[Reading] = []
    for path in sorted(directory.glob("*.json")):
        try:
            content = json.loads(path.read_text("utf-8"))
            process, begun = int(content["process"]), content["started"]
            if started(process) != begun:
                path.unlink(missing_ok=True)
            elif content["format"] == FORMAT:
                found += [
                    Reading(process, str(content["command"]), float(content["time"]), str(one["cache"]), one)
                    for one in content["caches"]
                    if cache is None or one["cache"] == cache
                ]
        except (OSError, ValueError, KeyError, TypeError):  # half written, or by another version
            continue
    return found


def lines(now: Iterable[Reading], before: Iterable[Reading], processes: bool) -> list[Line]:
    """The lines of the view, by name of cache.

    Args:
        now: What is shown.
        before: Earlier readings of the same caches, for rates.
        processes: One line for each process.
    """
    earlier = {(one.process, one.cache): one for one in before}
    groups: dict[tuple[str, str, int], list[Reading]] = {}
    for one in now:
        backend = str(one.stats.get("backend") or NONE)
        groups.setdefault((one.cache, backend, one.process if processes else 0), []).append(one)
    made: list[Line] = []
    for (cache, backend, _), group in sorted(groups.items()):
        who = f"{group[0].process} {group[0].command}" if processes else str(len({one.process for one in group}))
        totals = {name: sum(_number(one, name) for one in group) for name in _SUMMED}
        rates: dict[str, float] = {}
        for one in group:
            old = earlier.get((one.process, one.cache))
            if old is not None and one.time > old.time:
                for name in _SUMMED:
                    change = (_number(one, name) - _number(old, name)) / (one.time - old.time)
                    rates[name] = rates.get(name, 0.0) + max(change, 0.0)
        entries, limit, bytes_, most = (
            _known([one.stats.get(name) for one in group], backend)
            for name in ("entries", "max_entries", "bytes", "max_bytes")
        )
        made.append(Line(cache, backend, who, totals, rates, (entries, limit), (bytes_, most)))
    return made


def table(rows: Sequence[Line], width: int, processes: bool) -> Table:
    """The lines as a table.

    Args:
        rows: The lines.
        width: Of the terminal; below 110 some columns are left out.
        processes: Whether each line is a process's.
    """
    wide = width >= 110
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    texts = ["cache", *(["backend"] if wide else []), *(["process"] if processes else ["procs"] if wide else [])]
    for heading in texts:
        view.add_column(heading, overflow="ellipsis", min_width=min(len(heading), 7))
    numbers = ["hit rate", "now", "reads/s", "loads/s", "load time", "errors", "evicted", "entries", "size"]
    left_out = () if wide else ("evicted", "hit rate") if processes else ("evicted",)
    numbers = [heading for heading in numbers if heading not in left_out]
    for heading in numbers:
        view.add_column(heading if wide else heading.split()[0], justify="right", no_wrap=True)
    for row in rows:
        rate, total = row.rates, row.totals
        counted = rate if rate.get("loads") else total
        bad = "red" if rate.get("errors") else "yellow" if total["errors"] else ""
        words = {"cache": row.cache, "backend": row.backend, "process": row.who, "procs": row.who}
        cells: dict[str, str | Text] = {
            "hit rate": _share(total),
            "now": _share(rate),
            "reads/s": _rate(rate, "hits", "misses"),
            "loads/s": _rate(rate, "loads"),
            "load time": f"{counted['load_seconds'] / counted['loads'] * 1e3:,.1f} ms" if counted["loads"] else NONE,
            "errors": Text(f"{total['errors']:,.0f}", style=bad),
            "evicted": f"{total['evictions']:,.0f}",
            "entries": _of(row.entries[0], row.entries[1] if wide else None),
            "size": NONE if row.bytes[0] is None else size(int(row.bytes[0])),
        }
        view.add_row(
            *(Text(words[heading], no_wrap=True, overflow="ellipsis") for heading in texts),
            *(cells[heading] for heading in numbers),
        )
    return view


def _nothing(directory: Path, cache: str | None) -> str:
    """Why there is nothing to be shown."""
    names = sorted({one.cache for one in readings(directory)})
    return f"no process shows a cache {cache!r}; {known(names, cache)}" if cache is not None and names else HINT


def _pairs(latest: Iterable[Reading], before: Iterable[Reading], now: Iterable[Reading]) -> list[Reading]:
    """What to compare ``now`` to: the latest reading if there is a newer one, else still the one before it."""
    older = {(one.process, one.cache): one for one in before}
    times = {(one.process, one.cache): one.time for one in now}
    return [
        one if times.get((one.process, one.cache)) != one.time else older.get((one.process, one.cache), one)
        for one in latest
    ]


def _number(one: Reading, name: str) -> float:
    value = one.stats.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _known(values: Sequence[Any], backend: str) -> float | None:
    """Of a store that processes share each tells all of it; what each has for itself is added up."""
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    if not numbers:
        return None
    return sum(numbers) if backend in ("in_memory", "memory") else max(numbers)


def _share(counts: Mapping[str, float]) -> str:
    reads = counts.get("hits", 0) + counts.get("misses", 0)
    return f"{counts['hits'] / reads:.1%}" if reads else NONE


def _rate(rates: Mapping[str, float], *names: str) -> str:
    return f"{sum(rates[name] for name in names):,.0f}" if rates else NONE


def _of(number: float | None, limit: float | None) -> str:
    if number is None:
        return NONE
    return f"{number:,.0f}" if limit is None else f"{number:,.0f}/{limit:,.0f}"
