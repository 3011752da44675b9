"""Lifetimes: what a user writes, the two times of a record, and what they make of it (SPEC 5, 6)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest
from dict_driver import JSON, DictDriver, managed
from hypothesis import given
from hypothesis import strategies as st

from codomyrmex.cache import CacheConfigError, CacheConnectionError, TTLManager
from codomyrmex.cache._ttl import State, judge
from codomyrmex.cache.backend import Record
from codomyrmex.cache.testing import ManualClock

NOW = 1_000_000.0
lengths = st.floats(0.001, 1e9)


def ttls(default: Any = None, **options: Any) -> TTLManager:
    return TTLManager(default, **{"clock": ManualClock(NOW), **options})


def record(fresh: float, kept: float, ttl: float, **fields: Any) -> Record:
    return Record("value", b"VERSION1", fresh, kept, ttl, **fields)


def test_no_ttl() -> None:
    """Without ttl, or with inf, an entry never ends, and so it is no fallback ever."""
    endless = (math.inf, math.inf, math.inf)
    assert endless == ttls().times()
    assert endless == ttls().times(math.inf)
    assert endless == ttls(60).times(math.inf, 30)
    assert endless == ttls(stale_for=30).times()


@pytest.mark.parametrize("ttl", [90, 90.0, timedelta(seconds=90), "90s", "1m30s", "1.5m", " 1M30S "], ids=repr)
def test_the_same_length(ttl: Any) -> None:
    """A ttl may be written in any of the forms, as the default and for one value."""
    assert (NOW + 90, NOW + 90, 90) == ttls().times(ttl) == ttls(ttl).times() == ttls(1).times(ttl)


def test_stale_for() -> None:
    """Kept until is fresh until and stale_for; zero is none, and a value's own wins over the cache's."""
    assert (NOW + 10, NOW + 30, 10) == ttls(10, stale_for="20s").times()
    assert (NOW + 10, NOW + 15, 10) == ttls(10, stale_for=20).times(None, 5)
    assert (NOW + 10, NOW + 10, 10) == ttls(10, stale_for=20).times(None, 0)
    assert (NOW + 10, math.inf, 10) == ttls(10).times(None, math.inf)


def test_maximum() -> None:
    """Longer ttls are cut to the maximum, no expiry among them; shorter ones stay."""
    limited = ttls(maximum="1m")
    assert [60, 60, 60, 5] == [limited.times(ttl).ttl for ttl in (None, math.inf, 61, 5)]


@pytest.mark.parametrize("value", [0, -1, math.nan, -math.inf, True, False, "0s", "5", "", "-5s", b"5s", [5]], ids=repr)
def test_bad_lengths(value: Any) -> None:
    """Zero, negative, NaN, bool and what can't be read are errors wherever a length is expected."""
    with pytest.raises(CacheConfigError):
        ttls(value)
    with pytest.raises(CacheConfigError):
        ttls(maximum=value)
    with pytest.raises(CacheConfigError):
        ttls().times(value)
    if value != 0 or value is False:
        with pytest.raises(CacheConfigError):
            ttls().times(5, value)


def test_no_stale_for() -> None:
    """Zero stands for no fallback, however it is written; False does not."""
    assert (NOW + 5, NOW + 5, 5) == ttls().times(5, 0) == ttls().times(5, 0.0)


@pytest.mark.parametrize("jitter", [-0.1, 1.1, math.nan, math.inf])
def test_bad_jitter(jitter: float) -> None:
    """Jitter is a fraction."""
    with pytest.raises(CacheConfigError):
        ttls(jitter=jitter)


@given(st.floats(0, 1), st.floats(0, 1, exclude_max=True), lengths)
def test_jitter(jitter: float, drawn: float, ttl: float) -> None:
    """Jitter takes off at most its share, and adds nothing; a record knows the length that it got."""
    times = ttls(jitter=jitter, random=lambda: drawn).times(ttl)
    assert ttl * (1 - jitter) - 1e-6 <= times.ttl <= ttl
    assert NOW + times.ttl == times.fresh_until


