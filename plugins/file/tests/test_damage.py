"""Damaged files: whatever they hold, the process goes on, nothing wrong is served, and the store heals itself."""

from __future__ import annotations

import mmap
import os
import pickle
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_support import cache_at, check_file, directory, in_fork

from codomyrmex.cache.backend import HEADER_SIZE
from codomyrmex_cache_file import _verify
from codomyrmex_cache_file._errors import Damaged
from codomyrmex_cache_file._verify import verify

PAGE = 4096
VALUES: dict[str, Any] = {f"key{number}": [number, "x" * (number % 7) * 100] for number in range(400)}
VALUES |= {f"large{number}": [number, "y" * 20_000 * number] for number in range(5)}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in good order, with all that a store may have in it."""
    path = tmp_path_factory.mktemp("healthy")
    with cache_at(path, max_bytes="4MiB") as cache:
        for key, value in VALUES.items():
            cache.set(key, value, ttl=1000 if key.endswith("3") else None, tags=["tag"] if key.endswith("4") else ())
        cache.set("gone", 1)
        cache.delete("gone")
        cache.set("k" * 1000, "long")
        assert VALUES == cache.get_many(VALUES)
    return path


def look(path: Path) -> bytes:
    """In a child: what is served is right, and the store works; how many values were served."""
    with cache_at(path, max_bytes="4MiB") as cache:
        served = cache.get_many(VALUES)
        assert all(VALUES[key] == value for key, value in served.items())
        assert cache.get("k" * 1000) in (None, "long")
        for number in range(30):
            key = f"key{number * 10}"
            cache.set(key, number)
            assert cache.get(key) == number
            assert cache.delete(f"key{number * 10 + 1}") in (True, False)
            assert cache.get(f"key{number * 10 + 1}") is None
        cache.set("large", "z" * 100_000)
        assert cache.get("large") == "z" * 100_000
        assert len(cache.keys()) >= 30
        cache.clear()
        cache.set("after", 1)
        assert cache.keys() == ["after"]
        check_file(cache._driver)
    return str(len(served)).encode()


def copy(healthy: Path, path: Path) -> Path:
    shutil.copytree(directory(healthy), directory(path))
    return directory(path)


def after(path: Path) -> int:
    return int(in_fork(lambda: look(path)))


def garbage(size: int, source: random.Random) -> bytes:
    return source.randbytes(size)


def zeros(size: int, source: random.Random) -> bytes:
    return bytes(size)


def ones(size: int, source: random.Random) -> bytes:
    return b"\xff" * size


@pytest.mark.parametrize("page", range(16))
@pytest.mark.parametrize("with_what", [garbage, zeros])
def test_page_overwritten(healthy: Path, tmp_path: Path, page: int, with_what: Any) -> None:
    """Any of the first pages overwritten: misses or right values."""
    data = copy(healthy, tmp_path) / "data.mdb"
    with data.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(with_what(PAGE, random.Random(page)))
    after(tmp_path)


def test_header_overwritten(healthy: Path, tmp_path: Path) -> None:
    """Each field of both of the pages that LMDB begins with, overwritten."""
    for at in range(0, 152, 8):
        for page in (0, 1):
            path = tmp_path / f"{at}:{page}"
            data = copy(healthy, path) / "data.mdb"
            with data.open("r+b") as file:
                file.seek(page * PAGE + at)
                file.write(b"\x7f" * 8)
            after(path)


def damage(data: Path, source: random.Random) -> None:
    """Something random, somewhere in the part that is in use."""
    used = (os.stat(data).st_blocks * 512) // PAGE
    with data.open("r+b") as file:
        for _ in range(source.choice((1, 1, 3))):
            file.seek(source.randrange(used) * PAGE + source.choice((0, 0, 8, 10, 16, 20, source.randrange(PAGE - 64))))
            file.write(source.choice((garbage, zeros, ones))(source.choice((1, 2, 8, 64)), source))


def damaged_at_random(healthy: Path, path: Path, trials: int) -> list[int]:
    served = []
    for number in range(trials):
        place = path / str(number)
        damage(copy(healthy, place) / "data.mdb", random.Random(number))
        served.append(after(place))
        shutil.rmtree(place)
    return served


def test_random_damage(healthy: Path, tmp_path: Path) -> None:
    """Small changes anywhere in the file: misses or right values."""
    damaged_at_random(healthy, tmp_path, 40)


@pytest.mark.slow
def test_random_damage_many_times(healthy: Path, tmp_path: Path) -> None:
    """The same, many times."""
    served = damaged_at_random(healthy, tmp_path, 2000)
    print(f"{sum(not count for count in served)} of {len(served)} served nothing")


@pytest.mark.parametrize("length", [0, 1, 100, 4095, 4096, 4097, 8191, 8192, 8193, 12288, 20480, 50000, 100000, 400000])
def test_data_cut(healthy: Path, tmp_path: Path, length: int) -> None:
    """A data file cut at any length."""
    os.truncate(copy(healthy, tmp_path) / "data.mdb", length)
    assert after(tmp_path) == 0


def test_data_replaced(healthy: Path, tmp_path: Path) -> None:
    """A data file that is something else."""
    contents = (b"", b"garbage", random.Random(1).randbytes(100_000), bytes(100_000), b"SQLite format 3\0" * 1000)
    for number, content in enumerate(contents):
        path = tmp_path / str(number)
        (copy(healthy, path) / "data.mdb").write_bytes(content)
        assert after(path) == 0


@pytest.mark.parametrize("name", ["control", "marks", "users", "leases", "lock.mdb"])
def test_other_files(healthy: Path, tmp_path: Path, name: str) -> None:
    """What stands beside the data: cut, zeroed, replaced by garbage, missing."""
    size = (directory(healthy) / name).stat().st_size
    source = random.Random(name)
    for number, content in enumerate(
        (b"", b"x" * 10, bytes(size), source.randbytes(size), source.randbytes(9000), None)
    ):
        path = tmp_path / str(number)
        file = copy(healthy, path) / name
        file.unlink() if content is None else file.write_bytes(content)
        served = after(path)
        assert served in (0, len(VALUES))
        assert served or name == "control"


def test_control_flipped(healthy: Path, tmp_path: Path) -> None:
    """Each word of the control page, changed."""
    for at in range(0, 160, 8):
        path = tmp_path / str(at)
        with (copy(healthy, path) / "control").open("r+b") as file:
            file.seek(at)
            file.write(random.Random(at).randbytes(8))
        in_fork(lambda path=path: look_without_clock(path))


def look_without_clock(path: Path) -> bytes:
    """As `look`, for a store that doesn't know the time any more."""
    with cache_at(path, max_bytes="4MiB") as cache:
        served = cache.get_many(VALUES)
        assert all(VALUES[key] == value for key, value in served.items())
        cache.set("a", 1)
        assert cache.get("a") == 1
        cache.clear()
        assert cache.keys() == []
    return b""


