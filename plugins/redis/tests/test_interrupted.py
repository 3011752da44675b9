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
    child = os.fork()
    if not child:
        try:
            ok = cache.get("key") == "parent" and asyncio.run(view.get("key")) == "parent"
            for number in range(200):
                cache.set("child", number)
                ok = ok and cache.get("child") == number
        finally:
            os._exit(0 if ok else 1)
    for number in range(200):
        cache.set("parent", number)
        assert number == cache.get("parent")
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert asyncio.run(view.get("child")) == 199


def test_threads_leave_no_connections(shared_server: LiveServer, settings: Settings, manager: CacheManager) -> None:
    """A thread that ends takes its connection with it."""
    with shared_server.client() as client:
        cache = manager.get_cache("app", **settings(shared_server))
        cache.set("key", 1)
        before = client.info("clients")["connected_clients"]
        for _ in range(20):
            thread = threading.Thread(target=cache.get, args=("key",))
            thread.start()
            thread.join()
        gc.collect()
        deadline = time.monotonic() + 5
        while client.info("clients")["connected_clients"] > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert client.info("clients")["connected_clients"] == before


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
