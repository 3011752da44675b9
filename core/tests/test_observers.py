"""Observers: told of each call of a driver and of each load, in both views, and never in anybody's way."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dict_driver import DictPlugin
from loading import InRoom, Room

from codomyrmex.cache import CacheError, CacheManager, CachePluginError, hookimpl
from codomyrmex.cache._null import NullBackend
from codomyrmex.cache._observed import ObservedBackend, Observers
from codomyrmex.cache._stats import Recorder
from codomyrmex.cache.backend import BackendRequest, process_clock
from codomyrmex.cache.observing import Observer, ObserverRequest, Outcome
from codomyrmex.cache.testing import BackendContract

within: contextvars.ContextVar[str] = contextvars.ContextVar("within", default="nothing")


class Notes(Observer):
    """Notes each call, and how it ended."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None, bool | str | None]] = []
        self.fails_before: Exception | None = None
        self.fails_after: Exception | None = None
        self.requests: list[ObserverRequest] = []

    @contextmanager
    def watch(self, operation: str, key: str | None, outcome: Outcome) -> Iterator[None]:
        if self.fails_before is not None:
            raise self.fails_before
        token = within.set(operation)
        try:
            yield
        except Exception as error:
            self.calls.append((operation, key, type(error).__name__))
            raise
        else:
            self.calls.append((operation, key, outcome.found))
        finally:
            within.reset(token)
        if self.fails_after is not None:
            raise self.fails_after

    @hookimpl
    def create_observer(self, request: ObserverRequest) -> Observer | None:
        self.requests.append(request)
        return self if request.cache != "unwatched" else None


Opened = tuple[Any, Notes]


@pytest.fixture(params=["sync", "async"])
def opened(request: pytest.FixtureRequest, room: Room) -> Iterator[Opened]:
    """A cache that is watched, in either view, and what is noted."""
    notes = Notes()
    enable = [{"name": "notes", "depth": 3}]
    with CacheManager({"plugins": {"enable": enable}}, environ={}) as manager:
        manager.register(notes, "notes")
        cache = manager.get_cache("app")
        yield (cache if request.param == "sync" else InRoom(manager.get_async_cache("app"), room)), notes


def noted(notes: Notes) -> list[tuple[str, str | None, bool | str | None]]:
    """What has been noted, without what the timer does."""
    calls, notes.calls = notes.calls, []
    return [call for call in calls if call[0] != "purge"]


def test_calls(opened: Opened) -> None:
    """Each call of the driver, with the user's key and what came of it."""
    cache, notes = opened
    cache.set("key", 1)
    assert noted(notes) == [("put", "key", None)]
    cache.get("key")
    cache.get("other")
    assert noted(notes) == [("get", "key", True), ("get", "other", False)]
    cache.namespace("ns").delete("key")
    assert noted(notes) == [("remove", "ns:key", False)]
    cache.get_many(["key", "other"])
    assert noted(notes) == [("get_many", None, None)]
    cache.incr("count")
    assert noted(notes)[-1] == ("swap", "count", True)
    cache.set("tagged", 1, tags=["tag"])
    assert {key for _, key, _ in noted(notes)} == {None, "tagged"}


def test_the_request(opened: Opened) -> None:
    """The hook is asked once per cache, and told its backend and the options of the config."""
    cache, notes = opened
    cache.get("key")
    (request,) = notes.requests
    assert (request.name, request.cache, request.backend) == ("notes", "app", "in_memory")
    assert request.options == {"depth": 3}


def test_loads(opened: Opened) -> None:
    """A load is watched from the beginning of the factory to its end; what the factory does happens within."""
    cache, notes = opened
    cache.get("warm")
    noted(notes)
    assert cache.get_or_set("key", within.get) == "load"
    calls = noted(notes)
    assert ("load", "key", None) in calls
    assert calls.index(("load", "key", None)) == calls.index(("swap", "key", True)) + 1
    with pytest.raises(ZeroDivisionError):
        cache.get_or_set("bad", lambda: 1 // 0)
    assert ("load", "bad", "ZeroDivisionError") in noted(notes)


def test_a_bulk_load(opened: Opened) -> None:
    """One that computes several values has no key."""
    cache, notes = opened
    if isinstance(cache, InRoom):

        async def factory(keys: list[str]) -> dict[str, str]:
            return {key: within.get() for key in keys}

    else:

        def factory(keys: list[str]) -> dict[str, str]:  # type: ignore[misc]
            return {key: within.get() for key in keys}

    assert cache.get_or_set_many(["a", "b"], factory) == {"a": "load", "b": "load"}
    assert ("load", None, None) in noted(notes)


@pytest.mark.parametrize("when", ["fails_before", "fails_after"])
def test_one_that_raises(opened: Opened, when: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted every time and logged once per outage; the calls go on."""
    cache, notes = opened
    setattr(notes, when, ZeroDivisionError("mine"))
    before = cache.stats.errors
    cache.set("key", 1)
    assert cache.get("key") == 1
    assert cache.get_or_set("other", lambda: 2) == 2
    assert cache.stats.errors >= before + 3
    assert [record.getMessage() for record in caplog.records] == ["observer 'notes' failed"]
    setattr(notes, when, None)
    cache.get("key")
    setattr(notes, when, ZeroDivisionError("mine"))
    cache.get("key")
    assert len(caplog.records) == 2


def test_an_error_of_the_driver() -> None:
    """It comes out as it is, whatever the observer does with it."""

    class Broken(NullBackend):
        def get(self, key: str) -> Any:
            raise CacheError("no")

    class Keeps(Observer):
        @contextmanager
        def watch(self, operation: str, key: str | None, outcome: Outcome) -> Iterator[None]:
            try:
                yield
            except CacheError:
                seen.append(outcome.found)

    seen: list[bool | None] = []
    driver = ObservedBackend(Broken(process_clock), Observers([("keeps", Keeps())], Recorder()))
    with pytest.raises(CacheError, match="no"):
        driver.get("key")
    assert seen == [None]


def test_nobody_watches() -> None:
    """A cache that no observer is made for has the driver itself."""
    notes = Notes()
    with CacheManager({"plugins": {"enable": ["notes"]}}, environ={}) as manager:
        manager.register(notes, "notes")
        assert not isinstance(manager.get_cache("unwatched")._driver, ObservedBackend)
        assert isinstance(manager.get_cache("watched")._driver, ObservedBackend)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: 1, "cache 'app': plugin 'bad': create_observer returned a int, expected Observer or NoneType"),
        (lambda: 1 // 0, "cache 'app': plugin 'bad' failed in create_observer: ZeroDivisionError"),
    ],
)
def test_mistakes(make: Callable[[], Any], message: str) -> None:
    """A plugin that gives something else, or fails, is named."""

    class Bad:
        @hookimpl
        def create_observer(self, request: ObserverRequest) -> Any:
            return make()

    with CacheManager({"plugins": {"enable": ["bad"]}}, environ={}) as manager:
        manager.register(Bad(), "bad")
        with pytest.raises(CachePluginError) as caught:
            manager.get_cache("app")
        assert str(caught.value) == message


class ObservedPlugin(DictPlugin):
    """A driver that is watched."""

    @hookimpl
    def create_backend(self, request: BackendRequest) -> Any:
        return ObservedBackend(super().create_backend(request), Observers([("notes", Notes())], request.recorder))


class TestObserved(BackendContract):
    """Watching changes nothing."""

    plugin = ObservedPlugin()

    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return {"backend": "dict", "serializer": "json"}
