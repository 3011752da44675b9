"""file_based side by side with diskcache and bare LMDB, in one run: `python benchmarks/file_based.py [--quick]` prints
the tables and writes them to results-file.md.

Every round measures each contender once, in turn, on the same keys and values. A figure is the median of the rounds;
ratios are to diskcache in the same round. Where a ratio is below its target, a profile says where the time goes:
samples of the processor's time, by the line of Python that runs or has called into C.
"""

from __future__ import annotations

import collections
import gc
import itertools
import linecache
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import report

VALUES: dict[str, Any] = {
    "dict": {"name": "Ada", "born": 1815, "tags": ["first", "programmer"], "score": 0.5},
    "100 B": random.Random(1).randbytes(100),
    "4 KB": random.Random(2).randbytes(4_000),
    "100 KB": random.Random(3).randbytes(100_000),
    "4 MB": random.Random(4).randbytes(4_000_000),
}
ENTRIES = {"dict": 1_000, "100 B": 1_000, "4 KB": 1_000, "100 KB": 100, "4 MB": 8}
ROWS = ("get", "miss", "set", "insert", "set_many", "delete")
TTL = 3600.0
LIMIT = 2**31
PEER = "diskcache"
TARGETS = {("get", "100 B"): 3, ("get", "4 KB"): 3, ("get", "4 MB"): 4}
for one in ("100 B", "4 KB"):
    TARGETS |= {("miss", one): 5, ("set", one): 8, ("delete", one): 5}
"""Least ratio to diskcache, by operation and value."""
TOGETHER = {"2 processes": 8, "4 processes": 8, "8 threads": 6, "open": 10}
SAMPLES = 1_000
Seconds = dict[str, float]


class Ours:
    """The public `Cache`, with the default serializer."""

    name = "codomyrmex-cache"

    def __init__(self, path: str) -> None:
        from codomyrmex.cache import CacheManager

        settings: dict[str, Any] = {"backend": "file_based", "path": path, "max_bytes": LIMIT}
        config = {"caches": {"bench": settings}}
        self._manager = CacheManager(config, environ={})
        cache = self._manager.get_cache("bench")
        self.get, self.delete = cache.get, cache.delete
        self.set: Callable[..., Any] = lambda key, value: cache.set(key, value, TTL)
        self.set_many: Callable[..., Any] = lambda mapping: cache.set_many(mapping, TTL)

    def close(self) -> None:
        self._manager.close()


class DiskCache:
    """diskcache with its defaults, which include pickle."""

    name = PEER

    def __init__(self, path: str) -> None:
        import diskcache

        self._cache: Any = diskcache.Cache(path, size_limit=LIMIT)
        self.get, self.delete = self._cache.get, self._cache.delete

    def set(self, key: str, value: Any) -> None:
        self._cache.set(key, value, expire=TTL)

    def set_many(self, mapping: dict[str, Any]) -> None:
        with self._cache.transact():
            for key, value in mapping.items():
                self._cache.set(key, value, expire=TTL)

    def close(self) -> None:
        self._cache.close()


class Engine:
    """LMDB alone, as file_based sets it: bytes only, no ttl, no order of eviction, no lock with a deadline."""

    name = "LMDB alone"

    def __init__(self, path: str) -> None:
        import lmdb

        self._env: Any = lmdb.open(path, map_size=LIMIT, writemap=True, map_async=True, sync=False, metasync=False)

    def get(self, key: str) -> Any:
        with self._env.begin() as transaction:
            return transaction.get(key.encode())

    def set(self, key: str, value: Any) -> None:
        data = value if isinstance(value, bytes) else b"x" * 60
        with self._env.begin(write=True) as transaction:
            transaction.put(key.encode(), data)

    def set_many(self, mapping: dict[str, Any]) -> None:
        with self._env.begin(write=True) as transaction:
            for key, value in mapping.items():
                transaction.put(key.encode(), value if isinstance(value, bytes) else b"x" * 60)

    def delete(self, key: str) -> None:
        with self._env.begin(write=True) as transaction:
            transaction.delete(key.encode())

    def close(self) -> None:
        self._env.close()


CONTENDERS: tuple[type[Any], ...] = (Ours, DiskCache, Engine)


def each(call: Callable[[str], Any], keys: list[str]) -> float:
    """Seconds per key."""
    start = time.perf_counter()
    for key in keys:
        call(key)
    return (time.perf_counter() - start) / len(keys)


