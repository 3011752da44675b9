"""Waiting for somebody else's lease: the hint that ends it, and the look behind the hint."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from proxy import Proxy
from servers import LiveServer

from codomyrmex.cache import CacheConnectionError, CacheManager
from codomyrmex.cache.backend import Field, Record

Open = Callable[..., Any]
LEASE = b"LEASE--1"
KEY = "app:key"
"""As the driver sees it."""
SOON = 0.15
"""Three times the 50 ms in which a waiter has to notice."""
LATER = 0.45
"""Three times the longest pause between two looks, and half of one more."""


@pytest.fixture
def cache(shared_server: LiveServer, settings: Callable[..., dict[str, Any]]) -> Iterator[Any]:
    """Plants leases and ends them; those who wait have caches of their own."""
    with CacheManager(environ={}) as manager:
        yield manager.get_cache("app", **settings(shared_server, timeout="10s"))


def raw(cache: Any, record: Record) -> bytes:
    encoded: bytes = cache._store.codec.raw(KEY, record)
    return encoded


def plant(cache: Any) -> None:
    """A load begins, which has no value yet."""
    record = Record(b"", b"VERSION1", fresh_until=0.0, lease=LEASE, lease_until=cache._driver.now() + 100, pending=True)
    assert cache._driver.swap(KEY, Field.VERSION, None, raw(cache, record))


def store(cache: Any) -> None:
    """It ends with a value, as its lease allows."""
    record = Record(b"value", b"VERSION2")
    assert cache._driver.swap(KEY, Field.LEASE, LEASE, raw(cache, record))


@contextmanager
def waiters(server: Any, cache: Any, view: str, count: int = 1, timeout: float = 5.0) -> Iterator[list[float]]:
    """So many who wait for the lease: threads, or tasks of one loop; what is yielded says when they went on."""
    ends: list[float] = []
    prefix = cache._driver._prefix
    ready = threading.Barrier(2)
    manager = CacheManager(environ={})
    options = {"backend": "redis", "url": server.url, "prefix": prefix, "serializer": "json", "timeout": "10s"}

    def wait(driver: Any) -> None:
        driver.wait(KEY, LEASE, timeout)
        ends.append(time.monotonic())

    async def all_tasks() -> None:
        waiting = manager.get_async_cache("app", **options)
        await waiting.ping()

        async def one() -> None:
            await waiting._driver.wait(KEY, LEASE, timeout)
            ends.append(time.monotonic())

        tasks = [asyncio.ensure_future(one()) for _ in range(count)]
        await asyncio.sleep(0.05)
        ready.wait(10)
        await asyncio.gather(*tasks)
        await waiting.close()

    if view == "async":
        threads = [threading.Thread(target=lambda: asyncio.run(all_tasks()))]
    else:
        driver = manager.get_cache("app", **options)._driver
        threads = [threading.Thread(target=wait, args=(driver,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    if view == "async":
        ready.wait(10)
    time.sleep(0.1)  # long enough for looks at the record to have become rare
    assert ends == []
    yield ends
    for thread in threads:
        thread.join(30)
    assert len(ends) == count
    manager.close()


HINTED: dict[str, Callable[[Any], Any]] = {
    "the leader stores": store,
    "delete": lambda cache: cache._driver.remove_many([KEY]),
    "add": lambda cache: cache._driver.swap(KEY, Field.VERSION, b"VERSION1", raw(cache, Record(b"", b"VERSION3"))),
    "the leader gives up": lambda cache: cache._driver.swap(KEY, Field.LEASE, LEASE, None),
}
UNHINTED: dict[str, Callable[[Any], Any]] = {
    "set": lambda cache: cache.set("key", 1),
    "clear": lambda cache: cache.clear(),
}


@pytest.mark.parametrize("how", [*HINTED])
def test_a_hint_ends_the_wait(shared_server: LiveServer, cache: Any, view: str, how: str) -> None:
    """Whoever waits is told when the lease goes, and doesn't have to look for it."""
    assert cache.capabilities.waits is True
    plant(cache)
    with Proxy(shared_server.port) as proxy, waiters(proxy, cache, view, 3) as ends:
        before = len(proxy.commands)
        HINTED[how](cache)
        ended = time.monotonic()
        while len(ends) < 3 and time.monotonic() < ended + 10:
            time.sleep(0.001)
        assert max(ends) - ended <= SOON
        looks = [command for command in proxy.commands[before:] if command[0] == b"GETRANGE"]
        assert len(looks) <= 6


