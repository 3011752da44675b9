"""A disk that is full or may only be read, and a process at its limits: clear errors, and the rest goes on."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_support import Child, cache_at, check_file, directory, run

from codomyrmex.cache.errors import CacheConnectionError

PRELUDE = """
import resource
def outcome(call):
    # "done", or the name of the error; another error than the cache's own is none to be caught.
    try:
        call()
        return "done"
    except CacheError as error:
        return type(error).__name__
def fill_disk(path):
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
"""

FILL = (
    PRELUDE
    + """
with cache_at(sys.argv[1], max_bytes="64MiB", eviction=sys.argv[2]) as cache:
    cache.set("first", "x" * 1000)
    written, outcomes = 0, set()
    for number in range(int(sys.argv[3])):
        result = outcome(lambda: cache.set(str(number), "x" * (1000, 300, 20_000)[number % 3]))
        outcomes.add(result)
        if result == "done":
            written = number
            assert cache.get(str(number)) == "x" * (1000, 300, 20_000)[number % 3]
    say(*sorted(outcomes))
    keys = cache.keys()
    say(len(keys), cache.get(str(written)) is not None)
    if sys.argv[2] == "none":
        assert outcome(lambda: cache.incr("counter")) in ("CacheFullError", "done")
    deleted = [key for key in keys if cache.delete(key)]
    say(len(deleted), cache.keys() == [] or cache.keys() == ["counter"])
    for number in range(5):
        cache.set(f"again{number}", "x" * 1000)
    say(len(cache.get_many([f"again{number}" for number in range(5)])))
    check_file(cache._driver)
with cache_at(sys.argv[1], max_bytes="64MiB", eviction=sys.argv[2]) as cache:
    say(len(cache.get_many([f"again{number}" for number in range(5)])))
    check_file(cache._driver)
"""
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("eviction", ["sieve", "none"])
def test_full_disk(small_disk: Path, eviction: str) -> None:
    """On a full disk writes evict or raise CacheFullError, reads and deletes go on, and deleting makes room."""
    outcomes, filled, deleted, again, later = run(FILL, small_disk, eviction, 1000)
    assert outcomes == ("CacheFullError done" if eviction == "none" else "done")
    entries, last = filled.split()
    assert int(entries) > 20
    assert last == "True"
    assert deleted.split()[1] == "True"
    assert (again, later) == ("5", "5")


@pytest.mark.parametrize("eviction", ["sieve", "none"])
def test_disk_filled_by_others(small_disk: Path, eviction: str) -> None:
    """The same if others have filled it; when they make room, the store grows again."""
    code = (
        PRELUDE
        + """
with cache_at(sys.argv[1], max_bytes="64MiB", eviction=sys.argv[2]) as cache:
    for number in range(100):
        cache.set(str(number), "x" * 1000)
    fill_disk(os.path.join(sys.argv[1], "filler"))
    outcomes = {outcome(lambda: cache.set(f"more{number}", "x" * 1000)) for number in range(300)}
    say(*sorted(outcomes))
    for number in range(100):
        cache.delete(str(number))
    assert cache.get_many([str(number) for number in range(100)]) == {}
    os.unlink(os.path.join(sys.argv[1], "filler"))
    for number in range(300):
        cache.set(f"again{number}", "x" * 1000)
    say(len(cache.get_many([f"again{number}" for number in range(300)])), cache._driver._store.opened().careful)
    check_file(cache._driver)
"""
    )
    outcomes, again = run(code, small_disk, eviction)
    assert outcomes in (("CacheFullError done", "CacheFullError") if eviction == "none" else ("done",))
    assert again == "300 False"


def test_store_begun_on_a_full_disk(small_disk: Path) -> None:
    """A store that can't even be made raises CacheConnectionError, and is made as soon as there is room."""
    code = (
        PRELUDE
        + """
filler = os.path.join(sys.argv[1], "filler")
left = int(sys.argv[2])
fill_disk(filler)
os.truncate(filler, max(0, os.path.getsize(filler) - left * 4096))
with cache_at(sys.argv[1]) as cache:
    say(*[outcome(call) for call in (
        lambda: cache.get("a"), lambda: cache.set("a", 1), lambda: cache.delete("a"), lambda: cache.clear())])
    os.unlink(filler)
    cache.set("a", 1)
    say(cache.get("a"))
    check_file(cache._driver)
"""
    )
    for left in (0, 1, 3, 10, 30, 60, 90, 120):
        if (small_disk / "c.cache").exists():
            subprocess.run(["rm", "-r", str(small_disk / "c.cache")], check=True)
        outcomes, after = run(code, small_disk, left)
        assert set(outcomes.split()) <= {"CacheConnectionError", "CacheInvalidationError", "CacheFullError", "done"}
        assert after == "1"


