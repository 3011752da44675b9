"""`AsyncCache` and `AsyncNamespacedCache`: the asynchronous view.

Method for method the twin of `_cache.py`: the same steps, awaited. Each call of the driver is made in one of three
ways: awaited on a driver that is asynchronous itself, inline on one that never blocks, in a worker thread on one that
does.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar, Unpack, cast, overload

from ._async_direct import async_direct_paths
from ._async_shell import TaskShell
from ._async_steps import Perform, arun, in_thread, inline, native
from ._bulk_loads import BulkLoads
from ._capabilities import Capabilities, Finding
from ._driver import AnyAsyncBackend, AnyBackend, AsyncBackend
from ._explain import Explanation
from ._keys import check_namespace
from ._load_context import LoadArguments, LoadContext, ManyArguments, load_options
from ._loads import Loads
from ._locks import AsyncLock, LockSteps
from ._lookup import Lookup
from ._memoizing import _AsyncMemoizing
from ._quick_loads import quick_async_load
from ._reads import Reads
from ._removals import Removals
from ._stats import CacheStats
from ._store import PATIENCE, Store
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


class AsyncCache(_AsyncMemoizing, Generic[V]):
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
        self._shell = TaskShell(self._perform, store.background)
        self._loads = Loads(lookup, self._reads, self._shell)
        mine, base = cast(Any, type(self)), cast(Any, AsyncCache)
        paths = async_direct_paths(store, driver, self._reads, self._writes, namespace)
        own_get = mine.get is not base.get
        if paths.get is not None and not own_get:
            vars(self)["get"] = paths.get
        if paths.set is not None and mine.set is base.set:
            vars(self)["set"] = paths.set
        self._get_or_set = quick_async_load(self._loads, self.get, None if own_get else paths.inline_get)
        if mine.get_or_set is base.get_or_set:
            vars(self)["get_or_set"] = self._get_or_set

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
        return CacheStats(**self._store.recorder.counts(), **usage._asdict(), backend=self._store.backend)

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

    async def get_or_set(
        self,
        key: str,
        factory: Callable[[], V | Awaitable[V]] | Callable[[LoadContext[V]], V | Awaitable[V]],
        ttl: Ttl | None = None,
        **options: Unpack[LoadArguments],
    ) -> V:
        """See `Cache.get_or_set`; what the factory gives back is awaited if it can be."""
        return cast(V, await self._get_or_set(key, factory, ttl, **options))

    async def get_or_set_many(
        self,
        keys: Iterable[str],
        factory: Callable[[list[str]], Mapping[str, V] | Awaitable[Mapping[str, V]]]
        | Callable[[list[str], LoadContext[V]], Mapping[str, V] | Awaitable[Mapping[str, V]]],
        ttl: Ttl | None = None,
        *,
        return_exceptions: bool = False,
        **options: Unpack[ManyArguments],
    ) -> dict[str, V]:
        """See `Cache.get_or_set_many`; what the factory gives back is awaited if it can be."""
        checked = load_options(self._store.lease, self._store.retry_after, ttl, **options)
        loads = BulkLoads(self._lookup, self._reads, self._loads)
        steps = loads.get_or_set_many(loads.job(keys, factory, checked), errors=return_exceptions)
        return await arun(steps, self._shell.perform)

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
            self._store.background.cancel()
            await in_thread(self._store.background.join, PATIENCE)
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
