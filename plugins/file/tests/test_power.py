"""Power loss, simulated: the disk has some of the pages that were changed since the last sync, and others not."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from file_support import cache_at, check_file, directory, in_fork, run

from codomyrmex_cache_file import _boot, _control
from codomyrmex_cache_file._control import CLEAN, DIRTY, ORDERED

PAGE = 4096
METAS = 2
FAST, SLOW = 15, 200


class Disk:
    """What a store's files hold at some moment."""

    def __init__(self, path: Path) -> None:
        self.data = (directory(path) / "data.mdb").read_bytes()
        self.control = (directory(path) / "control").read_bytes()

    def restore(self, path: Path) -> None:
        """Make a store of it."""
        directory(path).mkdir(mode=0o700, parents=True)
        (directory(path) / "data.mdb").write_bytes(self.data)
        (directory(path) / "control").write_bytes(self.control)


def torn(before: Disk, after: Disk, source: random.Random, *, ordered: bool = False) -> Disk:
    """What the disk may have when the power goes: of the pages that differ, some as before and some as after."""
    share = source.random()
    pages = []
    chosen = []
    for at in range(0, len(after.data), PAGE):
        old, new = before.data[at : at + PAGE], after.data[at : at + PAGE]
        changed = old != new
        take = changed and source.random() < share
        if ordered and at < METAS * PAGE:
            take = False  # they are written when all others have arrived
        chosen.append(take)
        pages.append(new if take else old)
    disk = Disk.__new__(Disk)
    disk.data = b"".join(pages)
    disk.control = after.control
    return disk


def other_boot() -> None:
    """In a child: the machine has been booted again."""
    _boot.boot_id = lambda: b"another boot"  # type: ignore[assignment]


def fill(cache: Any, source: random.Random, count: int) -> None:
    """Random writes."""
    for _ in range(count):
        key = f"key{source.randrange(300)}"
        if source.random() < 0.2:
            cache.delete(key)
        else:
            cache.set(key, [key, "x" * source.choice((10, 300, 3000, 30_000))], ttl=source.choice((None, 1000)))


def loss_of_power(path: Path, trials: int, between: int, look: Callable[[Path, random.Random], bytes]) -> list[bytes]:
    """What ``look`` returns for each of so many stores that lost power ``between`` writes after their last sync."""
    found = []
    for number in range(trials):
        source = random.Random(number)
        place = path / f"trial{number}"
        with cache_at(place, max_bytes="3MiB") as cache:
            fill(cache, source, 60)
        before = Disk(place)
        with cache_at(place, max_bytes="3MiB") as cache:
            fill(cache, source, 1 + source.randrange(between))
            after = Disk(place)
        for name in ("data.mdb", "control", "lock.mdb"):
            (directory(place) / name).unlink()
        victim = path / f"victim{number}"
        torn(before, after, source).restore(victim)
        found.append(in_fork(lambda victim=victim, source=source: look(victim, source)))
    return found


def after_a_reboot(path: Path, source: random.Random) -> bytes:
    other_boot()
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("codomyrmex.cache").addHandler(handler)
    with cache_at(path) as cache:
        values = [cache.get(f"key{number}") for number in range(300)]
        assert [None] * 300 == values
        assert any("set aside" in record for record in records)
        assert (directory(path) / "damaged.mdb").exists()
        fill(cache, source, 20)
        check_file(cache._driver)
    return b"set aside"


def in_the_same_boot(path: Path, source: random.Random) -> bytes:
    with cache_at(path) as cache:
        served = 0
        for number in range(300):
            value = cache.get(f"key{number}")
            assert value is None or value[0] == f"key{number}"
            served += value is not None
        fill(cache, source, 20)
        check_file(cache._driver)
    return b"opened" if served else b"set aside"


def test_power_loss(tmp_path: Path) -> None:
    """A store that was being written when the machine went down is set aside before LMDB sees it, and begun anew."""
    assert [b"set aside"] * FAST == loss_of_power(tmp_path, FAST, 8, after_a_reboot)


@pytest.mark.slow
def test_power_loss_many_times(tmp_path: Path) -> None:
    """The same, many times."""
    assert [b"set aside"] * SLOW == loss_of_power(tmp_path, SLOW, 8, after_a_reboot)


def test_torn_in_the_same_boot(tmp_path: Path) -> None:
    """The same pages never end the process, even if nothing says that there was a power loss."""
    assert len(loss_of_power(tmp_path, FAST, 8, in_the_same_boot)) == FAST


@pytest.mark.slow
def test_torn_in_the_same_boot_many_times(tmp_path: Path) -> None:
    """The same, many times."""
    found = loss_of_power(tmp_path, SLOW, 8, in_the_same_boot)
    print(f"{found.count(b'set aside')} of {SLOW} were found to be damaged")


def test_reboot_after_a_clean_end(tmp_path: Path) -> None:
    """What was closed in good order survives a reboot, times included."""
    with cache_at(tmp_path) as cache:
        cache.set("a", 1)
        cache.set("b", 2, ttl=1000)

    def look() -> bytes:
        other_boot()
        with cache_at(tmp_path) as cache:
            assert 990 < (cache.ttl("b") or 0) <= 1000
            check_file(cache._driver)
            return repr(cache.get_many(["a", "b"])).encode()

    assert in_fork(look) == b"{'a': 1, 'b': 2}"