@pytest.mark.parametrize("how", [*UNHINTED])
def test_a_look_ends_the_wait(shared_server: LiveServer, cache: Any, view: str, how: str) -> None:
    """Plain SET and UNLINK give no hint: the record is looked at."""
    plant(cache)
    with waiters(shared_server, cache, view) as ends:
        UNHINTED[how](cache)
        ended = time.monotonic()
    assert ends[0] - ended <= LATER


def test_a_lost_hint(server: LiveServer, settings: Callable[..., dict[str, Any]], view: str) -> None:
    """Connections that are closed while the lease goes: those who wait look again, on new ones."""
    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("app", **settings(server, timeout="10s"))
        plant(cache)
        with waiters(server, cache, view, 2) as ends:
            with server.client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
            store(cache)
            ended = time.monotonic()
        assert max(ends) - ended <= LATER


def test_who_may_not_subscribe(server: LiveServer, settings: Callable[..., dict[str, Any]], view: str) -> None:
    """A user without the right to publish or subscribe stores, and waits by looking."""
    with server.client() as client:
        client.acl_setuser(
            "default", enabled=True, nopass=True, keys=["*"], reset_channels=True, categories=["+@all", "-@pubsub"]
        )
    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("app", **settings(server, timeout="10s"))
        plant(cache)
        with waiters(server, cache, view, 2) as ends:
            store(cache)
            ended = time.monotonic()
        assert max(ends) - ended <= LATER
        cache.set("other", 1)
        assert cache.get("other") == 1


def test_a_wait_ends(cache: Any, shared_server: LiveServer, open_cache: Open, view: str) -> None:
    """A wait is no longer than it may be, and ends at once if there is nothing to wait for; the connection is right."""
    plant(cache)
    waiting = open_cache(shared_server, prefix=cache._driver._prefix, timeout="10s")
    wait, settle = waiting._driver.wait, waiting.set

    def call(key: str, lease: bytes, timeout: float) -> float:
        start = time.monotonic()
        if view == "async":
            from codomyrmex.cache.testing._views import wait_for

            wait_for(wait(key, lease, timeout))
        else:
            wait(key, lease, timeout)
        return time.monotonic() - start

    settle("before", 1)
    assert 0.05 <= call(KEY, LEASE, 0.05) <= 3 * 0.05 + SOON
    assert call(KEY, b"OTHER--1", 20.0) <= SOON
    assert call("missing", LEASE, 20.0) <= SOON
    for number in range(20):
        assert waiting.incr("n") == number + 1
        assert waiting.get("before") == 1
    with shared_server.client() as client:
        channels = client.pubsub_numsub(f"{cache._driver._prefix}{KEY}", f"{cache._driver._prefix}missing")
    assert [0, 0] == [count for _, count in channels]


def test_a_cancelled_wait(cache: Any, shared_server: LiveServer) -> None:
    """A task that is cancelled in its wait leaves no subscription, and the others go on waiting."""
    plant(cache)
    prefix = cache._driver._prefix

    async def main() -> None:
        with CacheManager(environ={}) as manager:
            waiting = manager.get_async_cache(
                "app", backend="redis", url=shared_server.url, prefix=prefix, serializer="json", timeout="10s"
            )
            tasks = [asyncio.ensure_future(waiting._driver.wait(KEY, LEASE, 20.0)) for _ in range(3)]
            await asyncio.sleep(0.05)
            tasks[0].cancel()
            await asyncio.sleep(0.05)
            assert [True, False, False] == [task.done() for task in tasks]
            assert 1 == await asyncio.to_thread(subscribers)
            await asyncio.to_thread(store, cache)
            await asyncio.gather(*tasks[1:])
            await waiting.ping()
            assert 0 == await asyncio.to_thread(subscribers)
            await waiting.close()

    def subscribers() -> int:
        with shared_server.client() as client:
            return int(client.pubsub_numsub(f"{prefix}{KEY}")[0][1])

    asyncio.run(main())


def test_a_dead_leader(cache: Any) -> None:
    """Nobody knows whether a leader on another machine lives: its lease's own time is what ends."""
    plant(cache)
    assert cache._driver.leader_alive(LEASE) is True


def test_a_server_that_dies(server: LiveServer, settings: Callable[..., dict[str, Any]]) -> None:
    """Who waits for a server that is gone gets the error of a read, and soon."""
    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("app", **settings(server))
        plant(cache)
        errors: list[Exception] = []

        def wait() -> None:
            try:
                cache._driver.wait(KEY, LEASE, 20.0)
            except CacheConnectionError as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        server.kill()
        thread.join(5)
        assert 1 == len(errors)
