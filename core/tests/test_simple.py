"""The conformance kit on a driver of bytes with nothing but get, set and delete below it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dict_driver import JSON, DictDriver, DictPlugin, DictStore, managed

from codomyrmex.cache import (
    Cache,
    CacheConnectionError,
    CacheError,
    CacheFullError,
    CacheInvalidationError,
    CacheKeyError,
)
from codomyrmex.cache.backend import BackendRequest, Capabilities, SimpleBackend, process_clock
from codomyrmex.cache.testing import BackendContract


class TestSimple(BackendContract):
    """A store with get, set and delete behind `SimpleBackend` keeps every law."""

    plugin = DictPlugin()
    machine_runs = 60

    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return dict(JSON)


class InThreads(DictDriver):
    """As a driver that waits for a disk."""

    declares = Capabilities(swap=False, blocking="always")


class TestInThreads(TestSimple):
    """It does so too where the asynchronous view has to call it in threads."""

    plugin = DictPlugin(InThreads)
    machine_runs = 10


class TestPickled(TestSimple):
    """And with signed pickles as values."""

    machine_runs = 10

    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return {"backend": "dict", "serializer": {"name": "pickle", "key": "0123456789abcdef"}}


class FailingStore(DictStore):
    """Raises ``error``, once there is one."""

    error: BaseException | None = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def get(self, key: str) -> bytes | None:
        self.check()
        return super().get(key)

    def set(self, key: str, data: bytes) -> None:
        self.check()
        super().set(key, data)

    def delete(self, key: str) -> None:
        self.check()
        super().delete(key)

    def keys(self, prefix: str) -> Iterator[str]:  # type: ignore[override]
        yield from super().keys(prefix)
        self.check()

    def close(self) -> None:
        self.check()


class OnFailing(DictDriver):
    """On such a store."""

    def __init__(self, request: BackendRequest) -> None:
        super().__init__(request)
        self.store = FailingStore()
        SimpleBackend.__init__(self, self.store, now=process_clock, capabilities=self.declares)


@pytest.fixture
def failing() -> Iterator[Callable[..., tuple[Cache[Any], FailingStore]]]:
    """Opens a cache with ``key`` in it; gives the store, too."""
    with managed({"defaults": dict(JSON)}, OnFailing) as manager:

        def opened(**options: Any) -> tuple[Cache[Any], FailingStore]:
            cache: Cache[Any] = manager.get_cache("app", **options)
            cache.set("key", 1)
            return cache, cache._driver.store  # type: ignore[attr-defined]

        yield opened
        if manager.list_caches():
            manager.get_cache("app")._driver.store.error = None  # type: ignore[attr-defined]


SECRET = "what only the value says"
DENIED = PermissionError(errno.EACCES, "Permission denied")
ERRORS = [DENIED, TimeoutError(), KeyError(SECRET), ZeroDivisionError(SECRET)]
READS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "get": (lambda cache: cache.get("key"), None),
    "get_many": (lambda cache: cache.get_many(["key"]), {}),
    "set": (lambda cache: cache.set("key", 2), False),
    "incr": (lambda cache: cache.incr("key"), False),
    "keys": (lambda cache: cache.keys(), []),
    "get_or_set": (lambda cache: cache.get_or_set("key", lambda: 3), 3),
}
REMOVALS: dict[str, Callable[[Any], Any]] = {
    "delete": lambda cache: cache.delete("key"),
    "clear": lambda cache: cache.clear(),
    "invalidate_tags": lambda cache: cache.invalidate_tags("tag"),
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", READS)
def test_errors_of_a_store(
    failing: Callable[..., tuple[Cache[Any], FailingStore]], call: str, error: Exception
) -> None:
    """Whatever a store raises is an error of ours, from the store's; a cache that degrades survives it."""
    operation, degraded = READS[call]
    cache, store = failing()
    store.error = error
    if call == "get_or_set":
        assert 3 == operation(cache)
    else:
        with pytest.raises(CacheConnectionError, match="the store failed") as caught:
            operation(cache)
        assert error is caught.value.__cause__
        assert SECRET not in str(caught.value)
    store.error = None
    cache.close()
    cache, store = failing(on_error="degrade")
    store.error = error
    assert degraded == operation(cache)
    store.error = None
    assert 1 == cache.get("key")


@pytest.mark.parametrize("call", REMOVALS)
def test_removals_that_a_store_fails(failing: Callable[..., tuple[Cache[Any], FailingStore]], call: str) -> None:
    """They raise also where a cache degrades."""
    cache, store = failing(on_error="degrade")
    store.error = DENIED
    with pytest.raises(CacheInvalidationError, match="Permission denied"):
        REMOVALS[call](cache)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_store_without_room(failing: Callable[..., tuple[Cache[Any], FailingStore]], number: int) -> None:
    """A full disk is a full cache."""
    cache, store = failing()
    store.error = OSError(number, "no room")
    with pytest.raises(CacheFullError, match="no room"):
        cache.set("key", 2)


def test_errors_that_are_let_through(failing: Callable[..., tuple[Cache[Any], FailingStore]]) -> None:
    """Our own errors say what they say, and an interrupt is nobody's error."""
    cache, store = failing()
    for error in (CacheKeyError("no such shelf"), CacheFullError("three shelves are all"), KeyboardInterrupt()):
        store.error = error
        with pytest.raises(type(error)) as caught:
            cache.get("key")
        assert error is caught.value


def test_closing_that_fails(failing: Callable[..., tuple[Cache[Any], FailingStore]]) -> None:
    """It is an error of ours, too."""
    cache, store = failing()
    store.error = DENIED
    with pytest.raises(CacheError, match="Permission denied"):
        cache.close()