def measure(contender: type[Any], size: str) -> Seconds:
    """One round of one contender on values of one size: seconds per operation by row."""
    value, count = VALUES[size], ENTRIES[size]
    keys = [f"key:{number}" for number in range(count)]
    path = tempfile.mkdtemp()
    cache = contender(path)
    try:
        cache.set("first", value)  # opening is a row of its own
        found = {"insert": each(lambda key: cache.set(key, value), keys)}
        random.Random(5).shuffle(keys)
        found["set"] = each(lambda key: cache.set(key, value), keys)
        found["get"] = each(cache.get, keys)
        found["miss"] = each(cache.get, [f"absent:{number}" for number in range(1_000)])
        start = time.perf_counter()
        for first in range(0, count, 100):
            cache.set_many({f"many:{number}": value for number in range(first, min(first + 100, count))})
        found["set_many"] = (time.perf_counter() - start) / count
        found["delete"] = each(cache.delete, keys)
    finally:
        cache.close()
        shutil.rmtree(path)
    return found


def sizes(rounds: int, missed: list[tuple[str, str]]) -> Iterator[str]:
    """The table of operations and sizes; what is below its target is added to ``missed``."""
    yield "| value | | " + " | ".join(ROWS) + " |"
    yield "|---|---|" + "---|" * len(ROWS)
    for size in VALUES:
        results: dict[str, dict[str, list[float]]] = {one.name: {row: [] for row in ROWS} for one in CONTENDERS}
        for number in range(rounds):
            shift = number % len(CONTENDERS)
            for contender in CONTENDERS[shift:] + CONTENDERS[:shift]:
                gc.collect()
                for row, seconds in measure(contender, size).items():
                    results[contender.name][row].append(seconds)
        for name, rows in results.items():
            cells: list[str] = []
            for row in ROWS:
                ratio = statistics.median(peer / own for own, peer in zip(rows[row], results[PEER][row], strict=True))
                target = TARGETS.get((row, size)) if name == Ours.name else None
                aim = "" if target is None else f" ({target}×)"
                cells.append(f"{statistics.median(rows[row]) * 1e6:,.1f} µs, {ratio:.1f}×{aim}")
                if target is not None and ratio < target:
                    missed.append((row, size))
            yield f"| {size} | {name} | " + " | ".join(cells) + " |"


def mixed(cache: Any, seconds: float, seed: int) -> int:
    """How many operations, every tenth a write, one caller gets done."""
    draw, value = random.Random(seed), VALUES["100 B"]
    # Drawn beforehand: it takes as long as a look-up in LMDB.
    plan = [(f"key:{draw.randrange(1_000)}", draw.random() < 0.1) for _ in range(20_000)]
    batches = itertools.cycle([plan[first : first + 50] for first in range(0, len(plan), 50)])
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for key, write in next(batches):
            if write:
                cache.set(key, value)
            else:
                cache.get(key)
        done += 50
    return done


