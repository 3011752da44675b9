"""When the backend fails: `on_error`, counting, one log line per outage, and invalidations that are never silent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dict_driver import JSON, DictDriver, FailingDriver, managed

from codomyrmex.cache import (
    CacheConfigError,
    CacheConnectionError,
    CacheFullError,
    CacheInvalidationError,
    CacheKeyError,
    CacheManager,
)
from codomyrmex.cache.backend import Capabilities
from codomyrmex.cache.testing import Awaited, ManualClock

DEGRADED: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "get": (lambda cache: cache.get("key"), None),
    "get with default": (lambda cache: cache.get("key", 5), 5),
    "get_many": (lambda cache: cache.get_many(["key", "other"]), {}),
    "exists": (lambda cache: cache.exists("key"), False),
    "in": (lambda cache: "key" in cache, False),
    "ttl": (lambda cache: cache.ttl("key"), None),
    "keys": (lambda cache: cache.keys(), []),
    "keys with prefix": (lambda cache: cache.keys("k"), []),
    "set": (lambda cache: cache.set("key", 1), False),
    "set tagged": (lambda cache: cache.set("key", 1, tags=["tag"]), False),
    "item assignment": (lambda cache: cache.__setitem__("key", 1), None),
    "set_many": (lambda cache: cache.set_many({"key": 1}), False),
    "add": (lambda cache: cache.add("key", 1), False),
    "incr": (lambda cache: cache.incr("key"), False),
    "decr": (lambda cache: cache.decr("key", 2, initial=3), False),
    "touch": (lambda cache: cache.touch("key", 5), False),
}
INVALIDATIONS: dict[str, Callable[[Any], Any]] = {
    "delete": lambda cache: cache.delete("key"),
    "item deletion": lambda cache: cache.__delitem__("key"),
    "delete_many": lambda cache: cache.delete_many(["key"]),
    "delete_pattern": lambda cache: cache.delete_pattern("k*"),
    "pop": lambda cache: cache.pop("key", "default"),
    "expire": lambda cache: cache.expire("key"),
    "invalidate_tags": lambda cache: cache.invalidate_tags("tag"),
    "clear": lambda cache: cache.clear(),
}
VIEWS = ["sync", "async", "namespace"]


class Failing:
    """A cache whose backend can be taken down."""

    def __init__(self, manager: CacheManager, view: str) -> None:
        base = manager.get_cache("app")
        self.driver = base._driver
        views = {"sync": base, "async": Awaited(manager.get_async_cache("app")), "namespace": base.namespace("ns")}
        self.cache: Any = views[view]
        self.cache.set("key", 1, ttl=50, stale_for=50, tags=["tag"])

    def down(self, down: bool = True) -> None:
        self.driver.down = down


@pytest.fixture(params=VIEWS)
def failing(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Failing]:
    with managed(driver=FailingDriver, clock=clock) as manager:
        yield Failing(manager, request.param)


@pytest.fixture(params=VIEWS)
def degrading(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Failing]:
    with managed({"defaults": {**JSON, "on_error": "degrade"}}, FailingDriver, clock=clock) as manager:
        yield Failing(manager, request.param)


@pytest.mark.parametrize("call", DEGRADED)
def test_reads_and_writes_raise(failing: Failing, call: str) -> None:
    """By default a call that the backend fails raises CacheConnectionError, from what caused it, and is counted."""
    failing.down()
    with pytest.raises(CacheConnectionError, match="connection refused") as caught:
        DEGRADED[call][0](failing.cache)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert 1 == failing.cache.stats.errors


@pytest.mark.parametrize("call", DEGRADED)
def test_reads_and_writes_degrade(degrading: Failing, call: str) -> None:
    """A cache that degrades misses and returns False instead; that is counted too."""
    function, expected = DEGRADED[call]
    degrading.down()
    result = function(degrading.cache)
    assert (expected, type(expected)) == (result, type(result))
    assert 1 == degrading.cache.stats.errors


def test_degraded_items(degrading: Failing) -> None:
    """A read as an item is a miss like any other, so a CacheKeyError."""
    degrading.down()
    with pytest.raises(CacheKeyError):
        degrading.cache["key"]
    assert (1, 1) == (degrading.cache.stats.misses, degrading.cache.stats.errors)


def test_degraded_reads_are_misses(degrading: Failing) -> None:
    """Every read that could not be answered counts as a miss, once per key, however the keys are given."""
    degrading.down()
    degrading.cache.get("key")
    assert 1 == degrading.cache.stats.misses
    degrading.cache.get_many(["a", "b", "a"])
    assert 3 == degrading.cache.stats.misses
    degrading.cache.get_many(iter(["a", "b", "c"]))
    assert 6 == degrading.cache.stats.misses
    degrading.cache.exists("key")
    assert (6, 0) == (degrading.cache.stats.misses, degrading.cache.stats.hits)


@pytest.mark.parametrize("call", ["expire", "invalidate_tags"])
def test_no_room_for_an_invalidation(degrading: Failing, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalidation that the store has no room for is CacheInvalidationError as well, and no outage."""
    degrading.cache.set("key", 1, tags=["tag"])

    def full(*_: Any) -> Any:
        raise CacheFullError("the store is full")

    monkeypatch.setattr(degrading.driver, "swap", full)
    with pytest.raises(CacheInvalidationError, match="the store is full") as caught:
        INVALIDATIONS[call](degrading.cache)
    assert isinstance(caught.value.__cause__, CacheFullError)
    assert (1, False) == (degrading.cache.stats.errors, degrading.cache._store.down)