def test_jitter_spreads() -> None:
    """Entries that are stored together don't end together."""
    draws: Iterator[float] = cycle([0.0, 0.5, 0.99])
    several = ttls(100, jitter=0.1, random=lambda: next(draws))
    assert [100, 95, 90.1] == [pytest.approx(several.times().ttl) for _ in range(3)]


def test_plain() -> None:
    """A driver may compute a lifetime itself only where it is no more than now and ttl."""
    assert ttls().plain
    assert ttls(60).plain
    for options in ({"maximum": 5}, {"jitter": 0.1}, {"sliding": True}, {"stale_for": 1}):
        assert not ttls(60, **options).plain


# Judging


@given(lengths, st.floats(0, 1e9), st.floats(0, 3e9))
def test_judge(ttl: float, stale: float, later: float) -> None:
    """Fresh until the ttl ends, stale until stale_for ends, then over: every moment is one of them, ends excluded."""
    fresh, kept = NOW + ttl, NOW + ttl + stale
    now = NOW + later
    expected = State.FRESH if now < fresh else State.STALE if now < kept else State.EXPIRED
    assert expected is judge(record(fresh, kept, ttl), now)


def test_judge_at_the_ends() -> None:
    """The moment at which a time ends is after it."""
    entry = record(NOW + 10, NOW + 30, 10)
    moments = (NOW, NOW + 9.999, NOW + 10, NOW + 29.999, NOW + 30)
    expected = [State.FRESH, State.FRESH, State.STALE, State.STALE, State.EXPIRED]
    assert expected == [judge(entry, now) for now in moments]


def test_judge_endless() -> None:
    """An entry without end is fresh whatever the clock says; one that was ended by hand is stale."""
    endless = record(math.inf, math.inf, math.inf)
    assert {State.FRESH} == {judge(endless, now) for now in (0.0, NOW, -NOW, 1e300)}
    assert State.STALE is judge(record(NOW, math.inf, math.inf), NOW)


def test_judge_pending() -> None:
    """What has no value yet is pending, whatever its times."""
    assert State.PENDING is judge(record(0, 0, 1, pending=True), NOW)


@given(lengths, st.floats(0, 1e9), st.floats(6, 2e9))
def test_a_clock_that_was_put_back(ttl: float, stale: float, back: float) -> None:
    """A record whose end is further away than its whole ttl was written under another clock: it is over."""
    assert State.EXPIRED is judge(record(NOW + ttl, NOW + ttl + stale, ttl), NOW - back)


def test_clocks_that_differ_a_little() -> None:
    """Two processes whose clocks differ by seconds serve each other's entries."""
    assert State.FRESH is judge(record(NOW + 10, NOW + 10, 10), NOW - 4.9)
    assert State.EXPIRED is judge(record(NOW + 10, NOW + 10, 10), NOW - 5.1)


@given(lengths, st.floats(-2e9, 2e9))
def test_no_jump_makes_immortal(ttl: float, jump: float) -> None:
    """However the clock jumps, an entry with a ttl is served no longer than ttl and a tolerance from then on."""
    entry = record(NOW + ttl, NOW + ttl, ttl)
    assert State.EXPIRED is judge(entry, NOW + jump + ttl + 5.1) or State.EXPIRED is judge(entry, NOW + jump)


@pytest.mark.parametrize("kept", [0, 1000])
def test_an_entry_under_a_clock_that_was_put_back(kept: int) -> None:
    """In a cache it is absent in every operation, and is purged when its time would have come, at the latest."""
    clock = ManualClock(NOW)
    with managed(clock=clock) as manager:
        cache = manager.get_cache("app")
        cache.set("key", 1, ttl=100, stale_for=kept)
        clock.advance(-10_000)
        assert None is cache.get("key")
        assert False is cache.exists("key")
        assert [] == cache.keys()
        assert "expired" == cache.explain("key").state
        assert True is cache.add("key", 2, ttl=100)
        clock.advance(99)
        assert 2 == cache.get("key")


