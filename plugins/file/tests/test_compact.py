"""Giving back disk space, while others go on, and what becomes of it when somebody is killed in the middle."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest
from file_support import Child, allocated, cache_at, check_file, directory

from codomyrmex.cache import Cache, CacheConnectionError, CacheFullError, CacheManager
from codomyrmex_cache_file import _compact
from codomyrmex_cache_file._control import CLEAN

STEPS = ["_copy", "_reserve", "_empty", "_exchange", "_sync_folder"]


def fill(cache: Cache[Any]) -> dict[str, Any]:
    """Put much into a store, take most of it out, and return what is left."""
    cache.set_many({f"key:{number}": ["x" * 3000, number] for number in range(2000)}, tags=["all"])
    cache.set("ends", 1, ttl=1000)
    cache.set("k" * 600, "long")
    cache.invalidate_tags("nothing")
    cache.delete_many([f"key:{number}" for number in range(2000) if number % 20])
    return content(cache)


def content(cache: Cache[Any]) -> dict[str, Any]:
    """Everything that is served."""
    return cache.get_many(cache.keys())


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_space_is_given_back_and_nothing_is_lost(tmp_path: Path, durability: str) -> None:
    """The disk holds less, by as much as is said; entries, ends, tags and counts are the same, also when reopened."""
    with cache_at(tmp_path, durability=durability) as cache:
        left = fill(cache)
        before = allocated(directory(tmp_path))
        given = cache.compact()
        assert given > 3_000_000
        assert before - given == allocated(directory(tmp_path))
        assert left == content(cache)
        assert 900 < (cache.ttl("ends") or 0) <= 1000
        check_file(cache._driver)
        cache.invalidate_tags("all")
        assert {"ends": 1, "k" * 600: "long"} == content(cache)
        cache.set("new", 1)
        check_file(cache._driver)
    with cache_at(tmp_path, durability=durability) as cache:
        assert {"ends": 1, "k" * 600: "long", "new": 1} == content(cache)
        check_file(cache._driver)


def test_a_store_without_free_pages_is_left_alone(tmp_path: Path) -> None:
    """Nothing to give: the file stays the same one."""
    with cache_at(tmp_path) as cache:
        fill(cache)
        assert cache.compact() > 0
        file = os.stat(directory(tmp_path) / "data.mdb").st_ino
        assert 0 == cache.compact()
        assert file == os.stat(directory(tmp_path) / "data.mdb").st_ino


def test_a_store_that_nobody_has_used_can_be_compacted(tmp_path: Path) -> None:
    """It is begun, and has nothing to give."""
    with cache_at(tmp_path) as cache:
        assert 0 == cache.compact()
        assert cache.set("key", 1)


OTHER = """
with cache_at(sys.argv[1]) as cache:
    cache.set("mine", 0)
    say(cache.get("shared"))
    wait_for("read")
    say(cache.get("shared"))
    wait_for("write")
    say(cache.incr("mine"), cache.get("shared"))
    wait_for("again")
    say(cache.incr("mine"), cache.get("shared"), cache.get("new"))
"""


def test_another_process_goes_on(tmp_path: Path) -> None:
    """It never sees what has been replaced since, its writes arrive, and it reads what others write."""
    with cache_at(tmp_path) as cache:
        fill(cache)
        cache.set("shared", "old")
        with Child(OTHER, tmp_path) as other:
            assert "old" == other.line()
            assert cache.compact() > 0
            cache.set("shared", "new")
            other.tell("read")
            assert other.line() in ("None", "new")
            other.tell("write")
            assert "1 new" == other.line()
            assert 1 == cache.get("mine")
            cache.set("new", "one")
            other.tell("again")
            assert "2 new one" == other.line()
            other.end()
        assert 2 == cache.get("mine")
        check_file(cache._driver)


BUSY = """
# Adds to a counter and reads it back: no reader may see less than it has written itself.
with cache_at(sys.argv[1], timeout="30s") as cache:
    say("ready")
    for _ in range(1500):
        mine = cache.incr(sys.argv[2])
        found = cache.get(sys.argv[2])
        assert found in (mine, None), (mine, found)
        cache.set(f"{sys.argv[2]}:{mine % 100}", "x" * 2000)
    say(mine)
