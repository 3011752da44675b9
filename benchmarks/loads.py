"""A hit of `memoize` beside lru_cache and cachetools.cached, one of `get_or_set` beside `get`, and stampedes beside
cashews, aiocache and dogpile: `python benchmarks/loads.py [--quick]` prints the tables and writes them to
results-loads.md.

Loops are written out, so that each pays for its own call only. Rounds take turns; a figure is the median of the rounds.
"""

from __future__ import annotations

import asyncio
import functools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import cachetools
import report
import stampede
from redis_server import server

from codomyrmex.cache import CacheManager

CALLS = 20_000
PEERS = ("cachetools", "cashews", "aiocache", "dogpile.cache")
TARGETS = {
    "memoize(7)": "≤ 8×",
    "memoize(7, 'y')": "≤ 8×",
    "memoize(a=7, b='y')": "≤ 8×",
    "method of memoize(7)": "≤ 8×",
    "get_or_set": "≤ 1.5×",
    "await get_or_set": "≤ 1.5×",
}
Loop = Callable[[], None]


def _add(a: int, b: str = "x") -> int:
    return a


async def _add_later(a: int, b: str = "x") -> int:
    return a


class _Shop:
    def total(self, a: int, b: str = "x") -> int:
        return a


def _one(function: Any) -> Loop:
    def loop() -> None:
        for _ in range(CALLS):
            function(7)

    return loop


def _two(function: Any) -> Loop:
    def loop() -> None:
        for _ in range(CALLS):
            function(7, "y")

    return loop


def _named(function: Any) -> Loop:
    def loop() -> None:
        for _ in range(CALLS):
            function(a=7, b="y")

    return loop


def _awaited(function: Any, *args: Any) -> Loop:
    async def go() -> None:
        for _ in range(CALLS):
            await function(*args)

    return lambda: asyncio.run(go())


def _method(shop: Any) -> Loop:
    def loop() -> None:
        for _ in range(CALLS):
            shop.total(7)

    return loop


def _key(get: Any) -> Loop:
    def loop() -> None:
        for _ in range(CALLS):
            get("key")

    return loop


def _load(get_or_set: Any) -> Loop:
    def loop() -> None:
        for _ in range(CALLS):
            get_or_set("key", _add)

    return loop


def contenders() -> dict[str, tuple[Loop, str]]:
    """Loops by name, each with the name of what it is compared to."""
    manager = CacheManager(environ={})
    cache: Any = manager.get_cache("bench")
    other: Any = manager.get_async_cache("bench")
    cache.set("key", 1)
    lru = functools.lru_cache(maxsize=1000)(_add)
    locked = cachetools.cached(cachetools.LRUCache(1000), lock=threading.RLock())(_add)
    ours = cache.memoize(name="ours")(_add)
    shop = type("Shop", (_Shop,), {"total": cache.memoize(name="total")(_Shop.total)})()
    lru_shop = type("Shop", (_Shop,), {"total": functools.lru_cache(maxsize=1000)(_Shop.total)})()
    loops = {
        "lru_cache(7)": (_one(lru), ""),
        "cachetools.cached with a lock(7)": (_one(locked), "lru_cache(7)"),
        "memoize(7)": (_one(ours), "lru_cache(7)"),
        "lru_cache(7, 'y')": (_two(lru), ""),
        "memoize(7, 'y')": (_two(ours), "lru_cache(7, 'y')"),
        "lru_cache(a=7, b='y')": (_named(lru), ""),
        "memoize(a=7, b='y')": (_named(ours), "lru_cache(a=7, b='y')"),
        "method of lru_cache(7)": (_method(lru_shop), ""),
        "method of memoize(7)": (_method(shop), "method of lru_cache(7)"),
        "get": (_key(cache.get), ""),
        "get_or_set": (_load(cache.get_or_set), "get"),
        "await get": (_awaited(other.get, "key"), "get"),
        "await get_or_set": (_awaited(other.get_or_set, "key", _add), "await get"),
        "await memoize(7)": (_awaited(other.memoize(name="later")(_add_later), 7), "memoize(7)"),
    }
    for loop, _ in loops.values():
        loop()
    return loops


def hits(rounds: int) -> Iterator[str]:
    """The lines of the table of hits."""
    loops = contenders()
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, (loop, _base) in loops.items():
            start = time.perf_counter()
            loop()
            seconds[name].append((time.perf_counter() - start) / CALLS)
    yield from ("| a hit of | ns | ratio | to | target |", "|---|---|---|---|---|")
    for name, (_, base) in loops.items():
        median = statistics.median(seconds[name]) * 1e9
        ratios = [mine / theirs for mine, theirs in zip(seconds[name], seconds[base or name], strict=True)]
        yield f"| {name} | {median:.0f} | {statistics.median(ratios):.1f}× | {base or '–'} | {TARGETS.get(name, '–')} |"


def figures(quick: bool) -> Iterator[str]:
    """The lines of the page."""
    peers = ", ".join(f"{name} {metadata.version(name)}" for name in PEERS)
    with server() as (url, program):
        yield f"{report.machine()}, {program} beside it, {peers}."
        yield from ("", "## Hits", "")
        yield from hits(5 if quick else 25)
        yield from ("", "## Stampedes", "")
        yield (
            "Callers who ask for one missing key at once, while its factory takes 50 ms: how often it is called, and "
            "how long after its end they have the value. Targets: one call; all within 10 ms, on Redis within 50 ms."
        )
        yield ""
        yield from stampede.tables(url, 1 if quick else 7)


if __name__ == "__main__":
    report.write(__doc__, "Loads", "results-loads.md", figures)
