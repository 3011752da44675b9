"""Round trips per operation, counted on the wire."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from proxy import Proxy
from servers import LiveServer

KEYS = [str(number) for number in range(100)]
EXPECTED: list[tuple[str, Callable[[Any], Any], int]] = [
    ("get", lambda cache: cache.get("key"), 1),
    ("get of a missing key", lambda cache: cache.get("missing"), 1),
    ("set", lambda cache: cache.set("key", 1), 1),
    ("set with a ttl", lambda cache: cache.set("key", 1, 60), 1),
    ("tagged set", lambda cache: cache.set("tagged", 1, tags=["a", "b"]), 2),
    ("tagged get", lambda cache: cache.get("tagged"), 1),
    ("get of another key, since tags were met", lambda cache: cache.get("key"), 1),
    ("get of a missing key, since tags were met", lambda cache: cache.get("missing"), 1),
    ("set_many of 100", lambda cache: cache.set_many(dict.fromkeys(KEYS, 1)), 1),
    ("get_many of 100", lambda cache: cache.get_many(KEYS), 1),
    ("incr of a new key", lambda cache: cache.incr("n"), 2),
    ("incr", lambda cache: cache.incr("n"), 2),
    ("add", lambda cache: cache.add("new", 1), 1),
    ("add of a key that is there", lambda cache: cache.add("new", 1), 2),
    ("touch", lambda cache: cache.touch("key", 5), 2),
    ("pop", lambda cache: cache.pop("new"), 2),
    ("delete", lambda cache: cache.delete("key"), 1),
    ("delete of a missing key", lambda cache: cache.delete("key"), 1),
    ("delete_many of 100", lambda cache: cache.delete_many(KEYS), 1),
    ("invalidate_tags", lambda cache: cache.invalidate_tags("a"), 3),
]


@pytest.fixture
def warm(shared_server: LiveServer, open_cache: Callable[..., Any]) -> Any:
    """A cache behind a proxy, connected; scripts are known to the server, and the tags' markers are there."""
    with Proxy(shared_server.port) as proxy:
        cache = open_cache(proxy, timeout="10s")
        cache.set("other", 1, tags=["a", "b"])
        for _, call, _ in EXPECTED:
            call(cache)
        cache.set("other", 1, tags=["a", "b"])
        cache.clear()
        yield cache, proxy


def test_round_trips(warm: Any, record_property: Callable[[str, object], None]) -> None:
    """Every operation takes the number of trips that the documentation says."""
    cache, proxy = warm
    cache._store.tagged = False
    counted: dict[str, int] = {}
    for name, call, _ in EXPECTED:
        proxy.count()
        call(cache)
        counted[name] = proxy.trips
        record_property(name, proxy.trips)
    assert {name: trips for name, _, trips in EXPECTED} == counted


def test_round_trips_of_loads(shared_server: LiveServer, open_cache: Callable[..., Any]) -> None:
    """A load looks once, plants its lease and stores; who joins one of this process only looks."""
    with Proxy(shared_server.port) as proxy:
        cache = open_cache(proxy, timeout="10s")
        cache.get_or_set("warm", lambda: 1)  # from now on the script is known

        def trips(key: str, factory: Callable[[], Any]) -> int:
            proxy.count()
            cache.get_or_set(key, factory, ttl=60, stale_for=60)
            return proxy.trips

        counted = {"missing": trips("key", lambda: 1), "hit": trips("key", lambda: 1)}
        cache.expire("key")
        counted["stale"] = trips("key", lambda: 1)
        going, go = threading.Event(), threading.Event()

        def slow() -> int:
            going.set()
            assert go.wait(30)
            return 2

        def let_go() -> None:
            while not proxy.trips:
                time.sleep(0.001)
            time.sleep(0.1)  # a second look would come at once
            go.set()

        threads = [threading.Thread(target=cache.get_or_set, args=("slow", slow)), threading.Thread(target=let_go)]
        threads[0].start()
        assert going.wait(30)
        proxy.count()
        threads[1].start()
        counted["joined, and stored by the other one"] = trips("slow", slow)
        for thread in threads:
            thread.join()
    assert counted == {"missing": 3, "hit": 1, "stale": 3, "joined, and stored by the other one": 2}


def test_plain_commands_until_tags_are_met(warm: Any) -> None:
    """A cache without tags reads with GET and MGET, and asks one script for all from the first tag on."""
    cache, proxy = warm
    cache.set_many({"key": 1, "other": 2})
    cache._store.tagged = False
    proxy.count()
    cache.get("key")
    cache.get_many(["key", "other"])
    cache.set("tagged", 1, tags=["a"])
    cache.get("key")
    cache.get_many(["key", "tagged"])
    commands = [command[0] for command in proxy.commands]
    assert [b"GET", b"MGET", b"MGET", b"SET", b"EVALSHA", b"EVALSHA"] == commands


def test_a_reader_that_meets_a_tag(warm: Any, open_cache: Callable[..., Any]) -> None:
    """A process that only reads needs two trips for the first tagged record that it meets, and one from then on."""
    cache, proxy = warm
    cache.set("tagged", 1, tags=["a"])
    cache._store.tagged = False
    trips = []
    for _ in range(3):
        proxy.count()
        assert cache.get("tagged") == 1
        trips.append(proxy.trips)
    assert [2, 1, 1] == trips


def test_no_forbidden_command(warm: Any) -> None:
    """Nothing that stops a server or reaches beyond the prefix is ever sent."""
    cache, proxy = warm
    proxy.count()
    for _, call, _ in EXPECTED:
        call(cache)
    cache.keys()
    cache.delete_pattern("*")
    cache.clear()
    sent = {command[0] for command in proxy.commands}
    assert sent <= {b"GET", b"MGET", b"SET", b"EVALSHA", b"SCAN", b"UNLINK", b"TIME"}


def test_clear_sends_removals_with_the_next_scan(warm: Any) -> None:
    """Clearing takes one trip per page, and one at the end."""
    cache, proxy = warm
    cache.clear()
    cache.set_many({str(number): 1 for number in range(3000)})
    proxy.count()
    cache.clear()
    scans = [command for command in proxy.commands if command[0] == b"SCAN"]
    assert proxy.trips <= len(scans) + 1
    assert cache.keys() == []
