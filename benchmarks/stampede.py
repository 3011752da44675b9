"""A thousand callers ask for one missing key at once: what `loads.py` measures beside cashews, aiocache and dogpile.

Each contender is given a key and a factory, and gives what all callers call: a function or a coroutine function. What
is measured is how often the factory was called, and how late after its end the callers had the value.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

TASKS = 1_000
THREADS = 200
LOAD = 0.05
"""Seconds that the factory takes."""
TTL = 3600


class Origin:
    """The factory; it counts its calls, and notes when the first one ended."""

    def __init__(self) -> None:
        self.calls = 0
        self.ended = 0.0

    async def in_task(self) -> str:
        self.calls += 1
        await asyncio.sleep(LOAD)
        return self._end()

    def in_thread(self) -> str:
        self.calls += 1
        time.sleep(LOAD)
        return self._end()

    def _end(self) -> str:
        self.ended = self.ended or time.perf_counter()
        return "value"


class Figures:
    """What the rounds gave for one contender."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.medians: list[float] = []
        self.lasts: list[float] = []
        self.error = ""

    def add(self, origin: Origin, ends: list[float]) -> None:
        late = [max(end - origin.ended, 0.0) for end in ends]
        self.calls.append(origin.calls)
        self.medians.append(statistics.median(late))
        self.lasts.append(max(late))

    def row(self, name: str) -> str:
        """A line of the table."""
        if self.error:
            return f"| {name} | {self.error} | – | – |"
        calls = f"{min(self.calls)}" if min(self.calls) == max(self.calls) else f"{min(self.calls)}–{max(self.calls)}"
        figures = (f"{statistics.median(one) * 1e3:.1f} ms" for one in (self.medians, self.lasts))
        return f"| {name} | {calls} | {' | '.join(figures)} |"


Contender = Callable[[str, Origin], Callable[[], Any]]


def coroutine_function(origin: Origin) -> Callable[[], Any]:
    """The factory as what decorators take."""

    async def load() -> str:
        return await origin.in_task()

    return load


def in_tasks(url: str) -> Iterator[tuple[str, Contender]]:
    """Contenders by name, for tasks."""
    from codomyrmex.cache import CacheManager

    manager = CacheManager(environ={})
    for backend, options in (("in_memory", {}), ("redis", {"url": url})):
        cache = manager.get_async_cache(backend, backend=backend, **options)

        def ours(key: str, origin: Origin, cache: Any = cache) -> Any:
            return lambda: cache.get_or_set(key, origin.in_task, ttl=TTL)

        yield f"codomyrmex-cache, {backend}", ours

    from cashews import Cache

    for name, place in (("in memory", "mem://"), ("redis", url)):
        theirs = Cache()
        theirs.setup(place)

        def cashews(key: str, origin: Origin, cache: Any = theirs) -> Any:
            return cache(ttl=TTL, key=key, lock=True)(coroutine_function(origin))

        yield f"cashews, lock=True, {name}", cashews

    logging.getLogger("aiocache").setLevel("CRITICAL")  # a traceback for each task that gets no connection

    from aiocache import RedisCache, SimpleMemoryCache, cached_stampede

    port = int(url.rsplit(":", 1)[1].split("/")[0])
    for name, kind, settings in (("in memory", SimpleMemoryCache, {}), ("redis", RedisCache, {"port": port})):

        def aiocache(key: str, origin: Origin, kind: Any = kind, settings: Any = settings) -> Any:
            decorate = cached_stampede(lease=2, cache=kind, ttl=TTL, key_builder=lambda *_: key, **settings)
            return decorate(coroutine_function(origin))

        yield f"aiocache, cached_stampede, {name}", aiocache


def in_threads(url: str) -> Iterator[tuple[str, Contender]]:
    """Contenders by name, for threads."""
    from codomyrmex.cache import CacheManager

    manager = CacheManager(environ={})
    for backend, options in (("in_memory", {}), ("redis", {"url": url})):
        cache = manager.get_cache(backend, backend=backend, **options)
        cache.get("key")

        def ours(key: str, origin: Origin, cache: Any = cache) -> Any:
            return lambda: cache.get_or_set(key, origin.in_thread, ttl=TTL)

        yield f"codomyrmex-cache, {backend}", ours

    from dogpile.cache import make_region

    for name, kind, arguments in (
        ("in memory", "dogpile.cache.memory", {}),
        ("redis", "dogpile.cache.redis", {"url": url, "distributed_lock": True, "thread_local_lock": False}),
    ):
        region = make_region().configure(kind, expiration_time=TTL, arguments=arguments)

        def dogpile(key: str, origin: Origin, region: Any = region) -> Any:
            return lambda: region.get_or_create(key, origin.in_thread)

        yield f"dogpile.cache, {name}", dogpile


def tables(url: str, rounds: int) -> Iterator[str]:
    """The lines of both tables."""
    tasks, threads = asyncio.run(_tasks(url, rounds)), _threads(url, rounds)
    for count, what, rows in ((TASKS, "tasks of one event loop", tasks), (THREADS, "threads", threads)):
        yield from (f"### {count:,} {what}", "", "| | factory calls | caller in the middle | last caller |")
        yield "|---|---|---|---|"
        yield from (figures.row(name) for name, figures in rows.items())
        yield ""


_numbers = itertools.count()


async def _tasks(url: str, rounds: int) -> dict[str, Figures]:
    contenders = dict(in_tasks(url))
    found = {name: Figures() for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            origin = Origin()
            ask = contender(f"{os.getpid()}.{next(_numbers)}", origin)

            async def one(ask: Callable[[], Any] = ask) -> float:
                await ask()
                return time.perf_counter()

            try:
                found[name].add(origin, await asyncio.gather(*(one() for _ in range(TASKS))))
            except Exception as error:
                found[name].error = type(error).__name__
            await asyncio.sleep(0.1)
    return found


def _threads(url: str, rounds: int) -> dict[str, Figures]:
    contenders = dict(in_threads(url))
    found = {name: Figures() for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            origin = Origin()
            ends = _asked_by_threads(contender(f"{os.getpid()}.{next(_numbers)}", origin))
            if len(ends) < THREADS:
                found[name].error = f"{THREADS - len(ends)} of {THREADS} fail"
            else:
                found[name].add(origin, ends)
    return found


def _asked_by_threads(ask: Callable[[], Any]) -> list[float]:
    """When those callers had the value who didn't fail."""
    ends: list[float] = []
    barrier = threading.Barrier(THREADS)

    def one() -> None:
        barrier.wait()
        with contextlib.suppress(Exception):
            ask()
            ends.append(time.perf_counter())

    callers = [threading.Thread(target=one) for _ in range(THREADS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return ends