@pytest.mark.parametrize("call", INVALIDATIONS)
def test_invalidations_raise(failing: Failing, call: str) -> None:
    """A removal that may not have reached the store is CacheInvalidationError, from the CacheConnectionError."""
    failing.down()
    with pytest.raises(CacheInvalidationError, match="may not have reached dict: connection refused") as caught:
        INVALIDATIONS[call](failing.cache)
    assert type(caught.value.__cause__) is CacheConnectionError
    assert 1 == failing.cache.stats.errors
    assert 0 == failing.cache.stats.deletes


@pytest.mark.parametrize("call", INVALIDATIONS)
def test_invalidations_raise_always(degrading: Failing, call: str) -> None:
    """So it is in a cache that degrades: silence would mean that an old value is served for ever."""
    degrading.down()
    with pytest.raises(CacheInvalidationError) as caught:
        INVALIDATIONS[call](degrading.cache)
    assert type(caught.value.__cause__) is CacheConnectionError
    degrading.down(False)
    assert 1 == degrading.cache.get("key")


@pytest.mark.parametrize("call", [*INVALIDATIONS])
@pytest.mark.parametrize("failing_method", ["swap", "remove_many", "put_many"])
def test_invalidations_that_fail_on_the_way(failing: Failing, call: str, failing_method: str) -> None:
    """An invalidation whose reads succeed and whose write fails is no success."""

    def refuse(*_: Any) -> Any:
        reached.append(1)
        raise CacheConnectionError("read only")

    reached: list[int] = []
    setattr(failing.driver, failing_method, refuse)
    try:
        INVALIDATIONS[call](failing.cache)
    except CacheInvalidationError:
        assert reached
    else:
        assert not reached
        assert None is failing.cache.get("key")


@pytest.mark.parametrize("mistake", [lambda cache: cache.get(""), lambda cache: cache.set("key", 1, ttl=0)])
def test_mistakes_don_t_degrade(degrading: Failing, mistake: Callable[[Any], Any]) -> None:
    """What the caller did wrong is an error, backend or no backend, and none of the backend's."""
    degrading.down()
    with pytest.raises((CacheKeyError, CacheConfigError)):
        mistake(degrading.cache)
    assert 0 == degrading.cache.stats.errors


def test_ping_and_lock_say_so(degrading: Failing) -> None:
    """Whether the backend is there and who holds a lock can't be made up."""
    degrading.down()
    with pytest.raises(CacheConnectionError):
        degrading.cache.ping()
    with pytest.raises(CacheConnectionError), degrading.cache.lock("job", ttl=5):
        pytest.fail("nobody knows who holds this lock")


def test_explain_explains(failing: Failing) -> None:
    """`explain` says that the backend fails, and why."""
    failing.down()
    explanation = failing.cache.explain("key")
    assert ("unreachable", False) == (explanation.state, explanation.served)
    assert "connection refused" in explanation.reason


