"""The timer: one thread per process that purges what nobody reads (SPEC 6)."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest
from dict_driver import DictDriver, managed

from codomyrmex.cache import CacheConnectionError, CacheManager, _reaper
from codomyrmex.cache._reaper import Reaper
from codomyrmex.cache._stats import Recorder
from codomyrmex.cache.backend import BackendRequest, Purged
from codomyrmex.cache.testing import ManualClock


class Purging(DictDriver):
    """Says when it was purged."""

    def __init__(self, name: str = "purging") -> None:
        super().__init__(BackendRequest(name=name, cache=name))
        self.purged = threading.Event()
        self.rounds = 0
        self.slices: list[Any] = []

    def purge(self, limit: int) -> Purged:
        self.rounds += 1
        result = self.slices.pop(0) if self.slices else Purged(0, False)
        self.purged.set()
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def reaper(monkeypatch: pytest.MonkeyPatch) -> Reaper:
    monkeypatch.setattr(_reaper, "INTERVAL", 0.005)
    return Reaper()


def purged(driver: Purging) -> bool:
    """Whether it is purged again from now on."""
    driver.purged.clear()
    return driver.purged.wait(10)


def ended(thread: threading.Thread | None) -> bool:
    assert thread is not None
    thread.join(10)
    return not thread.is_alive()


def test_purges_in_turns(reaper: Reaper) -> None:
    """All that is watched is purged again and again, by one thread."""
    one, two = Purging("one"), Purging("two")
    reaper.watch(one, Recorder())
    thread = reaper._thread
    reaper.watch(two, Recorder())
    assert thread is reaper._thread
    assert purged(one)
    assert purged(two)
    assert purged(one)
    reaper.forget(one)
    reaper.forget(two)
    assert ended(thread)


def test_ends_when_there_is_nothing_to_watch(reaper: Reaper) -> None:
    """The thread ends with the last store, and begins again with the next."""
    first = Purging()
    reaper.watch(first, Recorder())
    thread = reaper._thread
    reaper.forget(first)
    assert ended(thread)
    assert None is reaper._thread
    second = Purging()
    reaper.watch(second, Recorder())
    assert purged(second)
    reaper.forget(second)


def test_keeps_nothing_alive(reaper: Reaper) -> None:
    """A cache that is simply dropped is collected, and the thread ends."""
    driver = Purging()
    reaper.watch(driver, Recorder())
    thread = reaper._thread
    assert purged(driver)
    gone = weakref.ref(driver)
    del driver
    assert ended(thread)
    gc.collect()
    assert None is gone()


def test_bounded_slices(reaper: Reaper) -> None:
    """A store is purged slice by slice while there is more, but not for ever: others wait."""
    driver, other = Purging("driver"), Purging("other")
    driver.slices = [Purged(1, True)] * 3
    reaper.watch(driver, Recorder())
    assert purged(driver)
    while driver.slices:
        assert purged(driver)
    driver.slices = [Purged(1, True)] * 100_000
    reaper.watch(other, Recorder())
    assert purged(other)
    reaper.forget(driver)
    reaper.forget(other)


@pytest.mark.parametrize("error", [CacheConnectionError("down"), ZeroDivisionError("broken")], ids=repr)
def test_goes_on_after_an_error(reaper: Reaper, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A store that fails stops neither the others nor its own next purge; what is no cache error is logged."""
    failing, other = Purging("failing"), Purging("other")
    failing.slices = [error]
    with caplog.at_level(logging.ERROR, "codomyrmex.cache"):
        reaper.watch(failing, Recorder())
        reaper.watch(other, Recorder())
        assert purged(other)
        assert purged(failing)
        assert purged(failing)
    reaper.forget(failing)
    reaper.forget(other)
    expected = [] if isinstance(error, CacheConnectionError) else ["purging a Purging failed"]
    assert expected == [record.message for record in caplog.records]


def test_expired_entries_leave(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    """Entries whose time is over leave the store although nobody reads or writes; others stay."""
    monkeypatch.setattr(_reaper, "INTERVAL", 0.005)
    monkeypatch.setattr(_reaper, "reaper", Reaper())
    monkeypatch.setattr("codomyrmex.cache._manager.reaper", _reaper.reaper)
    with managed(clock=clock) as manager:
        cache = manager.get_cache("app")
        cache.set_many({f"short:{number}": 0 for number in range(2500)}, ttl=10)
        cache.set("kept", 0, ttl=10, stale_for=10)
        cache.set("long", 0, ttl=100)
        cache.set("endless", 0)
        clock.advance(11)
        data = cache._driver.store.data
        wait = threading.Event()
        for _ in range(500):
            if len(data) <= 3:
                break
            wait.wait(0.02)
        assert {"app:kept", "app:long", "app:endless"} == set(data)


def test_closed_caches_are_not_watched(manager: CacheManager) -> None:
    """A cache is watched from its first use until it is closed, however that happens."""
    watched = _reaper.reaper._watched
    drivers = [manager.get_cache(name)._driver for name in ("a", "b", "c")]
    assert set(drivers) <= set(watched)
    manager.get_cache("a").close()
    manager.remove_cache("b")
    assert [False, False, True] == [driver in watched for driver in drivers]
    manager.close()
    assert not set(drivers) & set(watched)


PROGRAM = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
from codomyrmex.cache import _reaper
from codomyrmex.cache._stats import Recorder
from test_reaper import Purging, Recorder, purged

_reaper.INTERVAL = 0.005
driver = Purging()
_reaper.reaper.watch(driver, Recorder())
assert purged(driver)
{before}
child = os.fork()
if child == 0:
    assert purged(driver), "nobody purges in the child"
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("codomyrmex-cache-reaper") == 1, names
    _reaper.reaper.watch(another := Purging("another"), Recorder())
    assert purged(another)
    os._exit(0)
{after}
_, status = os.waitpid(child, 0)
assert purged(driver), "nobody purges in the parent"
print(os.waitstatus_to_exitcode(status))
"""
FORKS = {
    "idle": ("", ""),
    "lock held": ("_reaper.reaper._lock.acquire()", "_reaper.reaper._lock.release()"),
    "nothing watched": ("_reaper.reaper.forget(driver); _reaper.reaper.watch(driver, Recorder())", ""),
}


@pytest.mark.parametrize("moment", FORKS)
def test_survives_a_fork(moment: str, request: pytest.FixtureRequest) -> None:
    """A forked child, which inherits no thread and perhaps a held lock, purges with a thread of its own."""
    before, after = FORKS[moment]
    program = PROGRAM.format(before=before, after=after)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, str(request.path.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "0\n" == done.stdout, done.stderr
