"""What the asynchronous driver gathers in one turn of its loop, and that nobody pays for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from proxy import Proxy
from servers import LiveServer

from codomyrmex.cache import CacheConnectionError, CacheFullError, CacheManager


@pytest.fixture
def proxy(server: LiveServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def run(proxy: Proxy, settings: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., Any]]:
    """Runs a coroutine function with a connected cache behind the proxy."""
    with CacheManager(environ={}) as manager:

        def run(main: Callable[[Any], Coroutine[Any, Any, Any]], at: Any = proxy, **options: Any) -> Any:
            cache = manager.get_async_cache("app", **settings(at, **{"timeout": "10s", **options}))

            async def connected() -> Any:
                await cache.set_many({str(number): number for number in range(100)})
                proxy.count()
                try:
                    return await main(cache)
                finally:
                    await cache.close()

            return asyncio.run(connected())

        yield run


def names(proxy: Proxy) -> list[bytes]:
    return [command[0] for command in proxy.commands]


def test_one_turn_is_one_trip(run: Any, proxy: Proxy) -> None:
    """Gets of one turn are one MGET, sets one pipeline; one alone is a plain GET."""

    async def main(cache: Any) -> None:
        assert list(range(50)) == await asyncio.gather(*[cache.get(str(number)) for number in range(50)])
        assert [b"MGET"] == names(proxy)
        await asyncio.gather(*[cache.set(str(number), -number) for number in range(50)])
        assert [b"MGET", *[b"SET"] * 50] == names(proxy)
        assert 2 == proxy.trips
        assert -7 == await cache.get("7")
        assert names(proxy)[-1] == b"GET"

    run(main)


def test_batches_are_bounded(run: Any, proxy: Proxy) -> None:
    """A thousand tasks at once are served without an error, by MGETs that leave the server time for others."""

    async def main(cache: Any) -> None:
        found = await asyncio.gather(*[cache.get(str(number % 100)) for number in range(1000)])
        assert [number % 100 for number in range(1000)] == found
        assert [200] * 5 == [len(command) - 1 for command in proxy.commands]
        await asyncio.gather(*[cache.set(f"new:{number}", number) for number in range(1000)])
        await asyncio.gather(*[cache.incr(f"n:{number % 10}") for number in range(1000)])
        assert [100] * 10 == await asyncio.gather(*[cache.get(f"n:{number}") for number in range(10)])
        assert 1 == proxy.connections

    run(main)


def test_order_per_key(run: Any, proxy: Proxy) -> None:
    """What is asked for in one turn about one key happens in that order."""

    async def main(cache: Any) -> None:
        for _ in range(20):
            results = await asyncio.gather(
                cache.get("1"),
                cache.set("1", "a"),
                cache.get("1"),
                cache.set("1", "b"),
                cache.get("2"),
                cache.get("1"),
                cache.delete("1"),
                cache.get("1"),
                cache.set("1", 1),
                cache.get("1"),
            )
            assert [1, True, "a", True, 2, "b", True, None, True, 1] == results

    run(main)


def test_gets_overtake_writes_of_other_keys(run: Any, proxy: Proxy) -> None:
    """Reads and writes of different keys, mixed in one turn, are still one MGET among the SETs."""

    async def main(cache: Any) -> None:
        calls: list[Any] = []
        for number in range(20):
            calls += [cache.get(str(number)), cache.set(f"other:{number}", number)]
        await asyncio.gather(*calls)
        assert [b"MGET", *[b"SET"] * 20] == names(proxy)
        assert 1 == proxy.trips

    run(main)


def test_a_cancelled_caller(run: Any, proxy: Proxy) -> None:
    """A caller that is cancelled before or after sending costs the others nothing; before, nothing is sent for it."""

    async def main(cache: Any) -> None:
        tasks = [asyncio.ensure_future(cache.get(str(number))) for number in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found.pop(3), asyncio.CancelledError)
        assert [0, 1, 2, 4, 5, 6, 7, 8, 9] == found
        assert 9 == len(proxy.commands[0]) - 1
        proxy.delay = 0.05
        tasks = [asyncio.ensure_future(cache.get(str(number))) for number in range(10)]
        await asyncio.sleep(0.01)
        tasks[4].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found.pop(4), asyncio.CancelledError)
        assert [0, 1, 2, 3, 5, 6, 7, 8, 9] == found
        assert 1 == proxy.connections

    run(main)


def test_a_value_too_large(run: Any, server: LiveServer) -> None:
    """The server closes the connection over a value that it refuses, and only who stored that gets an error."""

    async def main(cache: Any) -> None:
        with server.client() as client:
            client.config_set("proto-max-bulk-len", "1mb")
        for size in [2_000_000] * 5 + [20_000_000] * 2:
            calls = [cache.set("big" if number == 5 else str(number), "x" * (size if number == 5 else 1))
                     for number in range(10)]  # fmt: skip
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(found.pop(5), CacheFullError)
            assert [True] * 9 == found

    run(main, server)


def test_a_key_that_is_not_allowed(run: Any, proxy: Proxy, server: LiveServer) -> None:
    """The server refuses the whole MGET over one key, and only who asked for that gets an error."""

    async def main(cache: Any) -> None:
        with server.client() as client:
            client.acl_setuser("default", enabled=True, nopass=True, reset_keys=True, keys=["*app:[0-4]"])
        found = await asyncio.gather(*[cache.get(str(number)) for number in range(10)], return_exceptions=True)
        assert [0, 1, 2, 3, 4] == found[:5]
        assert [CacheConnectionError] * 5 == [type(error) for error in found[5:]]
        assert [str(number) for number in range(5, 10)] == [error.key for error in found[5:]]
        assert [b"MGET", *[b"GET"] * 10] == names(proxy)
        assert 2 == proxy.trips

    run(main)


def test_a_lost_connection(run: Any, proxy: Proxy) -> None:
    """All that wait when a server is lost get an error of their own; when it only closed the connection, a reply."""

    async def main(cache: Any) -> None:
        proxy.delay = 0.05
        tasks = [asyncio.ensure_future(cache.get(str(number))) for number in range(20)]
        tasks += [asyncio.ensure_future(cache.incr(f"n:{number}")) for number in range(5)]
        await asyncio.sleep(0.02)
        await asyncio.to_thread(proxy.drop)
        assert [*range(20), *[1] * 5] == await asyncio.gather(*tasks)
        proxy.delay = 0
        proxy.reset = True
        errors = await asyncio.gather(*[cache.get(str(number)) for number in range(20)], return_exceptions=True)
        assert 20 == len({id(error) for error in errors})
        assert {CacheConnectionError} == {type(error) for error in errors}
        assert [str(number) for number in range(20)] == [error.key for error in errors]
        proxy.reset = False
        assert 5 == await cache.get("5")

    run(main)


def test_late_replies(run: Any, proxy: Proxy) -> None:
    """All that wait for a server that hangs fail within the deadline, and later calls work."""

    async def main(cache: Any) -> None:
        proxy.delay = 100
        loop = asyncio.get_running_loop()
        start = loop.time()
        errors = await asyncio.gather(*[cache.get(str(number)) for number in range(20)], return_exceptions=True)
        assert loop.time() - start < 0.6
        assert {CacheConnectionError} == {type(error) for error in errors}
        proxy.delay = 0
        assert 5 == await cache.get("5")

    run(main, timeout=0.2)