def test_no_inodes(tmp_path: Path) -> None:
    """A disk on which no more files can be made."""
    place = tmp_path / "disk"
    place.mkdir()
    options = "size=4m,nr_inodes=4,mode=0700"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        code = (
            PRELUDE
            + """
with cache_at(sys.argv[1]) as cache:
    say(outcome(lambda: cache.get("a")), outcome(lambda: cache.set("a", 1)), outcome(lambda: cache.delete("a")))
"""
        )
        said = run(code, place)[0]
        assert said == "CacheConnectionError CacheConnectionError CacheInvalidationError"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


LIMITED = (
    PRELUDE
    + """
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
"""
    + FILL.removeprefix(PRELUDE)
)


@pytest.mark.parametrize("eviction", ["sieve", "none"])
def test_limit_of_file_size(tmp_path: Path, eviction: str) -> None:
    """A process that may make no large files keeps to what it may."""
    outcomes, filled, deleted, again, later = run(LIMITED, tmp_path, eviction, 700)
    assert outcomes == ("CacheFullError done" if eviction == "none" else "done")
    assert int(filled.split()[0]) > 20
    assert deleted.split()[1] == "True"
    assert (again, later) == ("5", "5")


def test_limit_of_file_size_below_the_file(tmp_path: Path) -> None:
    """A process that may make no files as large as the store is reads, deletes, and writes within its limit."""
    with cache_at(tmp_path, max_bytes="64MiB") as cache:
        for number in range(3000):
            cache.set(str(number), "x" * 1000)
        code = (
            PRELUDE
            + """
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
with cache_at(sys.argv[1], max_bytes="64MiB") as cache:
    say(len(cache.get_many([str(number) for number in range(3000)])))
    say(all(cache.delete(str(number)) for number in range(500)))
    outcomes = {outcome(lambda: cache.set(f"more{number}", "x" * 1000)) for number in range(100)}
    say(*sorted(outcomes))
"""
        )
        found, deleted, outcomes = run(code, tmp_path)
        assert (found, deleted) == ("3000", "True")
        assert set(outcomes.split()) <= {"CacheFullError", "done"}
        assert cache.get("0") is None
        assert cache.get("2999") == "x" * 1000 or "done" in outcomes
        cache.set("after", 1)
        assert cache.get("after") == 1
        check_file(cache._driver)


READ_ONLY = (
    PRELUDE
    + """
if sys.argv[2] != "root":
    import tempfile
    with cache_at(tempfile.mkdtemp()) as cache:  # imports what this user may not read afterwards
        cache.set("a", 1)
        say(cache.get("a"))
    os.setgid(65534)
    os.setuid(65534)
with cache_at(sys.argv[1]) as cache:
    say(cache.get("a"), sorted(cache.keys()), 0 < cache.ttl("b") <= 1000)
    say(*[outcome(call) for call in (
        lambda: cache.set("a", 2), lambda: cache.incr("n"), lambda: cache.delete("a"), lambda: cache.clear(),
        lambda: cache.invalidate_tags("t"), lambda: cache.touch("a", 5))])
    say(cache.get("a"), cache.stats.entries)
    cache._driver.purge(10)
"""
)
REFUSED = (
    "CacheConnectionError CacheConnectionError CacheInvalidationError CacheInvalidationError CacheInvalidationError "
    "CacheConnectionError"
)


def filled(path: Path) -> None:
    with cache_at(path) as cache:
        cache.set("a", 1)
        cache.set("b", 1, ttl=1000)


def test_read_only_directory() -> None:
    """Who may only read a store reads; writing fails clearly, an invalidation never silently."""
    if os.geteuid():
        pytest.skip("needs to be root, to become somebody else")
    with tempfile.TemporaryDirectory() as top:  # pytest's own directories are closed to others
        os.chmod(top, 0o755)
        filled(Path(top))
        for place in (directory(top), *directory(top).iterdir()):
            os.chown(place, 65534, 65534)
            place.chmod(0o500 if place.is_dir() else 0o400)
        _, seen, outcomes, after = run(READ_ONLY, top, "nobody")
    assert seen == "1 ['a', 'b'] True"
    assert outcomes == REFUSED
    assert after == "1 2"


