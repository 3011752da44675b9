"""Leases: a load whose process is dead is known to be dead, and who waits for it goes on at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_support import Child, cache_at, check_file, in_fork

from codomyrmex.cache.backend import Field, Record

LEASE = b"LEASE--1"
SOON = 0.15
"""Three times the 50 ms in which a waiter has to notice."""


def pending(cache: Any, key: str, lease: bytes, version: bytes = b"VERSION1") -> bytes:
    """The record of a load that has no value yet."""
    record = Record(b"", version, fresh_until=0.0, lease=lease, lease_until=cache._driver.now() + 100, pending=True)
    encoded: bytes = cache._store.codec.raw(key, record)
    return encoded


LEAD = """
from codomyrmex.cache.backend import Field, Record
with cache_at(sys.argv[1]) as cache:
    record = Record(b"", b"VERSION1", 0.0, lease=b"LEASE--1", lease_until=cache._driver.now() + 100, pending=True)
    assert cache._driver.swap("key", Field.VERSION, None, cache._store.codec.raw("key", record))
    say("planted")
    wait_for("end")
    {then}
    say("done")
    wait_for("end")
"""


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Any]:
    with cache_at(tmp_path) as cache:
        cache.set("other", 1)
        yield cache
        check_file(cache._driver)


@pytest.fixture
def leader(cache: Any, tmp_path: Path) -> Iterator[Child]:
    with Child(LEAD.format(then="cache.set('key', 1)"), tmp_path) as child:
        assert child.line() == "planted"
        yield child


def waited(cache: Any, timeout: float = 20.0) -> tuple[threading.Thread, list[float]]:
    """A thread that waits for the lease, and where it notes when it went on."""
    ends: list[float] = []

    def wait() -> None:
        cache._driver.wait("key", LEASE, timeout)
        ends.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    return thread, ends


def test_waiters_go_on_when_the_leader_dies(cache: Any, leader: Child) -> None:
    """A leader that was killed is known to be dead at once, although its record is still there."""
    driver = cache._driver
    assert driver.capabilities.waits is True
    assert driver.leader_alive(LEASE) is True
    waiters = [waited(cache) for _ in range(3)]
    time.sleep(0.05)
    assert [ends for _, ends in waiters] == [[], [], []]
    leader.kill()
    leader.process.wait()
    killed = time.monotonic()
    for thread, ends in waiters:
        thread.join()
        assert ends[0] - killed <= SOON
    assert driver.leader_alive(LEASE) is False
    assert driver.get("key") is not None


def test_waiters_go_on_when_the_value_is_there(cache: Any, leader: Child) -> None:
    """They also go on when the leader stores, which ends its lease."""
    thread, ends = waited(cache)
    leader.tell("end")
    assert leader.line() == "done"
    stored = time.monotonic()
    thread.join()
    assert ends[0] - stored <= SOON
    assert cache.get("key") == 1
    assert cache._driver.leader_alive(LEASE) is False
    leader.tell("end")
    leader.end()


@pytest.mark.parametrize("how", ["set", "delete", "clear"])
def test_waiters_go_on_when_the_record_changes(cache: Any, leader: Child, how: str) -> None:
    """Any write or removal of the key by anybody ends the wait."""
    thread, ends = waited(cache)
    {"set": lambda: cache.set("key", 1), "delete": lambda: cache.delete("key"), "clear": cache.clear}[how]()
    changed = time.monotonic()
    thread.join()
    assert ends[0] - changed <= SOON


def test_a_wait_ends(cache: Any, leader: Child) -> None:
    """A wait is no longer than it may be, and ends at once if there is nothing to wait for."""
    start = time.monotonic()
    cache._driver.wait("key", LEASE, 0.05)
    assert 0.05 <= time.monotonic() - start <= 3 * 0.05 + SOON
    start = time.monotonic()
    cache._driver.wait("key", b"OTHER--1", 20.0)
    cache._driver.wait("missing", LEASE, 20.0)
    assert time.monotonic() - start <= SOON


def test_one_that_was_stopped_is_alive(cache: Any, leader: Child) -> None:
    """A leader that stands still is not dead."""
    leader.stopped()
    assert cache._driver.leader_alive(LEASE) is True


def test_own_leases(cache: Any) -> None:
    """A process's own lease is alive until its record is replaced, by whomever."""
    driver = cache._driver
    swap = driver.swap

    def plant(version: bytes = b"VERSION1") -> None:
        assert swap("key", Field.VERSION, None, pending(cache, "key", LEASE, version))
        assert driver.leader_alive(LEASE) is True

    def others_see() -> bool:
        return in_fork(lambda: str(driver.leader_alive(LEASE)).encode()) == b"True"

    plant()
    assert others_see()
    assert swap("key", Field.LEASE, LEASE, cache._store.codec.raw("key", Record(b"value", b"VERSION2")))
    assert not others_see()
    cache.delete("key")
    plant()
    cache.set("key", 1)
    assert not others_see()
    cache.delete("key")
    plant()
    cache.delete("key")
    assert not others_see()
    plant()
    in_fork(lambda: str(cache.set("key", 1)).encode())
    driver.purge(10)  # what the timer does every second
    assert not others_see()


def test_a_header_that_keeps_the_lease(cache: Any, leader: Child) -> None:
    """Who changes a record's times and keeps its lease doesn't become its owner."""
    driver = cache._driver
    assert driver.swap("key", Field.LEASE, LEASE, pending(cache, "key", LEASE, b"VERSION2"), True)
    leader.kill()
    leader.process.wait()
    assert driver.leader_alive(LEASE) is False


def test_a_child_does_not_keep_it_alive(cache: Any, tmp_path: Path) -> None:
    """A lease dies with the process that planted it, though a child of it lives on."""
    then = """
    if not os.fork():
        say("forked")
        time.sleep(0.5)
        os._exit(0)
    time.sleep(60)
"""
    with Child(LEAD.format(then=then.strip()), tmp_path) as child:
        assert child.line() == "planted"
        assert cache._driver.leader_alive(LEASE) is True
        child.tell("end")
        assert child.line() == "forked"
        child.kill()
        child.process.wait()
        assert cache._driver.leader_alive(LEASE) is False


def test_a_failed_swap_plants_nothing(cache: Any) -> None:
    """A lease that did not get into a record is nobody's."""
    cache.set("key", 1)
    assert cache._driver.swap("key", Field.VERSION, None, pending(cache, "key", LEASE)) is False
    assert cache._driver.leader_alive(LEASE) is False
