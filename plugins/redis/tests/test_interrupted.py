"""Callers that are interrupted, cancelled, forked or move to another loop: rows 1, 2 and 31."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from proxy import Proxy
from servers import LiveServer

from codomyrmex.cache import CacheConnectionError, CacheManager
from codomyrmex_cache_redis import _backend

Settings = Callable[..., dict[str, Any]]


class Alarm(Exception):
    """Raised by the handler of SIGALRM."""


@pytest.fixture
def alarms() -> Iterator[None]:
    """SIGALRM raises wherever the program is."""

    def ring(*_: Any) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def manager() -> Iterator[CacheManager]:
    with CacheManager(environ={}) as manager:
        yield manager


def test_storm_of_cancellations(shared_server: LiveServer, settings: Settings, manager: CacheManager) -> None:
    """Row 1: whoever is cancelled in the middle of a reply leaves nothing for the next; nobody gets another's value."""
    generator = random.Random(7)

    async def main(port: Proxy) -> tuple[int, int]:
        cache = manager.get_async_cache("app", **settings(port, timeout="10s"))
        await cache.set_many({str(number): number for number in range(100)})
        port.delay = 0.003
        right = cancelled = 0

        async def one(number: int) -> None:
            nonlocal right, cancelled
            key = str(number % 100)
            calls: dict[str, Callable[[], Any]] = {
                "get": lambda: cache.get(key),
                "get_many": lambda: cache.get_many([key]),
                "incr": lambda: cache.incr("n"),
                "set": lambda: cache.set("x" + key, number),
            }
            allowed: dict[str, list[Any]] = {"get": [number % 100], "get_many": [{key: number % 100}], "set": [True]}
            kind = generator.choice([*calls])
            try:
                found = await asyncio.wait_for(calls[kind](), generator.random() * 0.01)
            except TimeoutError:
                cancelled += 1
            else:
                right += 1
                assert type(found) is int if kind == "incr" else found in allowed[kind]

        for _ in range(40):
            await asyncio.gather(*[one(generator.randrange(1000)) for _ in range(25)])
        port.delay = 0
        assert await cache.get_many([str(number) for number in range(100)]) == {
            str(number): number for number in range(100)
        }
        for number in range(100):
            assert await cache.get(str(number)) == number
        await cache.close()
        return right, cancelled

    with Proxy(shared_server.port) as proxy:
        right, cancelled = asyncio.run(main(proxy))
    assert right > 50
    assert cancelled > 50


# A socket that redis-py is about to connect when the handler raises is closed by its finalizer, which warns.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_storm_of_alarms(shared_server: LiveServer, settings: Settings, manager: CacheManager, alarms: None) -> None:
    """Row 2: a handler that raises in the middle of a reply leaves nothing for the next call."""
    with Proxy(shared_server.port) as proxy:
        cache = manager.get_cache("app", **settings(proxy, timeout="10s"))
        cache.set_many({str(number): number for number in range(100)})
        proxy.delay = 0.002
        interrupted = 0
        for step in range(200):
            number = step % 100
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + (step % 10) * 0.0005)
            try:
                found = cache.get(str(number)) if step % 2 else cache.get_many([str(number)]).get(str(number))
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert number == found
            except Alarm:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        assert interrupted > 20
        proxy.delay = 0
        for number in range(100):
            assert number == cache.get(str(number))


def test_handler_that_uses_the_cache(shared_server: LiveServer, settings: Settings, manager: CacheManager) -> None:
    """A signal's handler may use the cache in the middle of a call of the same thread: each gets its own reply."""
    with Proxy(shared_server.port) as proxy:
        cache = manager.get_cache("app", **settings(proxy, timeout="10s"))
        cache.set_many({"outer": "outer", "inner": "inner"})
        proxy.delay = 0.1
        seen: list[Any] = []
        before = signal.signal(signal.SIGALRM, lambda *_: seen.append(cache.get("inner")))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            assert cache.get("outer") == "outer"
        finally:
            signal.signal(signal.SIGALRM, before)
        assert seen == ["inner"]
        assert cache.get("outer") == "outer"


