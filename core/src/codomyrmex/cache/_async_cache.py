"""`AsyncCache` and `AsyncNamespacedCache`: the asynchronous view.

Method for method the twin of `_cache.py`: the same steps, awaited. Each call of the driver is made in one of three
ways: awaited on a driver that is asynchronous itself, inline on one that never blocks, in a worker thread on one that
does.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar, cast, overload

from ._async_steps import Perform, arun, in_thread, inline, native
from ._capabilities import Capabilities, Finding
from ._codec import BytesCodec
from ._direct import direct_paths
from ._driver import AnyAsyncBackend, AnyBackend, AsyncBackend
from ._explain import Explanation
from ._keys import check_namespace
from ._locks import AsyncLock, LockSteps
from ._lookup import Lookup
from ._plain import async_plain_get, async_plain_set
from ._reads import Reads
from ._removals import Removals
from ._stats import CacheStats
from ._store import Store
from ._ttl import Ttl, TTLManager
from ._writes import Writes

V = TypeVar("V")
D = TypeVar("D")
T = TypeVar("T")


def performer(driver: AnyBackend | AnyAsyncBackend) -> Perform:
    """How the calls of ``driver`` are made from an event loop."""
    if isinstance(driver, AsyncBackend):
        return native
    blocking = driver.capabilities.blocking
    if blocking == "never":
        return inline
    if blocking == "always":
        return in_thread
    reads = {driver.get, driver.get_many, driver.scan, driver.get_tagged}

    def writes_in_thread(call: Callable[..., Any], *args: Any) -> Awaitable[Any]:
        return inline(call, *args) if call in reads else in_thread(call, *args)

    return writes_in_thread


class AsyncCache(Generic[V]):
    """One cache for coroutines; names and meanings are those of `Cache`, whose methods say more.

    It may be used from several event loops. Where `Cache` has ``cache[key]``, this has ``await cache[key]``; item
    assignment, deletion and ``in`` can't be awaited, so they are `set`, `delete` and `exists` here.
    """

    def __init__(self, store: Store, driver: AnyBackend | AnyAsyncBackend, namespace: str = "") -> None:
        self._store = store
        self._driver = driver
        self._namespace = namespace
        self._perform = performer(driver)
        lookup = Lookup(store, driver)
        self._lookup = lookup
        self._reads = Reads(lookup, namespace)
        self._writes = Writes(lookup, self._reads)
        self._removals = Removals(lookup, self._reads, namespace)
        mine, base = cast(Any, type(self)), cast(Any, AsyncCache)
        if isinstance(driver, AsyncBackend):
            get, set_ = self._plain_paths(driver)
            if get is not None and mine.get is base.get:
                vars(self)["get"] = get
            if set_ is not None and mine.set is base.set:
                vars(self)["set"] = set_
            return
        get, set_ = direct_paths(store, driver, self._reads, self._writes, namespace)
        # In a worker thread if they may wait, each as a whole.
        blocking = driver.capabilities.blocking
        if get is not None and mine.get is base.get:
            vars(self)["get"] = _threaded(get) if blocking == "always" else _awaited_get(get)
        if set_ is not None and mine.set is base.set:
            vars(self)["set"] = _awaited_set(set_) if blocking == "never" else _threaded(set_)

    def _plain_paths(self, driver: AnyAsyncBackend) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
        """Short ways to a driver of bytes that is awaited; see `_plain.py`."""
        store, codec = self._store, self._store.codec
        if store.ttl.sliding or not isinstance(codec, BytesCodec):
            return None, None
        prefix = store.keys.prefix + self._namespace

        async def general_get(key: str, default: Any) -> Any:
            return await arun(self._reads.get(key, default), native)

        async def general_set(key: str, value: Any, ttl: Ttl | None, **rest: Any) -> bool:
            return await arun(self._writes.set(key, value, ttl, **rest), native)

        async def judged(key: str, default: Any, stored: Any) -> Any:
            return await arun(self._reads.judged(key, default, stored=stored), native)

        get = async_plain_get(store, driver, codec, prefix, general_get, judged)
        return get, async_plain_set(store, driver, codec, prefix, general_set) if store.ttl.plain else None

    @property
    def name(self) -> str:
        """The cache's name."""
        return self._store.name

    @property
    def capabilities(self) -> Capabilities:
        """What the cache's backend can do."""
        return self._driver.capabilities

    @property
    def stats(self) -> CacheStats:
        """See `Cache.stats`."""
        usage = self._driver.usage()
        return CacheStats(**self._store.recorder.counts(), **usage._asdict())

    @property
    def ttl_manager(self) -> TTLManager:
        """The cache's lifetimes."""
        return self._store.ttl

    @overload
    async def get(self, key: str, default: None = None) -> V | None: ...
    @overload
    async def get(self, key: str, default: D) -> V | D: ...
    async def get(self, key: str, default: Any = None) -> Any:
        """See `Cache.get`."""
        return await arun(self._reads.get(key, default), self._perform)

    async def get_many(self, keys: Iterable[str]) -> dict[str, V]:
        """See `Cache.get_many`."""
        return await arun(self._reads.get_many(keys), self._perform)

    async def set(
        self,
        key: str,
        value: V,
        ttl: Ttl | None = None,
        *,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
    ) -> bool:
        """See `Cache.set`."""
        return await arun(self._writes.set(key, value, ttl, tags=tags, stale_for=stale_for), self._perform)

    async def set_many(
        self,
        mapping: Mapping[str, V],
        ttl: Ttl | None = None,
        *,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
    ) -> bool:
        """See `Cache.set_many`."""
        return await arun(self._writes.set_many(mapping, ttl, tags=tags, stale_for=stale_for), self._perform)

    async def add(
        self,
        key: str,
        value: V,
        ttl: Ttl | None = None,
        *,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
    ) -> bool:
        """See `Cache.add`."""
        return await arun(self._writes.add(key, value, ttl, tags=tags, stale_for=stale_for), self._perform)

    async def incr(self, key: str, delta: int = 1, *, initial: int = 0, ttl: Ttl | None = None) -> int:
        """See `Cache.incr`."""
        return await arun(self._writes.incr(key, delta, initial=initial, ttl=ttl), self._perform)

    async def decr(self, key: str, delta: int = 1, *, initial: int = 0, ttl: Ttl | None = None) -> int:
        """See `Cache.decr`."""
        return await arun(self._writes.decr(key, delta, initial=initial, ttl=ttl), self._perform)

    async def touch(self, key: str, ttl: Ttl | None = None) -> bool:
        """See `Cache.touch`."""
        return await arun(self._writes.touch(key, ttl), self._perform)

    async def expire(self, key: str) -> bool:
        """See `Cache.expire`."""
        return await arun(self._writes.expire(key), self._perform)

    async def delete(self, key: str) -> bool:
        """See `Cache.delete`."""
        return await arun(self._removals.delete(key), self._perform)

    async def delete_many(self, keys: Iterable[str]) -> int:
        """See `Cache.delete_many`."""
        return await arun(self._removals.delete_many(keys), self._perform)

    async def delete_pattern(self, glob: str) -> int:
        """See `Cache.delete_pattern`."""
        return await arun(self._removals.delete_pattern(glob), self._perform)

    @overload
    async def pop(self, key: str, default: None = None) -> V | None: ...
    @overload
    async def pop(self, key: str, default: D) -> V | D: ...
    async def pop(self, key: str, default: Any = None) -> Any:
        """See `Cache.pop`."""
        return await arun(self._removals.pop(key, default), self._perform)

    async def invalidate_tags(self, *tags: str) -> None:
        """See `Cache.invalidate_tags`."""
        await arun(self._removals.invalidate_tags(*tags), self._perform)

    async def clear(self) -> None:
        """See `Cache.clear`."""
        await arun(self._removals.clear(), self._perform)

    async def exists(self, key: str) -> bool:
        """See `Cache.exists`."""
        return await arun(self._reads.exists(key), self._perform)

    async def ttl(self, key: str) -> float | None:
        """See `Cache.ttl`."""
        return await arun(self._reads.ttl(key), self._perform)

    async def keys(self, prefix: str = "") -> list[str]:
        """See `Cache.keys`."""
        return await arun(self._reads.keys(prefix), self._perform)

    async def explain(self, key: str) -> Explanation:
        """See `Cache.explain`."""
        return await arun(self._reads.explain(key), self._perform)

    def lock(self, name: str, ttl: Ttl, wait: Ttl | None = None) -> AsyncLock:
        """See `Cache.lock`; for an ``async with`` statement."""
        return AsyncLock(LockSteps(self._lookup, self._namespace, name, ttl, wait), self._perform)

    async def ping(self) -> float:
        """See `Cache.ping`."""
        self._store.check_open()
        start = time.perf_counter()
        await self._perform(self._driver.ping)
        return time.perf_counter() - start

    async def compact(self) -> int:
        """See `Cache.compact`."""
        self._store.check_open()
        given: int = await self._perform(self._driver.compact)
        return given

    async def inspect(self) -> list[Finding]:
        """See `Cache.inspect`."""
        self._store.check_open()
        return list(await self._perform(self._driver.inspect))

    def namespace(self, prefix: str) -> AsyncNamespacedCache[V]:
        """This cache's entries under ``prefix``; see `AsyncNamespacedCache`."""
        return AsyncNamespacedCache(self, prefix)

    async def close(self) -> None:
        """See `Cache.close`."""
        if not self._store.closed:
            self._store.close(in_loop=True)
            await self._perform(self._driver.close)

    async def __getitem__(self, key: str) -> V:
        return await arun(self._reads.getitem(key), self._perform)

    async def __aenter__(self) -> AsyncCache[V]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        namespace = f", namespace={self._namespace!r}" if self._namespace else ""
        return f"<{type(self).__name__} {self.name!r} on {self._store.backend}{namespace}>"


class AsyncNamespacedCache(AsyncCache[V]):
    """The asynchronous twin of `NamespacedCache`.

    Args:
        cache: The cache, or another namespace of it.
        namespace: The prefix; a missing ``:`` at its end is added.

    Raises:
        CacheKeyError: The prefix could not begin a key.
    """

    def __init__(self, cache: AsyncCache[V], namespace: str) -> None:
        super().__init__(cache._store, cache._driver, cache._namespace + check_namespace(namespace))


def _threaded(path: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def call(*args: Any, **options: Any) -> Any:
        return await in_thread(path, *args, **options)

    return call


def _awaited_get(path: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def get(key: str, default: Any = None) -> Any:
        return path(key, default)

    return get


def _awaited_set(path: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def set(
        key: str, value: Any, ttl: Ttl | None = None, *, tags: Iterable[str] = (), stale_for: Ttl | None = None
    ) -> Any:
        return path(key, value, ttl, tags=tags, stale_for=stale_for)

    return set