def test_one_log_line_per_outage(degrading: Failing, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever fails during an outage makes one warning together, and its end one line; so does the next outage."""
    cache = degrading.cache
    with caplog.at_level(logging.INFO, "codomyrmex.cache"):
        for outage in (1, 2):
            degrading.down()
            for _ in range(3):
                cache.get("key")
                cache.set("key", "s3cr3t")
                with pytest.raises(CacheInvalidationError):
                    cache.delete("key")
            degrading.down(False)
            for _ in range(3):
                cache.get("key")
                cache.set("key", "s3cr3t")
            lines = [(record.levelname, record.message) for record in caplog.records]
            expected = [
                ("WARNING", "cache 'app': backend dict fails: connection refused"),
                ("INFO", "cache 'app': backend dict answers again"),
            ]
            assert expected * outage == lines
    assert 18 == cache.stats.errors
    assert "s3cr3t" not in caplog.text


def test_views_share_an_outage(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Both views and all namespaces of a cache see one outage; another cache has its own."""
    with (
        managed({"defaults": {**JSON, "on_error": "degrade"}}, FailingDriver, clock=clock) as manager,
        caplog.at_level(logging.INFO, "codomyrmex.cache"),
    ):
        views: list[Any] = [manager.get_cache("app"), Awaited(manager.get_async_cache("app"))]
        views.append(views[0].namespace("ns"))
        other = manager.get_cache("other")
        views[0]._driver.down = other._driver.down = True
        for view in [*views, other]:
            assert None is view.get("key")
        assert ["app", "other"] == [record.args[0] for record in caplog.records]  # type: ignore[index]


def test_what_is_stored_survives_an_outage(failing: Failing) -> None:
    """When the backend is back, so is everything, in the same cache object."""
    failing.down()
    with pytest.raises(CacheConnectionError):
        failing.cache.get("key")
    failing.down(False)
    assert 1 == failing.cache.get("key")
    assert True is failing.cache.delete("key")


# What doesn't go together


class Shared(DictDriver):
    """Says that other processes use its store."""

    declares = Capabilities(shared=True, swap=False, clock="boot", blocking="never")


def refusal(settings: dict[str, Any], driver: type[DictDriver] = DictDriver) -> CacheConfigError:
    with managed({"defaults": settings}, driver) as manager, pytest.raises(CacheConfigError, match="'app'") as caught:
        manager.get_cache("app")
    assert ("app", settings["backend"]) == (caught.value.cache, caught.value.backend)
    return caught.value


def test_fence() -> None:
    """A shared driver that can't compare and swap is refused, unless the config says that one process writes."""
    assert 'fence = "process"' in str(refusal(JSON, Shared))
    with managed({"defaults": {**JSON, "fence": "process"}}, Shared) as manager:
        assert 1 == manager.get_cache("app").incr("n")


@pytest.mark.parametrize("fence", ["store", "process"])
def test_fence_elsewhere(manager: CacheManager, fence: str) -> None:
    """To a driver that isn't shared it makes no difference."""
    assert 1 == manager.get_cache("app", fence=fence).incr("n")


@pytest.mark.parametrize("serializer", ["json", ["json"], {"name": "json"}])
def test_serializer_of_objects(serializer: Any) -> None:
    """A backend that keeps objects has no use for a serializer, and says so."""
    assert "remove the option 'serializer'" in str(refusal({"backend": "null", "serializer": serializer}))


@pytest.mark.parametrize("backend", ["dict", "null"])
def test_eviction_without_bounds(backend: str) -> None:
    """A backend that never evicts has no use for a policy, and says so."""
    assert "remove the option 'eviction'" in str(refusal({"backend": backend, "eviction": "lru"}))


def test_refused_drivers_are_closed() -> None:
    """A driver that was made and is then refused is not left open."""
    closed: list[Any] = []

    class Closes(Shared):
        def close(self) -> None:
            closed.append(self)

    with managed({"defaults": JSON}, Closes) as manager, pytest.raises(CacheConfigError):
        manager.get_cache("app")
    assert 1 == len(closed)
