"""The statistics as observable instruments: the SDK asks when it collects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from codomyrmex.cache import CacheStats, hookimpl
from codomyrmex.cache.options import parse

NAME = "codomyrmex.cache"

# Per counter: its name, unit, what it says, its own attribute, and that attribute's values by the field that counts.
_COUNTERS = (
    (
        "reads",
        "{read}",
        "Reads by what came of them",
        "result",
        {"hit": "hits", "miss": "misses", "stale": "stale_hits"},
    ),
    ("writes", "{entry}", "Values stored", None, {"": "sets"}),
    (
        "removals",
        "{entry}",
        "Entries removed, by cause",
        "cause",
        {"deleted": "deletes", "capacity": "evictions", "expired": "expirations"},
    ),
    ("errors", "{call}", "Calls that the backend failed", None, {"": "errors"}),
    ("unreadable_records", "{record}", "Stored records that were not trusted", None, {"": "unreadable"}),
    ("joined_loads", "{caller}", "Callers who shared somebody else's load", None, {"": "waits_joined"}),
    ("loads", "{load}", "Loads", None, {"": "loads"}),
    ("load_failures", "{load}", "Loads that failed", None, {"": "load_failures"}),
    ("load_time", "s", "Time spent in loads", None, {"": "load_seconds"}),
)
_GAUGES = (
    ("entries", "{entry}", "Entries in the store", "entries"),
    ("size", "By", "Size of the entries", "bytes"),
    ("limit.entries", "{entry}", "Limit on entries", "max_entries"),
    ("limit.size", "By", "Limit on their size", "max_bytes"),
)
_lock = threading.Lock()
_sources: list[Mapping[str, CacheStats]] = []
_begun = False


@dataclass(frozen=True)
class _NoOptions:
    """The exporter ``opentelemetry`` has no options."""


@hookimpl
def export_stats(snapshots: Mapping[str, CacheStats], options: Mapping[str, Any]) -> None:
    """Let the SDK find ``snapshots`` from now on, whenever it collects."""
    global _begun
    parse(_NoOptions, options, where="exporter 'opentelemetry'")
    with _lock:
        _sources[:] = [*(one for one in _sources if one is not snapshots and len(one)), snapshots]
        if not _begun:
            _begun = True
            _begin()


def _begin() -> None:
    """Make the instruments, once: a meter that has no SDK yet hands them on to the one that comes."""
    meter = metrics.get_meter(NAME)
    for name, unit, text, attribute, fields in _COUNTERS:
        meter.create_observable_counter(f"{NAME}.{name}", [_observing(fields, attribute)], unit=unit, description=text)
    for name, unit, text, field in _GAUGES:
        meter.create_observable_gauge(f"{NAME}.{name}", [_observing({"": field}, None)], unit=unit, description=text)


def _observing(fields: Mapping[str, str], attribute: str | None) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        with _lock:
            sources = list(_sources)
        sums: dict[tuple[str, str, str], float] = {}
        for source in sources:
            for cache, stats in source.items():
                for value, field in fields.items():
                    number: float | None = getattr(stats, field)
                    if number is not None:
                        place = (cache, stats.backend, value)
                        sums[place] = sums.get(place, 0) + number
        for (cache, backend, value), total in sums.items():
            attributes = {f"{NAME}.name": cache, f"{NAME}.backend": backend}
            if attribute is not None:
                attributes[f"{NAME}.{attribute}"] = value
            yield Observation(total, attributes)

    return observe
