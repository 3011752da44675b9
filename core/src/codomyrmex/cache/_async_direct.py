"""The short read and write path of the asynchronous view; the twin of `_direct.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from ._async_steps import arun, in_thread, native
from ._codec import BytesCodec
from ._direct import direct_paths
from ._driver import AnyAsyncBackend, AnyBackend, AsyncBackend
from ._plain import async_plain_get, async_plain_set
from ._reads import Reads
from ._store import Store
from ._ttl import Ttl
from ._writes import Writes

Path = Callable[..., Awaitable[Any]]


class AsyncPaths(NamedTuple):
    """What takes the place of a view's methods; None for each that has to go the general way.

    Attributes:
        get: In place of `AsyncCache.get`.
        set: In place of `AsyncCache.set`.
        inline_get: What ``get`` calls, where that never waits.
    """

    get: Path | None = None
    set: Path | None = None
    inline_get: Callable[..., Any] | None = None


def async_direct_paths(
    store: Store, driver: AnyBackend | AnyAsyncBackend, reads: Reads, writes: Writes, namespace: str
) -> AsyncPaths:
    """``get`` and ``set`` for one view of a cache."""
    if isinstance(driver, AsyncBackend):
        return _awaited_paths(store, driver, reads, writes, namespace)
    get, set_ = direct_paths(store, driver, reads, writes, namespace)
    # In a worker thread if they may wait, each as a whole.
    blocking = driver.capabilities.blocking
    inline = None if blocking == "always" else get
    return AsyncPaths(
        None if get is None else _threaded(get) if inline is None else _awaited_get(get),
        None if set_ is None else _awaited_set(set_) if blocking == "never" else _threaded(set_),
        inline,
    )


def _awaited_paths(store: Store, driver: AnyAsyncBackend, reads: Reads, writes: Writes, namespace: str) -> AsyncPaths:
    """To a driver of bytes that is awaited; see `_plain.py`."""
    codec = store.codec
    if store.ttl.sliding or not isinstance(codec, BytesCodec):
        return AsyncPaths()
    prefix = store.keys.prefix + namespace

    async def general_get(key: str, default: Any) -> Any:
        return await arun(reads.get(key, default), native)

    async def general_set(key: str, value: Any, ttl: Ttl | None, **rest: Any) -> bool:
        return await arun(writes.set(key, value, ttl, **rest), native)

    async def judged(key: str, default: Any, stored: Any) -> Any:
        return await arun(reads.judged(key, default, stored=stored), native)

    get = async_plain_get(store, driver, codec, prefix, general_get, judged)
    return AsyncPaths(get, async_plain_set(store, driver, codec, prefix, general_set) if store.ttl.plain else None)


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