def processes(contender: type[Any], count: int, seconds: float) -> float:
    """Operations per second of so many processes together."""
    path = tempfile.mkdtemp()
    command = [sys.executable, __file__, "--worker", contender.name, path, str(seconds)]
    workers = [
        subprocess.Popen([*command, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for seed in range(count)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()  # it is ready
        answers = []
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            answers.append(int(worker.communicate()[0]))
        return sum(answers) / seconds
    finally:
        for worker in workers:
            worker.kill()
        shutil.rmtree(path)


def work(name: str, path: str, seconds: float, seed: int) -> None:
    """What a worker process does."""
    (contender,) = [one for one in CONTENDERS if one.name == name]
    cache = contender(path)
    for number in range(1_000):
        cache.set(f"key:{number}", VALUES["100 B"])
    print("ready", flush=True)
    sys.stdin.readline()
    print(mixed(cache, seconds, seed), flush=True)
    cache.close()


def threads(contender: type[Any], count: int, seconds: float) -> float:
    """Operations per second of so many threads together."""
    path = tempfile.mkdtemp()
    cache = contender(path)
    for number in range(1_000):
        cache.set(f"key:{number}", VALUES["100 B"])
    done: list[int] = []
    running = [
        threading.Thread(target=lambda seed=seed: done.append(mixed(cache, seconds, seed))) for seed in range(count)
    ]
    for one in running:
        one.start()
    for one in running:
        one.join()
    cache.close()
    shutil.rmtree(path)
    return sum(done) / seconds


def opening(contender: type[Any]) -> float:
    """Seconds to open a store with a thousand entries and read one, everything imported."""
    path = tempfile.mkdtemp()
    cache = contender(path)
    for number in range(1_000):
        cache.set(f"key:{number}", VALUES["100 B"])
    cache.close()
    start = time.perf_counter()
    cache = contender(path)
    assert cache.get("key:1") is not None
    seconds = time.perf_counter() - start
    cache.close()
    shutil.rmtree(path)
    return seconds


def together(rounds: int, seconds: float) -> Iterator[str]:
    """The table of processes, threads and opening."""
    measures: dict[str, Callable[[type[Any]], float]] = {
        "2 processes": lambda one: processes(one, 2, seconds),
        "4 processes": lambda one: processes(one, 4, seconds),
        "8 threads": lambda one: threads(one, 8, seconds),
        "open": lambda one: 1 / opening(one),
    }
    yield "| | " + " | ".join(one.name for one in CONTENDERS) + " |"
    yield "|---|" + "---|" * len(CONTENDERS)
    for what, figure in measures.items():
        found = [{one.name: figure(one) for one in CONTENDERS} for _ in range(rounds)]
        cells: list[str] = []
        for one in CONTENDERS:
            middle = statistics.median(each_round[one.name] for each_round in found)
            ratio = statistics.median(each_round[one.name] / each_round[PEER] for each_round in found)
            shown = f"{1000 / middle:.1f} ms" if what == "open" else f"{middle:,.0f}/s"
            cells.append(f"{shown}, {ratio:.1f}×" + (f" ({TOGETHER[what]}×)" if one is Ours else ""))
        yield f"| {what} | " + " | ".join(cells) + " |"


def profile(row: str, size: str) -> Iterator[str]:
    """Where our own time goes: shares of samples by line."""
    value, keys = VALUES[size], [f"key:{number}" for number in range(20 * ENTRIES[size])]
    lines: collections.Counter[tuple[str, int]] = collections.Counter()

    def sample(_: int, frame: Any) -> None:
        lines[frame.f_code.co_filename, frame.f_lineno] += 1

    path = tempfile.mkdtemp()
    cache = Ours(path)
    calls: dict[str, Callable[[str], Any]] = {
        "get": cache.get,
        "miss": lambda key: cache.get("absent:" + key),
        "set": lambda key: cache.set(key, value),
        "delete": cache.delete,
    }
    signal.signal(signal.SIGPROF, sample)
    try:
        while lines.total() < SAMPLES:
            for key in keys:
                cache.set(key, value)
            # The timer is as coarse as the kernel's ticks: it has to run for many of them.
            signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
            for _ in range(1 if row == "delete" else 5):
                each(calls[row], keys)
            signal.setitimer(signal.ITIMER_PROF, 0)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        cache.close()
        shutil.rmtree(path)
    yield f"{row}, {size}:"
    yield ""
    yield "| share | line |"
    yield "|---|---|"
    for (file, number), count in lines.most_common(10):
        source = linecache.getline(file, number).strip().replace("|", "\\|")
        yield f"| {count / lines.total():.0%} | {Path(file).name}:{number} `{source}` |"
    yield ""


def figures(quick: bool) -> Iterator[str]:
    """The lines of the page."""
    rounds, seconds = (2, 0.5) if quick else (7, 2.0)
    missed: list[tuple[str, str]] = []
    yield (
        f"{report.machine()}, medians of {rounds} interleaved rounds. "
        "The second figure says how many times as fast as diskcache it is, in the same round; the one in brackets is "
        "our target. The machine is shared with others."
    )
    yield ""
    yield from sizes(rounds, missed)
    yield ""
    yield (
        "Operations per second of all together, a tenth of them writes of 100 B, and the time to open a store of 1,000 "
        "entries and read one of them:"
    )
    yield ""
    yield from together(max(rounds // 2, 1), seconds)
    yield ""
    if missed:
        yield from ("## Below the target: where the time goes", "")
    for row, size in missed:
        yield from profile(row, size)


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        name, path, seconds, seed = sys.argv[2:]
        return work(name, path, float(seconds), int(seed))
    report.write(__doc__, "file_based", "results-file.md", figures)


if __name__ == "__main__":
    main()
