"""`RedisBackend`: the synchronous driver."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar
from weakref import WeakSet

from codomyrmex.cache.backend import Backend, Capabilities, Clock, Field, Finding, ScanPage, Version

from ._clock import ServerClock
from ._inspect import inspect
from ._link import Link
from ._operations import Operations, Trips, pack
from ._options import Server
from ._waiting import Waiting

CAPABILITIES: Final = Capabilities(
    shared=True, persistent=True, native_expiry=True, one_trip_tags=True, waits=True, blocking="always", clock="server"
)
T = TypeVar("T")

_SPARE: Final = 256
"""Most connections of threads that have ended to be kept for new ones."""
_backends: WeakSet[RedisBackend] = WeakSet()


class RedisBackend(Backend[bytes]):
    """Records as strings on a server; every thread has a connection of its own, and leaves it to the next one.

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
        self._prefix = prefix
        self._operations = Operations(prefix, self.now, server)
        self._closed = False
        self._forget()
        _backends.add(self)

    def open(self) -> None:
        """Connect and measure."""
        self._link().open()

    def get(self, key: str) -> bytes | None:
        """GET."""
        reply = self._link().ask(pack(("GET", self._prefix + key)))[0]
        return reply if reply is None or reply.__class__ is bytes else self._operations.value(reply)

    def put(self, key: str, record: bytes) -> None:
        """SET."""
        self._operations.done(self._link().ask(self._operations.put(key, record))[0])

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """MGET."""
        return self._run(self._operations.get_many(keys))

    def put_many(self, records: Mapping[str, bytes]) -> None:
        """A pipeline of SET; one that fails keeps none of the others from being stored."""
        self._run(self._operations.put_many(records))

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """A pipeline of scripts."""
        return self._run(self._operations.remove_many(keys))

    def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool = False
    ) -> bool:
        """SET NX, or a script; a repetition is settled by reading back."""
        return self._run(self._operations.swap(key, field, expected, new, header_only))

    def get_tagged(self, keys: Sequence[str], marker: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """A script."""
        return self._run(self._operations.get_tagged(keys, marker))

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        """SCAN, then the heads."""
        return self._run(self._operations.scan(prefix, cursor, limit))

    def clear(self, prefix: str) -> int:
        """SCAN and UNLINK."""
        return self._run(self._operations.clear(prefix))

    def wait(self, key: str, lease: bytes, timeout: float) -> None:
        """On a hint of the server, or at a look now and then; whether the leader lives nobody knows."""
        self._link().wait(Waiting(self._operations, key, lease, timeout))

    def inspect(self) -> list[Finding]:
        """Version, role, eviction, persistence and distance of the server."""
        return self._run(inspect(self._operations, self._server, self._clock))

    def ping(self) -> None:
        """PING."""
        self._operations.done(self._link().ask(pack(("PING",)))[0])

    def close(self) -> None:
        """Close the connections of all threads."""
        self._closed = True
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()

    def _run(self, trips: Trips[T]) -> T:
        return self._link().run(trips)

    def _link(self) -> Link:
        held: _Held | None = getattr(self._local, "held", None)
        # A signal's handler, or a finalizer, may come here in the middle of a trip of this very thread.
        if held is None or held.link.busy:
            try:
                link = self._spare.pop()
            except IndexError:
                link = Link(self._server, self._clock)
                with self._lock:
                    self._links.add(link)
            if self._closed:
                link.close()
            self._local.held = held = _Held(link, self._spare)
        return held.link

    def _forget(self) -> None:
        self._local = threading.local()
        self._spare: deque[Link] = deque(maxlen=_SPARE)
        self._links: WeakSet[Link] = WeakSet()
        self._lock = threading.Lock()


class _Held:
    """The link of a thread. When the thread has ended it is kept for the next one, unless it was left behind in a trip.

    Args:
        link: The link.
        spare: Where it goes.
    """

    __slots__ = ("link", "spare")

    def __init__(self, link: Link, spare: deque[Link]) -> None:
        self.link = link
        self.spare = spare

    def __del__(self) -> None:
        if self.link.idle:
            self.spare.append(self.link)


def _after_fork() -> None:
    # The parent goes on with its connections: the child must neither use nor shut them down, and a lock may have been
    # held by a thread that isn't here.
    for backend in list(_backends):
        backend._forget()


os.register_at_fork(after_in_child=_after_fork)