"""


def test_busy_processes_lose_nothing(tmp_path: Path) -> None:
    """Three of them read and write all the time, while a fourth compacts again and again."""
    with cache_at(tmp_path, timeout="30s") as cache:
        fill(cache)
        with Child(BUSY, tmp_path, "a") as one, Child(BUSY, tmp_path, "b") as two, Child(BUSY, tmp_path, "c") as three:
            children = (one, two, three)
            assert ["ready"] * 3 == [child.line() for child in children]
            compacted = 0
            while any(child.process.poll() is None for child in children):
                cache.set_many({f"fill:{number}": "x" * 20_000 for number in range(50)})
                cache.delete_pattern("fill:*")
                compacted += cache.compact() > 0
            assert ["1500"] * 3 == [child.line() for child in children]
            for child in children:
                child.end()
        assert compacted > 1
        assert {"a": 1500, "b": 1500, "c": 1500} == cache.get_many(["a", "b", "c"])
        check_file(cache._driver)


KILLED = """
from codomyrmex_cache_file import _compact
step, after = sys.argv[2], sys.argv[3] == "after"
real = getattr(_compact, step)
def stop(*args):
    if after:
        real(*args)
    os.kill(os.getpid(), signal.SIGKILL)
with cache_at(sys.argv[1]) as cache:
    cache.get("shared")
    setattr(_compact, step, stop)
    cache.compact()
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("who", ["one that has it open", "one that opens it"])
def test_whoever_is_killed_in_the_middle_loses_nothing(tmp_path: Path, step: str, when: str, who: str) -> None:
    """Before or after any step: others find everything, write, and are never served what was replaced."""
    with cache_at(tmp_path) as cache:
        left = fill(cache) | {"shared": "old"}
        cache.set("shared", "old")
        if who == "one that opens it":
            cache.close()
        with Child(KILLED, tmp_path, step, when) as child:
            child.end(code=-9)
        with cache_at(tmp_path) as other:
            if who == "one that opens it":
                assert left == content(other)
            assert other.set("shared", "new")
            assert cache is other or who == "one that opens it" or cache.get("shared") in (None, "new")
            assert left | {"shared": "new"} == content(other)
            check_file(other._driver)
            other.compact()
            assert left | {"shared": "new"} == content(other)
            check_file(other._driver)
            assert {"compacting.mdb", "compacted.mdb"}.isdisjoint(os.listdir(directory(tmp_path)))


def test_a_reader_is_not_served_by_the_old_file(tmp_path: Path) -> None:
    """Killed after the exchange, before anybody has noticed: a process that only reads misses."""
    with cache_at(tmp_path) as cache:
        fill(cache)
        cache.set("shared", "old")
        with Child(
            "with cache_at(sys.argv[1]) as cache:\n  say(cache.get('shared'))\n  wait_for('read')\n"
            "  say(cache.get('shared'))\n  wait_for('end')",
            tmp_path,
        ) as reader:
            assert "old" == reader.line()
            with Child(KILLED, tmp_path, "_sync_folder", "before") as child:
                child.end(code=-9)
            cache.set("shared", "new")
            reader.tell("read")
            assert reader.line() in ("None", "new")
            reader.tell("end")
            reader.end()


def failing(error: Exception) -> Callable[..., Any]:
    """A step that fails."""

    def fail(*_: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("step", ["_copy", "_reserve", "_empty"])
def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for the copy, or to empty the old file: an error, and the store goes on."""
    with cache_at(tmp_path) as cache:
        left = fill(cache)
        monkeypatch.setattr(_compact, step, failing(lmdb.MapFullError("full")))
        with pytest.raises(CacheFullError):
            cache.compact()
        assert left == content(cache)
        assert cache.set("key", 1)
        check_file(cache._driver)
        assert {"compacting.mdb", "compacted.mdb"}.isdisjoint(os.listdir(directory(tmp_path)))
        monkeypatch.undo()
        assert cache.compact() > 0
        assert left | {"key": 1} == content(cache)


def test_a_compacted_store_is_clean(tmp_path: Path) -> None:
    """The disk has all of it, and every page of it is sound."""
    from codomyrmex_cache_file._verify import verify

    with cache_at(tmp_path) as cache:
        left = fill(cache)
        assert cache.compact() > 0
        verify(str(directory(tmp_path) / "data.mdb"), pages=True)
        assert CLEAN == cache._driver._store.opened().control.state
        assert left == content(cache)


def test_two_caches_of_one_process_share_it(tmp_path: Path) -> None:
    """Both see the new file at once."""
    table = {"backend": "file_based", "path": str(tmp_path), "serializer": "json", "max_bytes": "16MiB"}
    with cache_at(tmp_path) as cache, CacheManager({"caches": {"c": table}}, environ={}) as manager:
        left = fill(cache)
        other = manager.get_cache("c")
        assert other.compact() > 0
        assert left == content(cache) == content(other)


def test_a_store_that_may_only_be_read_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a line that says so."""
    with cache_at(tmp_path) as cache:
        cache.set("key", 1)
        monkeypatch.setattr(cache._driver._store.opened(), "writable", False)
        with pytest.raises(CacheConnectionError, match="may only be read"):
            cache.compact()
        monkeypatch.undo()