@pytest.fixture
def read_only_mount(tmp_path: Path) -> Iterator[Path]:
    """A directory, mounted once more for reading only, with a store in it."""
    filled(tmp_path / "real")
    place = tmp_path / "mounted"
    place.mkdir()
    done = subprocess.run(["mount", "--bind", str(tmp_path / "real"), str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
    subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_read_only_mount(read_only_mount: Path) -> None:
    """The same on a file system that is mounted for reading only; what others write there is seen."""
    seen, outcomes, after = run(READ_ONLY, read_only_mount, "root")
    assert seen == "1 ['a', 'b'] True"
    assert outcomes == REFUSED
    assert after == "1 2"
    code = (
        PRELUDE
        + """
with cache_at(sys.argv[1]) as cache:
    for number in range(100):
        wait_for("look")
        say(cache.get("a") == [number] * 300, outcome(lambda: cache.set("a", 1)))
"""
    )
    with Child(code, read_only_mount) as reader, cache_at(read_only_mount.with_name("real")) as writer:
        for number in range(100):
            writer.set("a", [number] * 300)
            reader.tell("look")
            assert reader.line() == "True CacheConnectionError"
        check_file(writer._driver)


READS = """
import random
with cache_at(sys.argv[1]) as cache:
    say("ready")
    misses = 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            value = cache.get(f"key{random.randrange(20)}")
        except CacheConnectionError:
            continue
        misses += value is None
        assert value is None or len(set(value)) == 1
    say(misses)
"""


def test_read_only_mount_while_others_write(read_only_mount: Path) -> None:
    """Who may not tell LMDB that it reads keeps writers out meanwhile, and never sees a page that is written over."""
    with Child(READS, read_only_mount) as reader, cache_at(read_only_mount.with_name("real")) as writer:
        for number in range(20):
            writer.set(f"key{number}", [number] * 500)
        assert reader.line() == "ready"
        number = 0
        while reader.process.poll() is None and number < 20_000:
            writer.set(f"key{number % 20}", [number] * (100 + number % 2000))
            number += 1
        assert reader.line() == "0"
        reader.end()
        check_file(writer._driver)


def test_nothing_there_to_read(read_only_mount: Path) -> None:
    """A store that is not there and can't be made is an error that says so."""
    with cache_at(read_only_mount / "other") as cache, pytest.raises(CacheConnectionError):
        cache.get("a")


def test_out_of_file_descriptors(tmp_path: Path) -> None:
    """A process without a free descriptor gets clear errors; a store that is open needs no more of them."""
    code = (
        PRELUDE
        + """
with cache_at(sys.argv[1]) as opened, cache_at(sys.argv[1] + "/other") as closed:
    opened.set("a", 1)
    import codomyrmex.cache, json, logging
    most = 60
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        pass
    say(outcome(lambda: closed.get("a")), outcome(lambda: closed.set("a", 1)), outcome(lambda: closed.delete("a")))
    opened.set("b", 2)
    opened.delete("a")
    say(opened.get("a"), opened.get("b"))
    for number in range(len(taken)):
        os.close(taken.pop())
        closed_works = outcome(lambda: closed.set("a", 1))
        assert closed_works in ("done", "CacheConnectionError"), closed_works
    say(closed.get("a"))
    check_file(opened._driver)
    check_file(closed._driver)
"""
    )
    refused, open_one, after = run(code, tmp_path)
    assert refused == "CacheConnectionError CacheConnectionError CacheInvalidationError"
    assert open_one == "None 2"
    assert after == "1"


def test_limit_of_address_space(tmp_path: Path) -> None:
    """A process that can't map the store gets a clear error; another one works on."""
    with cache_at(tmp_path, max_bytes="1GiB") as cache:
        cache.set("a", 1)
        code = (
            PRELUDE
            + """
resource.setrlimit(resource.RLIMIT_AS, (700 * 2**20, 700 * 2**20))
with cache_at(sys.argv[1], max_bytes="1GiB") as cache:
    say(outcome(lambda: cache.get("a")), outcome(lambda: cache.set("a", 1)), outcome(lambda: cache.delete("a")))
"""
        )
        assert run(code, tmp_path)[0] == "CacheConnectionError CacheConnectionError CacheInvalidationError"
        cache.set("a", 2)
        assert cache.get("a") == 2
        check_file(cache._driver)
