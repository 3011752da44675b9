"""Whose keys are whose, on a server that others use as well; numbers; times."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from servers import LiveServer

from codomyrmex.cache import CacheManager

Open = Callable[..., Any]
GLOB = "we*ird?[a-z]\\^-:"


@pytest.fixture
def crowded(server: LiveServer) -> LiveServer:
    """A database with keys of others."""
    with server.client() as client:
        client.execute_command("DEBUG", "POPULATE", 100_000, "foreign", 20)
    return server


def clears_its_own(server: LiveServer, open_cache: Open, foreign: int) -> float:
    """Check that clear removes one cache's keys among ``foreign`` ones; its seconds."""
    mine, other = open_cache(server, "mine", prefix="p:"), open_cache(server, "mine.too", prefix="p:")
    mine.set_many({f"key:{number}": number for number in range(1000)}, tags=["tag"])
    other.set_many({f"key:{number}": number for number in range(500)}, tags=["tag"])
    with mine.lock("held", "1m"), server.client() as client:
        before = client.dbsize()
        start = time.perf_counter()
        mine.clear()
        seconds = time.perf_counter() - start
        assert before - 1000 == client.dbsize()
        assert mine.keys() == []
        assert 500 == len(other.keys())
        assert client.exists("foreign:7") == 1
        assert foreign == sum(1 for key in client.scan_iter(count=10_000) if key.startswith(b"foreign"))
    return seconds


def test_clear_among_foreign_keys(crowded: LiveServer, open_cache: Open) -> None:
    """`clear` removes this cache's entries and nobody else's; locks and markers stay."""
    clears_its_own(crowded, open_cache, 100_000)


@pytest.mark.slow
def test_clear_among_a_million_foreign_keys(
    server: LiveServer, open_cache: Open, record_property: Callable[[str, object], None]
) -> None:
    """The same among a million."""
    with server.client() as client:
        client.execute_command("DEBUG", "POPULATE", 1_000_000, "foreign", 20)
    record_property("seconds", clears_its_own(server, open_cache, 1_000_000))


def test_prefixes_are_no_patterns(shared_server: LiveServer, open_cache: Open) -> None:
    """A prefix may hold what is special to SCAN, and reaches no other."""
    strange, plain = open_cache(shared_server, prefix=GLOB), open_cache(shared_server, prefix="weXird1a\\^-:")
    strange.set_many({"a": 1, "b*": 2})
    plain.set_many({"a": 1, "b*": 2})
    assert sorted(strange.keys()) == ["a", "b*"]
    assert strange.keys("b*") == ["b*"]
    strange.clear()
    assert strange.keys() == []
    assert sorted(plain.keys()) == ["a", "b*"]


def test_prefixes_keep_apart(shared_server: LiveServer, open_cache: Open) -> None:
    """Caches of one name with different prefixes or databases see nothing of each other; with the same ones they do."""
    one, two = open_cache(shared_server, prefix="one:"), open_cache(shared_server, prefix="two:")
    database, again = open_cache(shared_server, prefix="one:", db=None), open_cache(shared_server, prefix="one:")
    one.set("key", 1)
    assert two.get("key") is None
    assert database.get("key") == again.get("key") == 1
    one.clear()


@pytest.mark.parametrize("db", [1, "1"])
def test_databases(server: LiveServer, db: Any) -> None:
    """The number of the database, beside the URL or in it."""
    bare = f"redis://127.0.0.1:{server.port}"
    with CacheManager(environ={}) as manager:
        one = manager.get_cache("app", backend="redis", url=bare, db=db, serializer="json")
        one.set("key", 1)
    with CacheManager(environ={}) as manager:
        assert 1 == manager.get_cache("app", backend=f"{bare}/1", serializer="json").get("key")
    with CacheManager(environ={}) as manager:
        assert 1 == manager.get_cache("app", backend=f"{bare}?db=1", serializer="json").get("key")
    with CacheManager(environ={}) as manager:
        url = f"unix://{server.socket}?db=1"
        assert 1 == manager.get_cache("app", backend="redis", url=url, serializer="json").get("key")
    with CacheManager(environ={}) as manager:
        assert manager.get_cache("app", backend=bare, serializer="json").get("key") is None


