"""``demo``: the analysis of the standard library, without a cache and on every backend, cold and warm."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from codomyrmex.cache import Cache, CacheError, CacheManager

from . import _server
from ._analysis import Measures, measure
from ._backends import choose, open_cache
from ._errors import CommandError
from ._modules import Module, find_modules, standard_library
from ._output import progress
from ._report import Report, Row

_TTL = "1h"
"""On a shared server nothing is left behind for ever, even by a demo that is killed."""


def show(named: Sequence[str], limit: int | None, as_json: bool) -> int:
    """Run the demo and print its report.

    Args:
        named: Names or URLs of backends; if empty, all that are installed.
        limit: Number of modules, None for all.
        as_json: Whether to print JSON.

    Raises:
        CommandError: Results differ, or a backend that was named can't be used.
    """
    with CacheManager(exporting=False) as configured:
        backends = choose(configured.plugins(), named)
    modules = find_modules(standard_library())[:limit]
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers: dict[str, str] = {}
        if "redis" in backends and not _server.is_named() and (url := stack.enter_context(_server.embedded())):
            servers["redis"] = url
        # A config of its own: the user's ttl, limits or serializers would make it another demo.
        manager, bars = stack.enter_context(CacheManager({})), stack.enter_context(progress())
        report = run(manager, backends, modules, directory, bars, strict=bool(named), servers=servers)
    report.print(as_json)
    if faults := report.faults(named):
        raise CommandError("; ".join(faults))
    return 0


def run(
    manager: CacheManager,
    backends: Iterable[str],
    modules: Sequence[Module],
    directory: Path,
    bars: Progress,
    *,
    strict: bool = False,
    servers: Mapping[str, str] | None = None,
) -> Report:
    """Analyse ``modules`` without a cache, then through one on every backend, twice.

    Args:
        manager: Makes the caches.
        backends: Names or URLs of backends.
        modules: What to analyse.
        directory: An empty place for backends that need one.
        bars: Shows progress.
        strict: Whether a backend that can't be used is an error, in place of a row that says why.
        servers: URL of the server by name of the backend, where it is not the backend's own default.

    Raises:
        CacheError: A backend can't be used.
    """
    caches: dict[str, Cache[Any] | str] = {}
    for backend in backends:
        try:
            caches[backend] = open_cache(manager, backend, directory, (servers or {}).get(backend))
        except Exception as error:
            if strict:
                raise
            without = backend == "redis" and not servers and not _server.is_named()
            caches[backend] = f"{_reason(error)}; {_server.HINT}" if without else _reason(error)
    for module in modules:
        module.path.read_bytes()  # else the first pass alone would pay for the disk
    results, uncached_seconds = _timed_pass(None, modules, bars, "uncached")
    rows: list[Row] = []
    for backend, cache in caches.items():
        if isinstance(cache, str):
            rows.append(Row(backend=backend, problem=cache))
        else:
            rows.append(_row(backend, cache, modules, results, bars))
    return Report(modules=modules, results=results, uncached_seconds=uncached_seconds, rows=rows)


def analyse(module: Module, cache: Cache[Measures] | None) -> Measures:
    """The measures of ``module``, from the cache if it has them."""
    if cache is None:
        return measure(module.path.read_bytes())
    key = module.key()
    result = cache.get(key)
    if result is None:
        result = measure(module.path.read_bytes())
        cache.set(key, result, ttl=_TTL)
    return result


def _timed_pass(
    cache: Cache[Measures] | None, modules: Sequence[Module], bars: Progress, title: str
) -> tuple[list[Measures], float]:
    start = time.perf_counter()
    results = [analyse(module, cache) for module in bars.track(modules, description=title)]
    return results, time.perf_counter() - start


def _row(
    backend: str,
    cache: Cache[Measures],
    modules: Sequence[Module],
    results: Sequence[Measures],
    bars: Progress,
) -> Row:
    try:
        cold, cold_seconds = _timed_pass(cache, modules, bars, f"{backend}, cold")
        before = cache.stats
        warm, warm_seconds = _timed_pass(cache, modules, bars, f"{backend}, warm")
        after = cache.stats
    except Exception as error:
        return Row(backend=backend, problem=_reason(error))
    finally:
        with contextlib.suppress(Exception):  # what failed above is the reason to show
            cache.delete_many([module.key() for module in modules])
    compared = zip(modules, results, cold, warm, strict=True)
    hits, misses = after.hits - before.hits, after.misses - before.misses
    return Row(
        backend=backend,
        cold_seconds=cold_seconds,
        warm_seconds=warm_seconds,
        hit_rate=hits / (hits + misses) if hits + misses else 0.0,
        entries=after.entries,
        bytes=after.bytes,
        differing=tuple(module.name for module, *three in compared if any(one != three[0] for one in three)),
    )


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, CacheError) else f"{type(error).__name__}: {error}"