def test_two_event_loops(shared_server: LiveServer, settings: Settings, manager: CacheManager) -> None:
    """Row 31: two asyncio.run in a row with one cache, and several at once in threads, work and leave nothing open."""
    cache = manager.get_async_cache("app", **settings(shared_server))

    async def main(number: int) -> int:
        await asyncio.gather(*[cache.set(f"{number}:{key}", key) for key in range(20)])
        found = await asyncio.gather(*[cache.get(f"{number}:{key}") for key in range(20)])
        assert list(range(20)) == found
        return number

    assert [0, 1, 2] == [asyncio.run(main(number)) for number in range(3)]
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(asyncio.run(main(5)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [5] * 4 == results
    gc.collect()  # a transport that nobody closed would warn here


def test_a_loop_that_was_cancelled(shared_server: LiveServer, settings: Settings, manager: CacheManager) -> None:
    """A loop that ends while calls are on their way leaves the cache usable in the next one."""
    with Proxy(shared_server.port) as proxy:
        cache = manager.get_async_cache("app", **settings(proxy))

        async def stuck() -> None:
            await cache.set("key", 1)
            proxy.delay = 5
            task = asyncio.ensure_future(cache.get("key"))
            await asyncio.sleep(0.05)
            assert not task.done()

        asyncio.run(stuck())
        proxy.delay = 0

        async def later() -> Any:
            return await cache.get("key")

        assert asyncio.run(later()) == 1


def test_fork(shared_server: LiveServer, settings: Settings, manager: CacheManager) -> None:
    """A child has connections of its own: both go on, and each gets its own replies."""
    cache = manager.get_cache("app", **settings(shared_server))
    view = manager.get_async_cache("app")
    cache.set("key", "parent")
    assert asyncio.run(view.get("key")) == "parent"
    in_threads(2, lambda: cache.get("key"))  # their connections are there for the next ones
    found: list[bool] = []
    child = os.fork()
    if not child:
        try:
            ok = cache.get("key") == "parent" and asyncio.run(view.get("key")) == "parent"
            for number in range(200):
                cache.set("child", number)
                in_threads(1, lambda number=number: found.append(cache.get("child") == number))  # type: ignore[misc]
            ok = ok and found == [True] * 200
        finally:
            os._exit(0 if ok else 1)
    for number in range(200):
        cache.set("parent", number)
        in_threads(1, lambda number=number: found.append(cache.get("parent") == number))  # type: ignore[misc]
    assert found == [True] * 200
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert asyncio.run(view.get("child")) == 199


def settled(client: Any, count: int) -> int:
    """How many connections the server has, once it is that many, or after a while."""
    gc.collect()
    deadline = time.monotonic() + 5
    while (there := int(client.info("clients")["connected_clients"])) != count and time.monotonic() < deadline:
        time.sleep(0.01)
    return there


def in_threads(count: int, call: Callable[[], Any]) -> None:
    """Call it in so many threads at once."""
    barrier = threading.Barrier(count)

    def one() -> None:
        barrier.wait()
        call()
        barrier.wait()

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_leave_their_connections(shared_server: LiveServer, settings: Settings, manager: CacheManager) -> None:
    """A thread that ends leaves its connection to the next one; a program that starts one per request makes one."""
    with shared_server.client() as client:
        cache = manager.get_cache("app", **settings(shared_server))
        cache.set("key", 1)
        before = client.info("clients")["connected_clients"]
        made = client.info("stats")["total_connections_received"]
        for _ in range(20):
            in_threads(1, lambda: cache.get("key"))
        assert settled(client, before + 1) == before + 1
        assert client.info("stats")["total_connections_received"] == made + 1
        in_threads(5, lambda: cache.get("key"))
        assert settled(client, before + 5) == before + 5
        cache.close()
        assert settled(client, before - 1) == before - 1


def test_connections_to_spare(
    shared_server: LiveServer, settings: Settings, manager: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is an end to what is kept, and a connection that was closed meanwhile is made anew."""
    monkeypatch.setattr(_backend, "_SPARE", 3)
    with shared_server.client() as client:
        cache = manager.get_cache("app", **settings(shared_server))
        cache.set("key", 1)
        before = client.info("clients")["connected_clients"]
        in_threads(8, lambda: cache.get("key"))
        assert settled(client, before + 3) == before + 3
        for one in client.client_list(_type="normal"):
            if one["id"] != str(client.client_id()):
                client.client_kill_filter(_id=one["id"])
        found: list[Any] = []
        in_threads(5, lambda: found.append((cache.incr("n"), cache.get("key"))))
        assert sorted(found) == [(number, 1) for number in range(1, 6)]


def test_a_connection_in_use_is_no_spare_one(
    shared_server: LiveServer, settings: Settings, manager: CacheManager
) -> None:
    """A thread that gave up in the middle of a call leaves nothing: its reply may still come."""
    with Proxy(shared_server.port) as proxy:
        cache = manager.get_cache("app", **settings(proxy, timeout=0.1, on_error="degrade"))
        for number in range(3):
            cache.set(f"key {number}", number)
        driver: Any = cache._driver
        proxy.delay = 0.3
        in_threads(4, lambda: cache.get("key 0"))
        assert not driver._spare
        proxy.delay = 0
        found: list[Any] = []
        for number in range(3):
            in_threads(2, lambda number=number: found.append(cache.get(f"key {number}")))  # type: ignore[misc]
        assert found == [0, 0, 1, 1, 2, 2]
        assert 0 < len(driver._spare) <= 2


def test_a_closed_driver(shared_server: LiveServer, settings: Settings, manager: CacheManager) -> None:
    """After close no thread and no loop makes a connection any more."""
    cache = manager.get_cache("app", **settings(shared_server))
    view = manager.get_async_cache("app")
    cache.set("key", 1)
    asyncio.run(view.get("key"))
    driver, other = cache._driver, view._driver
    cache.close()
    with pytest.raises(CacheConnectionError, match="closed"):
        driver.get("key")
    with pytest.raises(CacheConnectionError, match="closed"):
        asyncio.run(other.get("key"))
    driver.close()
