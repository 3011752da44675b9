"""`AsyncRedisBackend`: the asynchronous driver."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import TypeVar
from weakref import WeakSet

from codomyrmex.cache.backend import AsyncBackend, Clock, Field, Finding, ScanPage, Version

from ._async_link import AsyncLink
from ._backend import CAPABILITIES
from ._clock import ServerClock
from ._inspect import inspect
from ._operations import Operations, Trips, pack
from ._options import Server
from ._waiting import Waiting

T = TypeVar("T")

_backends: WeakSet[AsyncRedisBackend] = WeakSet()
_parents: list[object] = []


class AsyncRedisBackend(AsyncBackend[bytes]):
    """The twin of `RedisBackend`; every event loop has a connection of its own, which gathers what a turn asks for.

    Args:
        server: Where to connect.
        prefix: Stands before every key.
        clock: What the server's clock shows.
        now: A clock in its place, for tests.
    """

    capabilities = CAPABILITIES

    def __init__(self, server: Server, prefix: str, clock: ServerClock, now: Clock | None = None) -> None:
        self.now = now or clock
        self._server = server
        self._clock = clock
        self._operations = Operations(prefix, self.now, server)
        self._closed = False
        self._links: dict[asyncio.AbstractEventLoop, AsyncLink] = {}
        _backends.add(self)

    async def open(self) -> None:
        """Connect and measure."""
        if not self._clock.known:
            await self.ping()

    async def get(self, key: str) -> bytes | None:
        """GET, or part of an MGET."""
        return await self._link().get(key)

    async def put(self, key: str, record: bytes) -> None:
        """SET."""
        self._operations.done((await self._link().write(key, self._operations.put(key, record)))[0])

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `RedisBackend.get_many`."""
        return await self._run(self._operations.get_many(keys))

    async def put_many(self, records: Mapping[str, bytes]) -> None:
        """See `RedisBackend.put_many`."""
        await self._run(self._operations.put_many(records))

    async def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `RedisBackend.remove_many`."""
        return await self._run(self._operations.remove_many(keys))

    async def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool = False
    ) -> bool:
        """See `RedisBackend.swap`."""
        return await self._run(self._operations.swap(key, field, expected, new, header_only))

    async def get_tagged(self, keys: Sequence[str], marker: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """See `RedisBackend.get_tagged`."""
        return await self._run(self._operations.get_tagged(keys, marker))

    async def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        """See `RedisBackend.scan`."""
        return await self._run(self._operations.scan(prefix, cursor, limit))

    async def clear(self, prefix: str) -> int:
        """See `RedisBackend.clear`."""
        return await self._run(self._operations.clear(prefix))

    async def wait(self, key: str, lease: bytes, timeout: float) -> None:
        """See `RedisBackend.wait`."""
        await self._link().wait(Waiting(self._operations, key, lease, timeout))

    async def inspect(self) -> list[Finding]:
        """See `RedisBackend.inspect`."""
        return await self._run(inspect(self._operations, self._server, self._clock))

    async def ping(self) -> None:
        """See `RedisBackend.ping`."""
        self._operations.done((await self._link().ask(pack(("PING",))))[0])

    async def close(self) -> None:
        """Close the connections of all event loops."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, link in list(self._links.items()):
            if loop is here:
                link.close()
                await asyncio.sleep(0)  # in which the transport closes its socket
            else:
                with contextlib.suppress(RuntimeError):  # that loop is closed, and its connections with it
                    loop.call_soon_threadsafe(link.close)

    async def _run(self, trips: Trips[T]) -> T:
        return await self._link().run(trips)

    def _link(self) -> AsyncLink:
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            link = AsyncLink(self._server, self._clock, self._operations, loop)
            if self._closed:
                link.close()
            self._links = {one: other for one, other in self._links.items() if not one.is_closed()} | {loop: link}
        return link


def _after_fork() -> None:
    # The parent goes on with its connections, and the child shares its loops' selectors: nothing may touch them, not
    # even a finalizer.
    for backend in list(_backends):
        _parents.append(backend._links)
        backend._links = {}


os.register_at_fork(after_in_child=_after_fork)
