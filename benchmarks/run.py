"""Side by side with peers, in one run: `python benchmarks/run.py [--quick]` prints the tables and writes them to
results.md.

Every round measures each contender once, in turn, on the same keys, so that a machine that slows down slows all of
them. A figure is the median of the rounds; ratios are to the bare dict of the same round.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import report
from in_memory import CONTENDERS, Contender

ENTRIES = 1_000
INSERTS = 20_000
THREADS = 8
PASSES = 1_600  # over all entries; a fifth of a second, which makes little of starting the threads
ROWS = ("get hit", "get hit, ttl", "get miss", "set", "set, ttl", "insert + evict")
Measured = dict[str, dict[str, list[float]]]


def seconds_each(run: Callable[[list[str]], None], keys: list[str], repeat: int) -> float:
    """Seconds per key of ``run(keys)``, the best of a few goes, the garbage collector left on."""
    best = min(_timed(run, keys) for _ in range(repeat))
    return best / len(keys)


def _timed(run: Callable[[list[str]], None], keys: list[str]) -> float:
    start = time.perf_counter()
    run(keys)
    return time.perf_counter() - start


def measure(contender: Contender, repeat: int) -> dict[str, float]:
    """One round of one contender: seconds per operation by row."""
    found: dict[str, float] = {}
    keys = [f"key:{number}" for number in range(ENTRIES)]
    absent = [f"absent:{number}" for number in range(ENTRIES)]
    full = contender.make(ENTRIES)
    full.fill(keys)
    if full.get is not None:
        found["get hit"] = seconds_each(full.get, keys, repeat)
        found["get miss"] = seconds_each(full.get, absent, repeat)
    if full.set is not None:
        found["set"] = seconds_each(full.set, keys, repeat)
        fresh = [f"new:{number}" for number in range(INSERTS)]
        if contender.bounded:
            found["insert + evict"] = seconds_each(full.set, fresh, max(repeat // 3, 1))
    timed = contender.make_ttl(ENTRIES) if contender.make_ttl else None
    if timed is not None:
        timed.fill(keys)
        if timed.get is not None:
            found["get hit, ttl"] = seconds_each(timed.get, keys, repeat)
        if timed.set is not None:
            found["set, ttl"] = seconds_each(timed.set, keys, repeat)
    return found


def side_by_side(rounds: int, repeat: int) -> Measured:
    """Every contender in every round, each round in another order."""
    results: Measured = {contender.name: {row: [] for row in ROWS} for contender in CONTENDERS}
    for number in range(rounds):
        shift = number % len(CONTENDERS)
        for contender in CONTENDERS[shift:] + CONTENDERS[:shift]:
            gc.collect()
            for row, seconds in measure(contender, repeat).items():
                results[contender.name][row].append(seconds)
    return results


def table(results: Measured) -> Iterator[str]:
    """Nanoseconds, and multiples of the bare dict's hit in the same round."""
    base = results["dict"]["get hit"]
    yield "| | " + " | ".join(ROWS) + " |"
    yield "|---|" + "---|" * len(ROWS)
    for name, rows in results.items():
        cells = []
        for row in ROWS:
            if not rows[row]:
                cells.append("–")
                continue
            ratio = statistics.median(one / bare for one, bare in zip(rows[row], base, strict=True))
            cells.append(f"{statistics.median(rows[row]) * 1e9:,.0f} ns, {ratio:.1f}×")
        yield f"| {name} | " + " | ".join(cells) + " |"


@contextmanager
def our_cache(entries: int) -> Iterator[Any]:
    """A filled cache of ours with a ttl."""
    from codomyrmex.cache import CacheManager

    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("bench", max_entries=2 * entries)
        cache.set_many({f"key:{number}": number for number in range(entries)}, ttl=3600)
        yield manager


def threads_and_tasks(rounds: int) -> Iterator[str]:
    """Throughput of eight threads against one, and an awaited get against a plain one."""
    keys = [f"key:{number}" for number in range(ENTRIES)]
    shares, awaits = [], []
    with our_cache(ENTRIES) as manager:
        cache, async_cache = manager.get_cache("bench"), manager.get_async_cache("bench")

        def read(times: int) -> None:
            for _ in range(times):
                for key in keys:
                    cache.get(key)

        async def read_async(times: int) -> None:
            for _ in range(times):
                for key in keys:
                    await async_cache.get(key)

        for _ in range(rounds):
            start = time.perf_counter()
            read(PASSES)
            one = time.perf_counter() - start
            threads = [threading.Thread(target=read, args=(PASSES // THREADS,)) for _ in range(THREADS)]
            start = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            shares.append(one / (time.perf_counter() - start))
            start = time.perf_counter()
            asyncio.run(read_async(PASSES))
            awaits.append((time.perf_counter() - start) / one)
    yield f"- eight threads: {statistics.median(shares):.2f} of one thread's throughput"
    yield f"- an awaited get takes {statistics.median(awaits):.1f}× a plain one"


def bytes_per_entry() -> Iterator[str]:
    """Memory of an entry beyond its key and value, by the allocator's own count."""
    import tracemalloc

    from codomyrmex.cache import CacheManager

    number = 20_000
    keys = [f"key:{index}" for index in range(number)]
    for ttl in (None, 3600):
        with CacheManager(environ={}) as manager:
            cache = manager.get_cache("bytes", max_entries="none")
            tracemalloc.start()
            for key in keys:
                cache.set(key, key, ttl)
            grown = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
        yield f"- bytes per entry beyond key and value, {'with' if ttl else 'without'} ttl: {grown / number:.0f}"


def figures(quick: bool) -> Iterator[str]:
    """The lines of the page."""
    rounds, repeat = (3, 5) if quick else (15, 30)
    yield f"{report.machine()}, {ENTRIES:,} entries, medians of {rounds} interleaved rounds."
    yield "The second figure is the multiple of a bare dict's `get` in the same round; each loop's own cost is in both."
    yield ""
    yield from table(side_by_side(rounds, repeat))
    yield ""
    yield from threads_and_tasks(rounds)
    yield from bytes_per_entry()
    yield ""


if __name__ == "__main__":
    report.write(__doc__, "in_memory", "results.md", figures)
