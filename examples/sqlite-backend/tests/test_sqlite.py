"""What the conformance kit can't know of ``sqlite``: its names, its file, processes and forks."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import Cache, CacheConfigError, CacheConnectionError, CacheFullError, CacheManager
from codomyrmex.cache.backend import Purged
from codomyrmex.cache.testing import ManualClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def config(path: Path) -> dict[str, Any]:
    return {"caches": {"app": {"backend": "sqlite", "path": str(path), "serializer": "json", "timeout": "50ms"}}}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache(config: dict[str, Any], clock: ManualClock) -> Iterator[Cache[Any]]:
    with CacheManager(config, clock=clock, environ={}) as manager:
        yield manager.get_cache("app")


def start(program: str, config: dict[str, Any]) -> subprocess.Popen[str]:
    """Run ``program`` in another process, with ``cache`` open there."""
    opened = "import json, sys\nfrom codomyrmex.cache import CacheManager\n"
    opened += "with CacheManager(json.loads(sys.argv[1])) as manager:\n    cache = manager.get_cache('app')\n"
    lines = "".join(f"    {line}\n" for line in program.splitlines())
    command = [sys.executable, "-W", "ignore", "-c", opened + lines, json.dumps(config)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_chosen_in_a_file(tmp_path: Path, path: Path) -> None:
    """A TOML file names the backend, and its path is an option."""
    file = tmp_path / "cache.toml"
    file.write_text(f'[caches.app]\nbackend = "sqlite"\npath = "{path}"\nserializer = "json"\n')
    with CacheManager(file, environ={}) as manager:
        cache = manager.get_cache("app")
        cache.set("key", 1)
        assert 1 == cache.get("key")
    assert path.exists()


def test_chosen_by_url(tmp_path: Path) -> None:
    """A URL names backend, path and options at once."""
    with CacheManager(environ={}) as manager:
        url = f"sqlite://{tmp_path}/of%20app.db?timeout=2s"
        assert manager.get_cache("app", backend=url, serializer="json").set("key", 1) is True
    assert (tmp_path / "of app.db").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "sqlite"}, "option 'path' is required"),
        ({"backend": "sqlite://cache.db"}, "three slashes"),
        ({"backend": "sqlite", "path": "cache.db", "timeuot": 1}, "Did you mean 'timeout'"),
    ],
)
def test_refused(settings: dict[str, Any], message: str) -> None:
    """A setting that can't be meant is an error when the cache is asked for."""
    manager = CacheManager({"caches": {"app": settings}}, environ={})
    with pytest.raises(CacheConfigError, match=message):
        manager.get_cache("app")


def test_another_process(config: dict[str, Any]) -> None:
    """What is stored is there in another process, and after closing, in a later one."""
    with CacheManager(config, environ={}) as manager:
        manager.get_cache("app").set("key", ["value"], ttl="1h")
        assert "['value']\n" == start("print(cache.get('key'))", config).communicate()[0]
    assert "['value']\n" == start("print(cache.get('key'))", config).communicate()[0]


def test_processes_that_create_the_file(config: dict[str, Any]) -> None:
    """Of processes that open a new file at the same moment, none fails and none loses a write."""
    program = "print('ready', flush=True)\ninput()\nfor _ in range(20): cache.incr('n')"
    config["caches"]["app"]["timeout"] = "30s"
    processes = [start(program, config) for _ in range(8)]
    assert ["ready\n"] * 8 == [process.stdout.readline() for process in processes if process.stdout]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [""] * 8 == [process.communicate(timeout=60)[0] for process in processes]
    with CacheManager(config, environ={}) as manager:
        assert 160 == manager.get_cache("app").get("n")


def test_fork(config: dict[str, Any]) -> None:
    """A child that was forked from an open cache writes what others see, also after its parent has closed."""
    program = """
import os
cache.set('key', 'parent')
reading, writing = os.pipe()
if os.fork():
    manager.close()
    os.write(writing, b'closed')
    os.wait()
else:
    os.read(reading, 6)
    cache.set('key', 'child')
    os._exit(0)
"""
    assert "" == start(program, config).communicate(timeout=60)[0]
    with CacheManager(config, environ={}) as manager:
        assert "child" == manager.get_cache("app").get("key")


def test_for_its_owner_only(path: Path, cache: Cache[Any]) -> None:
    """Nobody else may read the file, nor those that SQLite puts beside it."""
    cache.set("key", 1)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert {"cache.db": 0o600, "cache.db-shm": 0o600, "cache.db-wal": 0o600} == modes


def test_full(cache: Cache[Any]) -> None:
    """A value that finds no room is an error, and what was there for its key stays."""
    cache.set("key", "old")
    cache._driver._connection._database.execute("PRAGMA max_page_count = 20")
    with pytest.raises(CacheFullError) as caught:
        cache.set("key", "x" * 1_000_000)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert "old" == cache.get("key")


def test_locked(path: Path, cache: Cache[Any]) -> None:
    """A writer that holds on costs others the timeout and then an error; readers go on."""
    cache.set("key", 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(CacheConnectionError, match="locked"):
            cache.set("key", 2)
        assert 1 == cache.get("key")


def test_no_database(path: Path, cache: Cache[Any]) -> None:
    """A file that is something else, or can't be made, is an error of the cache's own, and stays as it is."""
    path.write_text("no database" * 100)
    with pytest.raises(CacheConnectionError, match="not a database"):
        cache.get("key")
    assert path.read_text() == "no database" * 100
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(CacheConnectionError, match="No such file"):
        cache.get("key")
    path.parent.mkdir()
    assert cache.get("key") is None


def test_finalizer(cache: Cache[Any]) -> None:
    """Who uses the cache from inside one of its calls, as a finalizer may, gets an error and breaks no transaction."""
    cache.set("key", 1)
    with cache._driver._connection.transaction("BEGIN IMMEDIATE") as database:
        database.execute("DELETE FROM entries")
        with pytest.raises(CacheConnectionError, match="in use by this thread"):
            cache.set("key", 2)
        assert database.in_transaction
    assert cache.get("key") is None


def test_expirations(cache: Cache[Any], clock: ManualClock) -> None:
    """Entries are counted, the cache's own records are not; what has no end stays."""
    cache.set_many({str(number): number for number in range(5)}, ttl=10)
    cache.set("endless", 1)
    cache.lock("job", ttl=10).__enter__()
    clock.advance(11)
    assert Purged(5, False) == cache._driver.purge(100)
    assert ["app:endless"] == list(cache._driver.scan("", None, 100).heads)
