"""The directory: whose it is, who may look into it, and that no key or name leads out of it."""

from __future__ import annotations

import os
import stat
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from file_support import cache_at, check_file, directory, run

from codomyrmex.cache import CacheConfigError, CacheConnectionError, CacheError, CacheKeyError, CacheManager
from codomyrmex_cache_file import _opened

FILES = ["control", "data.mdb", "leases", "lock.mdb", "marks", "users"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_from_birth(tmp_path: Path, umask: int) -> None:
    """Directories are 0700 and files 0600 whatever the umask, those above the store's own too."""
    code = """
os.umask(int(sys.argv[2]))
with cache_at(sys.argv[1] + "/deep/er") as cache:
    cache.set("a", 1)
"""
    run(code, tmp_path, umask)
    place = directory(tmp_path / "deep" / "er")
    assert [0o700] * 3 == [mode(path) for path in (place, place.parent, place.parent.parent)]
    assert sorted(path.name for path in place.iterdir()) == FILES
    assert {0o600} == {mode(path) for path in place.iterdir()}


def test_modes_while_others_change_the_umask(tmp_path: Path) -> None:
    """No moment at which a file is open to others, though another thread changes the umask all the time."""
    stop = threading.Event()
    seen: set[int] = set()

    def change() -> None:
        while not stop.is_set():
            os.umask(0)
            os.umask(0o077)

    def look() -> None:
        while not stop.is_set():
            for path in tmp_path.glob("*/**/*"):
                with suppress(FileNotFoundError):
                    seen.add(mode(path))

    before, interval = os.umask(0o077), sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    threads = [threading.Thread(target=change), threading.Thread(target=look)]
    for thread in threads:
        thread.start()
    try:
        for number in range(15):
            with cache_at(tmp_path / str(number)) as cache:
                cache.set("a", number)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        os.umask(before)
        sys.setswitchinterval(interval)
    assert seen <= {0o700, 0o600}


def refused(path: Path) -> str:
    """What the error says if a cache on ``path`` is used."""
    with cache_at(path) as cache:
        with pytest.raises(CacheError) as caught:
            cache.set("a", 1)
        assert isinstance(caught.value, (CacheConfigError, CacheConnectionError))
        with pytest.raises(CacheError):
            cache.get("a")
    return str(caught.value)


def test_linked_directory(tmp_path: Path) -> None:
    """A directory that is a link is refused, and nothing is written where it leads."""
    victim = tmp_path / "victim"
    victim.mkdir()
    directory(tmp_path).symlink_to(victim)
    assert "link" in refused(tmp_path)
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("name", [*FILES, "damaged.mdb"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "directory", "pipe"])
def test_planted_files(tmp_path: Path, name: str, kind: str) -> None:
    """What was planted in place of a file is refused, says which, and what it leads to is untouched."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"important")
    place = directory(tmp_path)
    place.mkdir(mode=0o700)
    planted = place / name
    if kind == "link":
        planted.symlink_to(victim)
    elif kind == "dangling link":
        planted.symlink_to(tmp_path / "not there")
    elif kind == "directory":
        planted.mkdir()
    else:
        os.mkfifo(planted)
    said = refused(tmp_path)
    assert str(planted) in said
    assert "remove it" in said
    assert victim.read_bytes() == b"important"
    assert not (tmp_path / "not there").exists()


@pytest.mark.parametrize("bits", [0o770, 0o777, 0o702, 0o720])
def test_others_may_write(tmp_path: Path, bits: int) -> None:
    """A directory into which others may write is refused with a message that says what to do."""
    directory(tmp_path).mkdir()
    directory(tmp_path).chmod(bits)
    assert "chmod go-w" in refused(tmp_path)
    assert list(directory(tmp_path).iterdir()) == []
    directory(tmp_path).chmod(0o755)
    with cache_at(tmp_path) as cache:
        cache.set("a", 1)
        assert cache.get("a") == 1


def test_foreign_directory(tmp_path: Path) -> None:
    """A directory or a file of another user is refused."""
    if os.geteuid():
        pytest.skip("needs to be root, to give something away")
    directory(tmp_path).mkdir(mode=0o700)
    os.chown(directory(tmp_path), 65534, 65534)
    assert "belongs to another user" in refused(tmp_path)
    os.chown(directory(tmp_path), 0, 0)
    with cache_at(tmp_path) as cache:
        cache.set("a", 1)
    os.chown(directory(tmp_path) / "data.mdb", 65534, 65534)
    assert "is not a plain file of this user" in refused(tmp_path)


def test_no_directory(tmp_path: Path) -> None:
    """A file in place of the directory, or of one above it, is an error that names it."""
    directory(tmp_path).write_text("")
    assert str(directory(tmp_path)) in refused(tmp_path)
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refused(tmp_path / "file")


KEYS = [
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "..",
    ".",
    "a/b",
    "\n",
    "\x7f\xff",
    "x" * 10_000,
    "../" * 3000,
    "ü" * 5000,
    "😀" * 200,
    "con",
    " ",
]


def test_odd_keys_stay_inside(tmp_path: Path) -> None:
    """Any text that is a key is one, whatever it would mean to a file system, and makes no file."""
    with cache_at(tmp_path) as cache:
        for number, key in enumerate(KEYS):
            cache.set(key, number)
        for number, key in enumerate(KEYS):
            assert cache.get(key) == number
        assert sorted(KEYS) == sorted(cache.keys())
        for key in KEYS:
            assert cache.delete(key) is True
        assert cache.keys() == []
        for bad in ("", "\0a", "\ud800", 5, None, b"a"):
            with pytest.raises(CacheKeyError):
                cache.set(bad, 1)  # type: ignore[arg-type]
        check_file(cache._driver)
    assert [path.name for path in tmp_path.iterdir()] == ["c.cache"]
    assert sorted(path.name for path in directory(tmp_path).iterdir()) == FILES


def test_odd_names_stay_inside(tmp_path: Path) -> None:
    """A name of a cache is refused, or makes a directory below the path and nowhere else."""
    inside = tmp_path / "inside"
    with CacheManager(environ={}) as manager:
        for name in ("..", ".", "...", "-", "a.cache", "_"):
            cache = manager.get_cache(name, backend="file_based", path=str(inside), serializer="json")
            cache.set("a", name)
            assert cache.get("a") == name
        for name in ("../a", "/etc", "a/b", "a\0", "", "a b", "ü"):
            with pytest.raises(CacheConfigError):
                manager.get_cache(name, backend="file_based", path=str(inside), serializer="json")
        long = manager.get_cache("n" * 10_000, backend="file_based", path=str(inside), serializer="json")
        with pytest.raises(CacheConnectionError):
            long.set("a", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_path_with_nul(tmp_path: Path) -> None:
    """A path that no file system takes is an error of the config."""
    with CacheManager(environ={}) as manager, pytest.raises(CacheError):
        manager.get_cache("c", backend="file_based", path=f"{tmp_path}/a\0b", serializer="json").set("a", 1)


HEAD = "h" * 478
LONG = [HEAD + tail * 50 for tail in "abcdefgh"] + ["ä" * 300 + str(number) for number in range(8)]
LONG += ["x" * length for length in (477, 478, 479, 510, 511, 512, 513)]
LONG += ["é" * 255, "é" * 256, "e" + "é" * 255, "€" * 170, "€" * 171, "a" + "€" * 170]


def test_long_keys_are_distinct(tmp_path: Path) -> None:
    """Keys that LMDB has no room for are kept apart, found, listed and removed like all others."""
    with cache_at(tmp_path) as cache:
        for number, key in enumerate(LONG):
            cache.set(key, number, ttl=1000 if number % 2 else None)
        assert cache.get_many(LONG) == {key: number for number, key in enumerate(LONG)}
        assert sorted(LONG) == sorted(cache.keys())
        assert sorted(key for key in LONG if key.startswith(HEAD)) == sorted(cache.keys(HEAD))
        assert [HEAD + "a" * 50] == cache.keys(HEAD + "a")
        assert [] == cache.keys(HEAD + "z")
        assert cache.delete_pattern(HEAD + "[ab]*") == 2
        assert cache.get(HEAD + "c" * 50) == 2
        assert cache.get(HEAD + "a" * 50) is None
        check_file(cache._driver)
        assert cache.delete_many(LONG) == len(LONG) - 2
        assert cache.keys() == []
        check_file(cache._driver)


@pytest.mark.parametrize("length", [10, 470, 476, 477, 478, 510, 511, 600, 5000])
def test_long_namespaces(tmp_path: Path, length: int) -> None:
    """A namespace of any length holds its own entries, and clearing it touches no other."""
    with cache_at(tmp_path) as cache:
        spaces = [cache.namespace("n" * length + tail) for tail in ("", "a", "b")]
        nested = spaces[1].namespace("m" * length)
        for number, space in enumerate([*spaces, nested]):
            for key in ("1", "2", "k" * 700):
                space.set(key, [number, key])
        cache.set("n" * length, "outside")
        assert sorted(["1", "2", "k" * 700]) == sorted(spaces[0].keys())
        assert len(spaces[1].keys()) == 6
        nested.clear()
        assert len(spaces[1].keys()) == 3
        spaces[1].clear()
        assert spaces[1].keys() == []
        assert spaces[0].get("k" * 700) == [0, "k" * 700]
        assert spaces[2].delete_pattern("k*") == 1
        assert sorted(spaces[2].keys()) == ["1", "2"]
        assert cache.get("n" * length) == "outside"
        check_file(cache._driver)


def test_a_scan_goes_on_between_long_keys(tmp_path: Path) -> None:
    """Pages of a scan that end at a long key lose nothing and repeat nothing."""
    with cache_at(tmp_path) as cache:
        keys = sorted(HEAD + f"{number:04}" * 20 for number in range(100))
        for key in keys:
            cache.set(key, 1)
        seen: list[str] = []
        cursor = None
        while True:
            page = cache._driver.scan("", cursor, 7)
            seen += page.heads
            cursor = page.cursor
            if cursor is None:
                break
        assert keys == sorted(seen)


def test_one_directory_two_managers(tmp_path: Path) -> None:
    """Caches of one process on the same directory share one store, and must agree on its options."""
    with cache_at(tmp_path) as one, cache_at(tmp_path) as two:
        one.set("a", 1)
        assert two.get("a") == 1
        one.close()
        assert two.get("a") == 1
        two.set("b", 2)
        with pytest.raises(CacheConfigError, match="other options"), cache_at(tmp_path, max_entries=5):
            pass
        check_file(two._driver)


def test_a_store_in_good_order_is_not_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is opened, and by whom, as long as nobody is killed."""
    looked: list[bool] = []
    verify = _opened.verify
    monkeypatch.setattr(_opened, "verify", lambda path, pages: looked.append(pages) or verify(path, pages=pages))
    for number in range(3):
        with cache_at(tmp_path) as cache:
            cache.set("a", number)
        for _ in range(3):
            with cache_at(tmp_path) as cache:
                assert cache.get("a") == number
                run(READ, tmp_path)
    assert looked == [False] * 11


READ = """
with cache_at(sys.argv[1]) as cache:
    assert cache.get("a") is not None
"""