def test_reading_makes_nothing_dirty(tmp_path: Path) -> None:
    """A process that only reads leaves a clean store clean: a power cut meanwhile costs nothing."""
    with cache_at(tmp_path) as cache:
        cache.set("a", 1)
    with cache_at(tmp_path) as cache:
        assert cache.get("a") == 1
        disk = Disk(tmp_path)
    disk.restore(tmp_path / "copy")

    def look() -> bytes:
        other_boot()
        with cache_at(tmp_path / "copy") as cache:
            return str(cache.get("a")).encode()

    assert in_fork(look) == b"1"


def test_a_program_that_never_closes(tmp_path: Path) -> None:
    """A program that ends without closing its cache leaves a store in good order."""
    code = """
from codomyrmex.cache import CacheManager
manager = CacheManager(environ={})
manager.get_cache("c", backend="file_based", path=sys.argv[1], serializer="json").set("a", 1)
"""
    run(code, tmp_path)

    def look() -> bytes:
        other_boot()
        with cache_at(tmp_path) as cache:
            return str(cache.get("a")).encode()

    assert in_fork(look) == b"1"


@pytest.fixture
def boot_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds since the boot, in a list."""
    clock = [1000.0]
    monkeypatch.setattr(_boot, "since_boot", lambda: clock[0])
    return clock


def test_settles_when_idle(tmp_path: Path, boot_clock: list[float]) -> None:
    """Two seconds after the last write the store is brought to the disk and marked clean, not before."""
    with cache_at(tmp_path) as cache:
        cache.set("a", 1)
        control = cache._driver._store.opened().control
        cache._driver.purge(10)
        assert control.state == DIRTY
        boot_clock[0] += 1.9
        cache._driver.purge(10)
        assert control.state == DIRTY
        boot_clock[0] += 0.2
        cache._driver.purge(10)
        assert control.state == CLEAN
        disk = Disk(tmp_path)
    disk.restore(tmp_path / "copy")

    def look() -> bytes:
        other_boot()
        with cache_at(tmp_path / "copy") as cache:
            return str(cache.get("a")).encode()

    assert in_fork(look) == b"1"


def test_dirty_before_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first write after a clean mark says so durably before it changes a byte of the data."""
    synced: list[bytes] = []
    fsync = _control.os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((directory(tmp_path) / "data.mdb").read_bytes())

    with cache_at(tmp_path) as cache:
        cache.set("a", 1)
        cache._driver._store.settle(idle=0.0)
        control = cache._driver._store.opened().control
        assert control.state == CLEAN
        before = (directory(tmp_path) / "data.mdb").read_bytes()
        monkeypatch.setattr(_control.os, "fsync", watched)
        cache.set("a", 2)
        assert control.state == DIRTY
        assert [before] == synced
        cache.set("a", 3)
        assert [before] == synced
        monkeypatch.undo()


def ordered_loss(path: Path, trials: int) -> None:
    for number in range(trials):
        source = random.Random(number)
        place = path / f"trial{number}"
        with cache_at(place, durability="disk", max_bytes="3MiB") as cache:
            fill(cache, source, 30 + source.randrange(30))
            acknowledged = {key: cache.get(key) for key in sorted(cache.keys())}
            before = Disk(place)
            cache.set("last", "x" * source.choice((10, 30_000)))
            after = Disk(place)
            assert cache._driver._store.opened().control.state == ORDERED
        disk = torn(before, after, source, ordered=True)
        disk.control = source.choice((before.control, after.control))
        victim = path / f"victim{number}"
        disk.restore(victim)

        def look(victim: Path = victim, source: random.Random = source, expected: Any = acknowledged) -> bytes:
            other_boot()
            with cache_at(victim, durability="disk") as cache:
                assert expected == {key: cache.get(key) for key in sorted(cache.keys()) if key != "last"}
                check_file(cache._driver)
                fill(cache, source, 20)
                check_file(cache._driver)
            return b"kept"

        assert in_fork(look) == b"kept"


def test_durability_disk(tmp_path: Path) -> None:
    """With durability="disk" a power cut in the middle of a write costs nothing that was acknowledged."""
    ordered_loss(tmp_path, FAST)


@pytest.mark.slow
def test_durability_disk_many_times(tmp_path: Path) -> None:
    """The same, many times."""
    ordered_loss(tmp_path, SLOW)


def test_durabilities_mixed(tmp_path: Path) -> None:
    """A store that two processes use with different durabilities promises the weaker one, and says so in its mark."""
    with cache_at(tmp_path, durability="disk") as cache:
        cache.set("a", 1)
        control = cache._driver._store.opened().control
        assert control.state == ORDERED

        def weaker() -> bytes:
            with cache_at(tmp_path / "same") as other:
                other.set("b", 1)
                return str(other._driver._store.opened().control.state).encode()

        (tmp_path / "same").symlink_to(tmp_path)
        assert str(CLEAN).encode() != in_fork(weaker)
        cache.set("c", 1)
        assert control.state == ORDERED
        assert cache.get("b") == 1