# Renewing


def test_due() -> None:
    """A hit renews a sliding entry once an eighth of its ttl is used, and never another one."""
    entry = record(NOW + 80, NOW + 80, 80)
    sliding = ttls(sliding=True)
    assert [False, False, True, True] == [sliding.due(entry, NOW + used) for used in (0, 9.9, 10, 79)]
    assert not ttls().due(entry, NOW + 79)
    assert not sliding.due(record(math.inf, math.inf, math.inf), NOW)


def test_renewed() -> None:
    """A new life begins now, and leaves the fallback as long as it was."""
    entry = record(NOW + 10, NOW + 40, 10)
    assert (NOW + 105, NOW + 135, 100) == ttls().renewed(entry, 100, NOW + 5)
    assert (math.inf, math.inf, math.inf) == ttls().renewed(entry, math.inf, NOW)
    endless = record(math.inf, math.inf, math.inf)
    assert (NOW + 10, NOW + 17, 10) == ttls(stale_for=7).renewed(endless, 10, NOW)


def test_ended() -> None:
    """What has been ended is over by every clock of those who share it, as old as before, and kept as long."""
    entry = record(NOW + 10, NOW + 40, 100)
    assert (NOW - 90, NOW + 40, 0) == ttls().ended(entry)
    young = record(NOW + 99, NOW + 99, 100)
    assert (NOW - 5, NOW + 99, 0) == ttls().ended(young)
    assert (NOW - 5, math.inf, 0) == ttls().ended(record(math.inf, math.inf, math.inf))
    for one in (entry, young):
        ended = record(*ttls().ended(one))
        assert State.STALE is judge(ended, NOW - 4.9)
    assert 90 == ttls().age(entry) == ttls().age(record(*ttls().ended(entry)))


@pytest.mark.parametrize("stale_for", [0, 50])
@pytest.mark.parametrize("behind", [0, 0.001, 4.9])
def test_expire_by_another_clock(behind: float, stale_for: int) -> None:
    """`expire` is seen at once by a process whose clock is a little behind, also right after the entry was stored."""
    clock = ManualClock(NOW)
    with managed(clock=clock) as manager:
        cache = manager.get_cache("app")
        cache.set("key", 1, ttl=10, stale_for=stale_for)
        assert cache.expire("key")
        clock.advance(-behind)
        assert None is cache.get("key")
        assert not cache.expire("key")


def test_the_age_of_what_was_expired() -> None:
    """A load is told when the value was stored, not when its ttl was ended."""
    clock, ages = ManualClock(NOW), []
    with managed(clock=clock) as manager:
        cache = manager.get_cache("app")
        cache.set("key", 1, ttl=3600, stale_for=60)
        clock.advance(10)
        cache.expire("key")
        cache.get_or_set("key", lambda context: ages.append(context.age))
    assert [10] == ages


def test_a_renewal_that_fails() -> None:
    """If a sliding entry can't be renewed, the hit is served all the same."""
    clock = ManualClock(NOW)

    class ReadOnly(DictDriver):
        def swap(self, *args: Any) -> bool:
            raise CacheConnectionError("read only")

    with managed({"defaults": {**JSON, "sliding": True}}, ReadOnly, clock=clock) as manager:
        cache = manager.get_cache("app")
        cache.set("key", 1, ttl=80)
        clock.advance(40)
        assert 1 == cache.get("key")
        assert 1 == cache.stats.hits


@pytest.mark.parametrize("ttl", [math.inf, "inf", 0, -1, math.nan, True])
def test_leases_end(ttl: Any) -> None:
    """A lock has to end some time."""
    assert 90 == ttls().lease("1m30s")
    with pytest.raises(CacheConfigError):
        ttls().lease(ttl)
