"""`AsyncLink`: the connection of one event loop.

Callers queue units and wait for their futures; the first of a loop's turn schedules the flush that sends what the turn
has gathered. Replies come to the protocol's callbacks, first in, first out. So no caller's task owns the connection:
cancelling one leaves a reply that is read and dropped. redis-py connects and logs in, then its transport is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import Any, TypeVar

import hiredis
import redis.asyncio.connection as theirs
from redis.exceptions import RedisError

from codomyrmex.cache import CacheConnectionError

from ._clock import ServerClock
from ._errors import Lost, failure
from ._link import NOT_YET, closed, login, reader
from ._operations import Operations, Trips
from ._options import Server
from ._units import MOST_GETS, Gets, Makes, Measurement, Unit, too_much
from ._waiting import Waiting, answers

T = TypeVar("T")


class AsyncLink(asyncio.Protocol):
    """Gathers what is asked for in one turn of its event loop; connects when needed.

    Args:
        server: Where to connect.
        clock: Told what the server's clock shows.
        operations: Packs keys and reads values of gets.
        loop: The running event loop.
    """

    def __init__(
        self, server: Server, clock: ServerClock, operations: Operations, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.loop = loop
        self._server = server
        self._clock = clock
        self._operations = operations
        self._closed = False
        self._transport: asyncio.Transport | None = None
        self._held: Any = None
        self._reader = reader()
        self._fresh = True
        """Whether this connection has sent nothing."""
        self._proven = False
        """Whether it has brought a reply."""
        self._queue: list[Unit] = []
        self._sent: deque[Unit] = deque()
        self._scheduled = False
        self._gets: Gets | None = None
        """The gets that later ones of this turn may join."""
        self._written: set[str] = set()
        """Keys written since they began, whose gets must not join."""
        self._waiting: dict[bytes, set[asyncio.Event]] = {}
        """Who wants to know of hints, by channel."""
        self._channels: set[bytes] = set()
        """What has been subscribed to on this connection."""
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._keeper: AsyncGenerator[None, None] | None = None

    def get(self, key: str) -> asyncio.Future[bytes | None]:
        """A record."""
        gets = self._gets
        if gets is None or key in self._written or len(gets.keys) >= MOST_GETS:
            gets = self._gets = Gets(self._operations)
            self._written.clear()
            self._queue.append(gets)
            if not self._scheduled:
                self._scheduled = True
                self.loop.call_soon(self._flush)
        future: asyncio.Future[bytes | None] = self.loop.create_future()
        gets.keys.append(key)
        gets.futures.append(future)
        return future

    def write(self, key: str, data: bytes) -> asyncio.Future[list[Any]]:
        """The reply to a command that writes one key; gets of others may overtake it."""
        if self._gets is not None:
            self._written.add(key)
        return self._add(data, 1, True)

    def ask(self, data: bytes, count: int = 1, repeat: bool = True) -> asyncio.Future[list[Any]]:
        """The replies to one `Request`; see `Link.ask`."""
        self._gets = None
        return self._add(data, count, repeat)

    async def run(self, trips: Trips[T]) -> T:
        """Carry out an operation."""
        try:
            request = next(trips)
            while True:
                try:
                    replies = await self.ask(*request)
                except BaseException as error:
                    request = trips.throw(error)
                else:
                    request = trips.send(replies)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        except Lost as lost:
            raise lost.error from lost.error.__cause__

    async def wait(self, waiting: Waiting) -> None:
        """Return when a lease is gone, or its time is over."""
        channel, hint = waiting.channel, asyncio.Event()
        self._waiting.setdefault(channel, set()).add(hint)
        try:
            while True:
                hint.clear()
                listening = channel in self._channels
                self._channels.add(channel)  # from here on requests stand in the queue behind the one that subscribes
                if waiting.over(await self.ask(*waiting.look(listening))) or (pause := waiting.pause()) <= 0:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await hint.wait()
        finally:
            self._waiting[channel].discard(hint)
            if not self._waiting[channel]:
                del self._waiting[channel]
                if channel in self._channels:
                    self._channels.discard(channel)
                    # Nobody waits for the reply, and so nobody would ask for its error.
                    self.ask(waiting.leave).add_done_callback(lambda left: left.cancelled() or left.exception())

    def close(self) -> None:
        """Close the connection for good; in the loop's own thread."""
        self._closed = True
        self._fail_all(self._is_closed)
        if self._connecting is not None:
            self._connecting.cancel()
        self._drop()

    def _add(self, data: bytes, count: int, repeat: bool) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = self.loop.create_future()
        self._queue.append(Unit(data, count, repeat, future))
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        """Send what has been gathered, or connect first."""
        self._scheduled = False
        self._gets = None
        if self._void():
            self._drop()
        transport = self._transport
        if transport is None:
            if self._closed:
                self._fail_all(self._is_closed)
            elif self._queue and self._connecting is None:
                self._connecting = self.loop.create_task(self._connect())
            return
        units, self._queue = self._queue, []
        if self._fresh or time.monotonic() >= self._clock.due:
            units.insert(0, Measurement(self._clock, self._fresh))
            self._fresh = False
        deadline = self.loop.time() + self._server.timeout
        parts: list[bytes] = []
        for unit in units:
            data = unit.packed()
            if data:
                unit.deadline = deadline
                self._sent.append(unit)
                parts.append(data)
        transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
        if self._timer is None and self._sent:
            self._timer = self.loop.call_at(deadline, self._late)

    def _void(self) -> bool:
        """Whether what may not be repeated would go to a connection that is closed; the loop tells that only later."""
        transport = self._transport
        if transport is None or self._sent or self._fresh or all(unit.repeat for unit in self._queue):
            return False
        return closed(transport.get_extra_info("socket"))

    async def _connect(self) -> None:
        server = self._server
        kind: Any = theirs.SSLConnection if server.tls else theirs.Connection
        connection: Any = (theirs.UnixDomainSocketConnection if server.path else kind)(**login(server))
        try:
            async with asyncio.timeout(server.timeout):
                await connection.connect()
            if self._keeper is None:
                # Event loops finalize generators before they close: the one moment at which a connection can be closed
                # that nobody has closed.
                self._keeper = self._keep()
                await anext(self._keeper)
            self._take(connection)
        except (RedisError, OSError) as error:
            cause = error
            self._fail_all(lambda: failure(cause, server, server.timeout))
        except asyncio.CancelledError:
            self._fail_all(lambda: CacheConnectionError(f"the event loop ended before {server} was connected"))
            raise
        finally:
            self._connecting = None
            await connection.disconnect(nowait=True)
        if self._queue:
            self._flush()

    def _take(self, connection: Any) -> None:
        # redis-py's streams cost more than the trip. The writer is kept: some versions of Python close with it.
        self._held = writer = connection._writer
        connection._reader = connection._writer = None
        self._reader = reader()
        self._fresh, self._proven = True, False
        transport: asyncio.Transport = writer.transport
        transport.set_protocol(self)
        self._transport = transport

    async def _keep(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._drop()

    def data_received(self, data: bytes) -> None:
        """Replies; see `asyncio.Protocol`."""
        parser, sent = self._reader, self._sent
        try:
            parser.feed(data)
            reply = parser.gets()
            while reply is not NOT_YET:
                if reply.__class__ is hiredis.PushNotification and not answers(reply):
                    self._tell(self._waiting.get(reply[1], ()) if len(reply) == 3 else ())
                else:
                    if not sent:
                        raise hiredis.ProtocolError
                    unit = sent[0]
                    unit.replies.append(reply)
                    if len(unit.replies) == unit.count:
                        sent.popleft()
                        self._proven = True
                        for one in unit.finish():
                            self._queue.append(one)
                            self._schedule()
                reply = parser.gets()
        except hiredis.ProtocolError as error:
            self.connection_lost(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ask again what may be asked again; see `asyncio.Protocol`."""
        if self._transport is None:
            return
        cause = exc or ConnectionResetError("the server closed the connection")
        begun = self._reader.has_data() or not isinstance(cause, OSError)
        sent, self._sent = self._sent, deque()
        proven = self._proven
        self._drop()
        again: list[Unit] = []
        for unit in sent:
            if too_much(unit):
                unit.finish()
            elif begun or unit.replies or unit.again or not proven or self._closed:
                unit.fail(lambda: failure(cause, self._server, self._server.timeout))
            elif unit.repeat:
                unit.again = True
                again.append(unit)
            else:
                unit.fail(lambda: Lost(failure(cause, self._server, self._server.timeout)))
            begun = False
        if again:
            self._queue[:0] = again
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._flush)

    def _late(self) -> None:
        self._timer = None
        if not self._sent:
            return
        deadline = self._sent[0].deadline
        if deadline > self.loop.time():
            self._timer = self.loop.call_at(deadline, self._late)
            return
        self._drop()
        late, self._sent = self._sent, deque()
        for unit in late:
            unit.fail(lambda: failure(TimeoutError(), self._server, self._server.timeout))

    def _tell(self, waiting: Iterable[asyncio.Event]) -> None:
        for hint in waiting:
            hint.set()

    def _drop(self) -> None:
        # There will be no hint on it, and there may have been one.
        self._channels.clear()
        for waiting in self._waiting.values():
            self._tell(waiting)
        transport, self._transport = self._transport, None
        if transport is not None:
            # Its end is told later, when there may be another connection already.
            transport.set_protocol(asyncio.Protocol())
            transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_closed(self) -> Exception:
        return CacheConnectionError(f"the connections to {self._server} are closed")

    def _fail_all(self, make: Makes) -> None:
        for units in (self._sent, self._queue):
            for unit in list(units):
                unit.fail(make)
            units.clear()
