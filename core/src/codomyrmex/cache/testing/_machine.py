"""A hypothesis state machine: random operations on all views of a cache, against a dict and a clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from .._manager import CacheManager
from ..errors import CacheError, CacheExpiredError, CacheKeyError, CacheSerializationError
from ._clock import ManualClock
from ._neighbour import Neighbour, Remote
from ._views import Awaited

_NAME = "machine"
KEYS = st.sampled_from(["a", "b", "ns:a", "ns:b", "ns:x:a", "ä", "a*"])
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3), st.lists(st.integers(0, 3), max_size=2)
)
TTLS = st.sampled_from([None, 1, 5, 20, math.inf])
STALE = st.sampled_from([None, 0, 3, 30])
TAGS = st.lists(st.sampled_from(["red", "blue"]), max_size=2)
VIEWS = st.sampled_from(["sync", "async", "neighbour"])


@dataclass(frozen=True)
class Expected:
    """One entry of the model; ``ttl`` and ``kept`` are moments on the clock."""

    value: Any
    fresh: float
    kept: float
    tags: frozenset[str]


class CacheMachine(RuleBasedStateMachine):
    """Subclass it with ``settings_of_cache``; `run_machine` does."""

    settings_of_cache: ClassVar[Mapping[str, Any]]
    plugin: ClassVar[object | None] = None
    check: ClassVar[Callable[[Any], None] | None] = None
    neighbour: ClassVar[Neighbour | None] = None
    """Another process over the same store, if the store is shared and its backend installed."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.model: dict[str, Expected] = {}
        self.manager = CacheManager({"caches": {_NAME: self.settings_of_cache}}, clock=self.clock, environ={})
        if self.plugin is not None:
            self.manager.register(self.plugin, self.settings_of_cache["backend"])
        self.open()
        self.views["sync"].clear()

    def open(self) -> None:
        """Take the views of the cache: both of this process, and that of another one or once more our own."""
        cache = self.manager.get_cache(_NAME)
        if self.neighbour is None and self.plugin is None and cache.capabilities.shared:
            type(self).neighbour = Neighbour(self.settings_of_cache, _NAME, self.clock)
        self.views: dict[str, Any] = {"sync": cache, "async": Awaited(self.manager.get_async_cache(_NAME))}
        self.views["neighbour"] = cache
        if self.neighbour is not None:
            self.neighbour.follow(self.clock)
            self.views["neighbour"] = Remote(self.neighbour)

    def teardown(self) -> None:
        """Close the cache."""
        self.manager.close()

    # The model

    def held(self, key: str) -> Expected | None:
        """The entry if it is not past its second time."""
        entry = self.model.get(key)
        return entry if entry is not None and self.clock() < entry.kept else None

    def fresh(self, key: str) -> Expected | None:
        """The entry if it is served."""
        entry = self.held(key)
        return entry if entry is not None and self.clock() < entry.fresh else None

    def entry(self, value: Any, ttl: Any, stale_for: Any, tags: list[str]) -> Expected:
        """What a write should lead to."""
        fresh = self.clock() + (math.inf if ttl is None else ttl)
        return Expected(value, fresh, fresh + (stale_for or 0), frozenset(tags))

    # Writing

    @rule(view=VIEWS, key=KEYS, value=VALUES, ttl=TTLS, stale_for=STALE, tags=TAGS)
    def set(self, view: str, key: str, value: Any, ttl: Any, stale_for: Any, tags: list[str]) -> None:
        """`set` replaces."""
        assert self.views[view].set(key, value, ttl, tags=tags, stale_for=stale_for) is True
        self.model[key] = self.entry(value, ttl, stale_for, tags)

    @rule(view=VIEWS, keys=st.lists(KEYS, unique=True, max_size=3), value=VALUES, ttl=TTLS, tags=TAGS)
    def set_many(self, view: str, keys: list[str], value: Any, ttl: Any, tags: list[str]) -> None:
        """`set_many` replaces all."""
        assert self.views[view].set_many(dict.fromkeys(keys, value), ttl, tags=tags) is True
        self.model |= dict.fromkeys(keys, self.entry(value, ttl, None, tags))

    @rule(view=VIEWS, key=KEYS, value=VALUES, ttl=TTLS, stale_for=STALE, tags=TAGS)
    def add(self, view: str, key: str, value: Any, ttl: Any, stale_for: Any, tags: list[str]) -> None:
        """`add` stores only if nothing is served."""
        expected = self.fresh(key) is None
        assert self.views[view].add(key, value, ttl, tags=tags, stale_for=stale_for) is expected
        if expected:
            self.model[key] = self.entry(value, ttl, stale_for, tags)

    @rule(view=VIEWS, key=KEYS, delta=st.integers(-3, 3), ttl=TTLS)
    def incr(self, view: str, key: str, delta: int, ttl: Any) -> None:
        """`incr` adds to what is served, or starts."""
        entry = self.fresh(key)
        if entry is not None and type(entry.value) is not int:
            try:
                self.views[view].incr(key, delta, ttl=ttl)
            except CacheSerializationError:
                return
            raise AssertionError("incr of a value that is no int")
        value = (0 if entry is None else entry.value) + delta
        assert self.views[view].incr(key, delta, ttl=ttl) == value
        self.model[key] = self.entry(value, ttl, None, []) if entry is None else replace(entry, value=value)

    @rule(view=VIEWS, key=KEYS, ttl=TTLS)
    def touch(self, view: str, key: str, ttl: Any) -> None:
        """`touch` gives what is served a new life, and leaves its time as a fallback as long as it was."""
        entry = self.fresh(key)
        assert self.views[view].touch(key, ttl) is (entry is not None)
        if entry is not None:
            stale = 0 if entry.fresh == math.inf else entry.kept - entry.fresh
            fresh = self.clock() + (math.inf if ttl is None else ttl)
            self.model[key] = replace(entry, fresh=fresh, kept=fresh + stale)

    @rule(view=VIEWS, key=KEYS)
    def expire(self, view: str, key: str) -> None:
        """`expire` ends what is served and keeps it."""
        entry = self.fresh(key)
        assert self.views[view].expire(key) is (entry is not None)
        if entry is not None:
            self.model[key] = replace(entry, fresh=self.clock())

    # Removing

    @rule(view=VIEWS, key=KEYS)
    def delete(self, view: str, key: str) -> None:
        """`delete` removes what is held."""
        assert self.views[view].delete(key) is (self.held(key) is not None)
        self.model.pop(key, None)

    @rule(view=VIEWS, keys=st.lists(KEYS, max_size=4))
    def delete_many(self, view: str, keys: list[str]) -> None:
        """`delete_many` removes all that are held."""
        expected = sum(self.held(key) is not None for key in {*keys})
        assert self.views[view].delete_many(keys) == expected
        for key in keys:
            self.model.pop(key, None)

    @rule(view=VIEWS, key=KEYS)
    def pop(self, view: str, key: str) -> None:
        """`pop` returns what is served, and leaves nothing."""
        entry = self.fresh(key)
        assert self.views[view].pop(key, "default") == ("default" if entry is None else entry.value)
        self.model.pop(key, None)

    @rule(view=VIEWS, prefix=st.sampled_from(["", "ns", "ns:x"]))
    def clear(self, view: str, prefix: str) -> None:
        """`clear` removes what is under the prefix."""
        cache = self.views[view]
        (cache.namespace(prefix) if prefix else cache).clear()
        start = prefix + ":" if prefix else ""
        self.model = {key: entry for key, entry in self.model.items() if not key.startswith(start)}

    @rule(view=VIEWS, tags=TAGS)
    def invalidate_tags(self, view: str, tags: list[str]) -> None:
        """All that carries one of the tags is gone."""
        self.views[view].invalidate_tags(*tags)
        self.model = {key: entry for key, entry in self.model.items() if entry.tags.isdisjoint(tags)}

    @rule(seconds=st.sampled_from([0.5, 1, 4, 10, 1000]))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @precondition(lambda self: self.views["sync"].capabilities.persistent)
    @rule()
    def reopen(self) -> None:
        """A persistent store is there again after closing."""
        self.manager.remove_cache(_NAME)
        self.open()

    @precondition(lambda self: self.neighbour is not None)
    @rule()
    def reopen_elsewhere(self) -> None:
        """Another process that comes or goes changes nothing."""
        if self.neighbour is not None:
            self.neighbour.reopen()

    # Looking

    @rule(view=VIEWS, key=KEYS)
    def look(self, view: str, key: str) -> None:
        """`get`, an item, `exists` and `ttl` agree with the model."""
        cache, entry = self.views[view], self.fresh(key)
        assert cache.get(key, "default") == ("default" if entry is None else entry.value)
        assert cache.exists(key) is (entry is not None)
        left = cache.ttl(key)
        if entry is None:
            assert left is None
            wanted = CacheExpiredError if self.held(key) is not None else CacheKeyError
            try:
                cache[key]
            except CacheError as error:
                assert type(error) is wanted  # noqa: PT017
            else:
                raise AssertionError("an absent key has an item")
        else:
            assert cache[key] == entry.value
            assert type(cache[key]) is type(entry.value)
            assert left is not None
            assert left == entry.fresh - self.clock() or abs(left - (entry.fresh - self.clock())) < 0.01

    @rule(view=VIEWS, keys=st.lists(KEYS, max_size=5))
    def look_at_many(self, view: str, keys: list[str]) -> None:
        """`get_many` and namespaces agree with the model."""
        found = {key: entry.value for key in keys if (entry := self.fresh(key)) is not None}
        assert self.views[view].get_many(keys) == found
        inside = self.views[view].namespace("ns")
        for key in keys:
            if key.startswith("ns:"):
                entry = self.fresh(key)
                assert inside.get(key[3:], "default") == ("default" if entry is None else entry.value)

    @invariant()
    def same_keys(self) -> None:
        """The keys that are served are those of the model."""
        expected = sorted(key for key in self.model if self.fresh(key) is not None)
        assert sorted(self.views["sync"].keys()) == expected
        check = type(self).check
        if check is not None:
            check(self.views["sync"]._driver)


def run_machine(
    settings_of_cache: Mapping[str, Any],
    *,
    plugin: object | None = None,
    runs: int = 100,
    steps: int = 30,
    check: Callable[[Any], None] | None = None,
) -> None:
    """Run the state machine.

    Args:
        settings_of_cache: The settings of a cache, ``backend`` among them; its store is cleared before every run.
        plugin: A plugin to register under the backend's name, for a backend that is not installed.
        runs: How many sequences of operations.
        steps: Operations in each.
        check: Called with the synchronous driver after every step.

    Raises:
        AssertionError: A result differs from the model's; hypothesis shows the shortest sequence it found.
    """
    contents = {
        "settings_of_cache": settings_of_cache,
        "plugin": plugin,
        "check": None if check is None else staticmethod(check),
    }
    machine = cast("type[CacheMachine]", type("Machine", (CacheMachine,), contents))
    # The speed of a store is no property of its results.
    profile = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
        print_blob=True,
    )
    try:
        run_state_machine_as_test(machine, settings=profile)
    finally:
        if machine.neighbour is not None:
            machine.neighbour.close()