def test_damaged_store_is_kept_aside(healthy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was found damaged is kept under another name, and a line in the log says so."""
    place = copy(healthy, tmp_path)
    os.truncate(place / "data.mdb", 100_000)
    content = (place / "data.mdb").read_bytes()
    with cache_at(tmp_path, max_bytes="4MiB") as cache:
        assert cache.get("key1") is None
    assert content == (place / "damaged.mdb").read_bytes()
    assert "is set aside, and begun anew: the file is cut" in caplog.text


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[Any]:
    """A cache, and a way to write into its records past it."""
    with cache_at(tmp_path) as cache:
        cache.set("key", {"data": [1, 2, 3]}, ttl=1000)
        cache.set("other", "else")
        opened = cache._driver._store.opened()

        def write(key: str, record: bytes) -> None:
            with opened.env.begin(write=True) as transaction:
                transaction.put(key.encode(), record, db=opened.entries)

        yield cache, write


def test_planted_pickle(raw: Any) -> None:
    """Bytes that were planted are never executed; they are a miss with a reason."""
    cache, write = raw
    executed: list[int] = []
    bomb = pickle.dumps(Bomb())
    for planted in (bomb, bytes(HEADER_SIZE) + bomb, cache._driver.get("key")[:HEADER_SIZE] + bomb):
        for key in ("key", "new"):
            write(key, planted)
            assert cache.get(key) is None
            assert cache.explain(key).state == "unreadable"
            assert cache.explain(key).reason
    assert [] == executed
    assert "CODOMYRMEX_BOMB" not in os.environ
    assert cache.set("key", 1) is True
    assert cache.get("key") == 1
    cache.delete("new")
    assert cache._driver.get("new") is None


class Bomb:
    """Sets a variable of the environment when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.putenv, ("CODOMYRMEX_BOMB", "1")


def test_changed_records(raw: Any) -> None:
    """A byte flipped at any place, a cut at any length and a move to another key are misses with a reason."""
    cache, write = raw
    good = cache._driver.get("key")
    for at in range(len(good)):
        write("key", good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        assert cache.get("key") is None
        assert cache.explain("key").state in ("unreadable", "absent", "expired")
        assert cache.explain("key").reason
    for length in range(len(good)):
        write("key", good[:length])
        assert cache.get("key") is None
        assert cache.explain("key").reason
    write("other", good)
    assert cache.get("other") is None
    assert cache.explain("other").state == "unreadable"
    write("key", good)
    assert cache.get("key") == {"data": [1, 2, 3]}


@pytest.mark.parametrize("table", ["places", "order", "expiry", "policy"])
def test_changed_rows(tmp_path: Path, table: str) -> None:
    """Rows of the other tables that were changed, cut or removed are noticed when they are met, and the store heals."""
    for number in range(12):
        path = tmp_path / str(number)
        source = random.Random(number)
        with cache_at(path, max_entries=30) as cache:
            for key in range(30):
                cache.set(f"key{key}", key, ttl=source.choice((None, 1000)))
            opened = cache._driver._store.opened()
            with opened.env.begin(write=True) as transaction:
                handle = getattr(opened, table)
                rows = list(transaction.cursor(handle))
                for key, row in source.sample(rows, min(3, len(rows))):
                    change = number % 4
                    if change == 0:
                        transaction.delete(key, db=handle)
                    elif change == 1:
                        transaction.put(key, row[: len(row) // 2], db=handle)
                    elif change == 2:
                        transaction.put(key, source.randbytes(len(row)), db=handle)
                    else:
                        transaction.put(source.randbytes(len(key)), row, db=handle)

            for key in range(100):
                value = cache.get(f"key{key}")
                assert value in (None, key)
                cache.set(f"key{key}", key, ttl=50)
                assert cache.get(f"key{key}") == key
            for key in range(0, 100, 3):
                cache.delete(f"key{key}")
                assert cache.get(f"key{key}") is None
            cache.keys()
            cache.clear()
            assert cache.keys() == []


def random_store(path: Path, source: random.Random) -> None:
    """A healthy file with a random past."""
    with cache_at(path, max_bytes="4MiB", eviction=source.choice(("sieve", "lru"))) as cache:
        for _ in range(source.choice((1, 20, 300))):
            key = f"key{source.randrange(200)}" + "k" * source.choice((0, 0, 100, 490, 600))
            what = source.random()
            if what < 0.7:
                cache.set(key, "x" * source.choice((1, 100, 1900, 2100, 5000, 60_000)), ttl=source.choice((None, 500)))
            elif what < 0.9:
                cache.delete(key)
            elif what < 0.93:
                cache.clear()
            elif what < 0.96:
                cache.delete_pattern("key1*")
            else:
                cache.set_many({f"{key}:{number}": number for number in range(source.choice((3, 200)))})


def test_walker_accepts_what_is_healthy(tmp_path: Path) -> None:
    """Every file that LMDB has written passes."""
    for number in range(25):
        random_store(tmp_path / str(number), random.Random(number))
        verify(str(directory(tmp_path / str(number)) / "data.mdb"), pages=True)


def test_walker_accepts_a_full_store(tmp_path: Path) -> None:
    """So does one that is as full as it may be, and one that was emptied then."""
    data = directory(tmp_path) / "data.mdb"
    with cache_at(tmp_path, max_bytes="2MiB") as cache:
        for number in range(1500):
            cache.set(f"key{number}", "x" * (number % 5) * 1000)
        cache._driver._store.settle(idle=0.0)
        verify(str(data), pages=True)
        cache.clear()
        cache._driver._store.settle(idle=0.0)
        verify(str(data), pages=True)


def test_walker_refuses_what_is_not(healthy: Path, tmp_path: Path) -> None:
    """A page in use that is not what it should be does not pass, whatever is wrong with it."""
    data = copy(healthy, tmp_path) / "data.mdb"
    good = data.read_bytes()
    for page in used_pages(data):
        for at, bad in ((0, b"\xfe\xff\xff"), (10, b"\x07\x00"), (12, b"\xff\xff"), (14, b"\x01\x00")):
            start = page * PAGE + at
            if good[page * PAGE + 10 : page * PAGE + 12] == b"\x04\x00" and at > 10:
                continue  # a large value has a length there
            data.write_bytes(good[:start] + bad + good[start + len(bad) :])
            with pytest.raises(Damaged):
                verify(str(data), pages=True)


def used_pages(data: Path) -> list[int]:
    """Pages of which some tree makes use, the first one only of a large value."""
    pages = []

    class Walk(_verify._Walk):
        def _take(self, number: int, count: int = 1) -> None:
            pages.append(number)  # so that the free ones are not among them

        def _check_free(self, pages: bytes) -> None:
            pass

    with data.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        Walk(content, _verify.read_meta(content)).run()
    return pages
