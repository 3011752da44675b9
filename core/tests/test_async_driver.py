"""A driver that is itself asynchronous: the kit on one that gives way at every call; how a view finds its driver."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from dict_driver import DictStore

from codomyrmex.cache import CacheConnectionError, CacheError, CacheManager, CachePluginError, hookimpl
from codomyrmex.cache.backend import (
    AsyncBackend,
    Backend,
    BackendRequest,
    Capabilities,
    Field,
    ScanPage,
    SimpleBackend,
    Version,
    process_clock,
)
from codomyrmex.cache.testing import Awaited, BackendContract


class GivesWay(AsyncBackend[bytes]):
    """Lets other tasks run before and after every call, as a network would."""

    capabilities = Capabilities()

    def __init__(self, below: Backend[bytes]) -> None:
        self.below = below
        self.now = below.now
        self.calls: list[str] = []

    async def _call(self, method: Callable[..., Any], *args: Any) -> Any:
        self.calls.append(method.__name__)
        await asyncio.sleep(0)
        result = method(*args)
        await asyncio.sleep(0)
        return result

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        return await self._call(self.below.get_many, keys)  # type: ignore[no-any-return]

    async def put_many(self, records: Mapping[str, bytes]) -> None:
        await self._call(self.below.put_many, records)

    async def remove_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        return await self._call(self.below.remove_many, keys)  # type: ignore[no-any-return]

    async def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        return await self._call(self.below.scan, prefix, cursor, limit)  # type: ignore[no-any-return]

    async def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool = False
    ) -> bool:
        return await self._call(self.below.swap, key, field, expected, new, header_only)  # type: ignore[no-any-return]

    async def close(self) -> None:
        await self._call(self.below.close)


class BothPlugin:
    """Makes a synchronous and an asynchronous driver over one store per cache."""

    def __init__(self) -> None:
        self.stores: dict[str, SimpleBackend] = {}
        self.kept: list[DictStore] = []

    def _below(self, request: BackendRequest) -> SimpleBackend:
        if request.cache not in self.stores:
            self.kept.append(DictStore())
            self.stores[request.cache] = SimpleBackend(self.kept[-1], now=request.clock or process_clock)
        return self.stores[request.cache]

    @hookimpl
    def create_backend(self, request: BackendRequest) -> Backend[bytes]:
        self.stores.pop(request.cache, None)
        return self._below(request)

    @hookimpl
    def create_async_backend(self, request: BackendRequest) -> AsyncBackend[bytes]:
        return GivesWay(self._below(request))


class AsyncOnlyPlugin:
    """Makes an asynchronous driver only."""

    @hookimpl
    def create_async_backend(self, request: BackendRequest) -> AsyncBackend[bytes]:
        return GivesWay(SimpleBackend(DictStore(), now=request.clock or process_clock))


class TestNativeAsync(BackendContract):
    """Every law on an asynchronous driver, and on both views of one store in the state machine."""

    plugin = BothPlugin()
    machine_runs = 30

    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return {"backend": "both", "serializer": "json"}

    @pytest.fixture(params=["async"])
    def view(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


def test_the_native_driver_is_used() -> None:
    """The asynchronous view awaits the asynchronous driver, the synchronous one doesn't know it."""
    with CacheManager(environ={}) as manager:
        manager.register(BothPlugin(), "both")
        cache = manager.get_cache("cache", backend="both", serializer="json")
        view = manager.get_async_cache("cache")
        cache.set("key", 1)
        driver = view._driver
        assert isinstance(driver, GivesWay)
        assert driver.calls == []
        assert Awaited(view).incr("key") == 2
        assert driver.calls == ["get_many", "swap"]
        assert cache.get("key") == 2


def test_asynchronous_only() -> None:
    """A backend without a synchronous driver serves the asynchronous view, and says so to the other."""
    with CacheManager(environ={}) as manager:
        manager.register(AsyncOnlyPlugin(), "only")
        cache = Awaited(manager.get_async_cache("cache", backend="only", serializer="json"))
        assert cache.set("key", 1) is True
        assert cache.get("key") == 1
        with pytest.raises(CachePluginError, match="asynchronous only"):
            manager.get_cache("cache")


def test_a_cancelled_call_leaves_the_others_alone() -> None:
    """Cancelling one task ends that task's call and no other's."""

    async def main() -> list[Any]:
        with CacheManager(environ={}) as manager:
            manager.register(BothPlugin(), "both")
            cache = manager.get_async_cache("cache", backend="both", serializer="json")
            await cache.set("n", 0)
            tasks = [asyncio.create_task(cache.incr("n")) for _ in range(20)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert sorted(results[1::2]) == list(range(1, 11))


def test_errors_reach_the_awaiting_caller() -> None:
    """An error of the driver is raised where the call is awaited."""

    class Fails(GivesWay):
        async def _call(self, method: Callable[..., Any], *args: Any) -> Any:
            raise CacheConnectionError("the line is dead")

    class Plugin:
        @hookimpl
        def create_async_backend(self, request: BackendRequest) -> AsyncBackend[bytes]:
            return Fails(SimpleBackend(DictStore(), now=process_clock))

    async def read(get: Callable[[], Awaitable[Any]]) -> None:
        with pytest.raises(CacheConnectionError, match="dead"):
            await get()

    with CacheManager(environ={}) as manager:
        manager.register(Plugin(), "fails")
        cache = manager.get_async_cache("cache", backend="fails", serializer="json")
        asyncio.run(read(lambda: cache.get("key")))
        asyncio.run(read(cache.ping))


@pytest.mark.parametrize("how", ["cache", "async cache", "manager"])
def test_whoever_closes_closes_both(how: str) -> None:
    """Both drivers of a cache are closed, whichever view or manager is."""
    plugin = BothPlugin()
    with CacheManager(environ={}) as manager:
        manager.register(plugin, "both")
        cache = manager.get_cache("cache", backend="both", serializer="json")
        view = manager.get_async_cache("cache")
        closing = {"cache": cache.close, "async cache": Awaited(view).close, "manager": manager.close}
        closing[how]()
        assert isinstance(view._driver, GivesWay)
        assert view._driver.calls == ["close"]
        with pytest.raises(CacheError, match="closed"):
            cache.get("key")
        with pytest.raises(CacheError, match="closed"):
            Awaited(view).get("key")


def test_a_manager_closes_what_is_asynchronous_only() -> None:
    """Also from inside an event loop, which has no part in it."""

    async def main() -> list[str]:
        with CacheManager(environ={}) as manager:
            manager.register(AsyncOnlyPlugin(), "only")
            cache = manager.get_async_cache("cache", backend="only", serializer="json")
        assert isinstance(cache._driver, GivesWay)
        return cache._driver.calls

    assert asyncio.run(main()) == ["close"]


def test_a_cache_that_can_not_be_made_leaves_nothing_open() -> None:
    """If a part is missing, the driver that was made before it is closed."""
    plugin = BothPlugin()
    with CacheManager(environ={}) as manager:
        manager.register(plugin, "both")
        with pytest.raises(CachePluginError, match="cache 'cache': there is no serializer 'nothing'") as caught:
            manager.get_cache("cache", backend="both", serializer="nothing")
        assert caught.value.cache == "cache"
        assert [True] == [store.closed for store in plugin.kept]