def test_unix_socket(shared_server: LiveServer, open_cache: Open) -> None:
    """A Unix socket serves like a port."""

    class At:
        url = f"unix://{shared_server.socket}"

    cache = open_cache(At)
    assert cache.incr("n", 5) == 5
    assert cache.get("n") == 5


def test_numbers_of_any_size(shared_server: LiveServer, open_cache: Open) -> None:
    """Integers are exact beyond 2^53, and beyond what a server can count."""
    cache = open_cache(shared_server)
    for start in (2**53 - 1, 2**63 - 1, 10**30, -(2**70)):
        cache.set("n", start)
        assert [cache.incr("n") for _ in range(3)] == [start + 1, start + 2, start + 3]
        assert cache.decr("n", 10**25) == start + 3 - 10**25


def test_increments_of_processes(shared_server: LiveServer, settings: Callable[..., dict[str, Any]]) -> None:
    """Four processes that add one 500 times each, two of them asynchronously, have added 2,000."""
    program = (
        "import asyncio, json, sys\n"
        "from codomyrmex.cache import CacheManager\n"
        "async def main(cache):\n"
        "    await asyncio.gather(*[cache.incr('n') for _ in range(500)])\n"
        "    await cache.close()\n"
        "with CacheManager(json.loads(sys.argv[1])) as manager:\n"
        "    if sys.argv[2] == 'async':\n"
        "        asyncio.run(main(manager.get_async_cache('app')))\n"
        "    else:\n"
        "        for _ in range(500): manager.get_cache('app').incr('n')\n"
    )
    config = {"caches": {"app": settings(shared_server, timeout="20s")}}
    workers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", program, json.dumps(config), kind])
        for kind in ("sync", "async", "sync", "async")
    ]
    assert [0] * 4 == [worker.wait(60) for worker in workers]
    with CacheManager(config) as manager:
        assert 2000 == manager.get_cache("app").get("n")


def test_the_server_removes_what_is_over(shared_server: LiveServer, open_cache: Open) -> None:
    """Every record has an expiry on the server a second after its last moment; a touch moves it, none takes it away."""
    cache = open_cache(shared_server, prefix="test-px:")
    cache.clear()

    def left() -> float:
        with shared_server.client() as client:
            return client.pttl("test-px:app:key") / 1000

    cache.set("key", 1, ttl=100)
    assert 100 < left() <= 101
    cache.set("key", 1, ttl=100, stale_for=50)
    assert 150 < left() <= 151
    cache.touch("key", 1000)
    assert 1050 < left() <= 1051
    cache.touch("key", math.inf)
    assert left() < 0
    cache.touch("key", 10)
    assert 10 < left() <= 11
    cache.set("key", 1)
    assert left() < 0
    cache.incr("key")
    assert left() < 0
    cache.delete("key")
    cache.incr("key", ttl=10)
    cache.incr("key", ttl=100)
    assert 10 < left() <= 11
    cache.set("key", 1, ttl=10**9 * 5)
    assert left() < 0
    assert cache.get("key") == 2 or cache.get("key") == 1


def test_two_machines_with_different_clocks(shared_server: LiveServer, settings: Callable[..., dict[str, Any]]) -> None:
    """A machine whose clock is an hour off writes and reads the same lifetimes as others, from the first call on."""
    program = (
        "import json, sys, time\n"
        "real = time.time\n"
        "time.time = lambda: real() - float(sys.argv[2])\n"
        "from codomyrmex.cache import CacheManager\n"
        "with CacheManager(json.loads(sys.argv[1])) as manager:\n"
        "    cache = manager.get_cache('app')\n"
        "    cache.set('key' + sys.argv[2], 1, ttl=100)\n"
        "    print(cache.ttl('key'))\n"
    )
    config = {"caches": {"app": settings(shared_server)}}
    with CacheManager(config) as manager:
        cache = manager.get_cache("app")
        cache.set("key", 1, ttl=50)
        for shift in ("3600", "-3600"):
            command = [sys.executable, "-c", program, json.dumps(config), shift]
            left = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            assert 40 < left <= 50.1
            found = cache.ttl("key" + shift)
            assert found is not None
            assert 90 < found <= 100.1
