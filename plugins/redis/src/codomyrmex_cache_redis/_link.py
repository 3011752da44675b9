"""`Link`: one connection of one thread.

redis-py connects and logs in; then its socket is ours, and hiredis reads what comes from it. Two things are guaranteed.
A trip takes no longer than the timeout, however slowly its replies drip. And whatever interrupts a trip, a signal's
handler that raises included, throws the socket away: the next trip can't meet the replies of the last one.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from time import monotonic
from typing import Any, Final, TypeVar

import hiredis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError
from redis.retry import Retry

from codomyrmex.cache import CacheConnectionError

from ._clock import ServerClock
from ._errors import Lost, ReplyError, failure
from ._operations import Trips, pack
from ._options import Server
from ._waiting import Waiting, answers

T = TypeVar("T")

_BUFFER: Final = 65_536
_IDLE: Final = 0.5
"""Seconds after which a connection is looked at before it is used: servers close idle ones, and are restarted."""
TIME: Final = pack(("TIME",))
NOT_YET: Final = object()


def login(server: Server) -> dict[str, Any]:
    """Arguments of redis-py's connection classes, synchronous and asynchronous."""
    arguments: dict[str, Any] = {
        "db": server.db,
        "username": server.username,
        "password": server.password,
        "socket_timeout": server.timeout,
        "socket_connect_timeout": server.timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 3,
        # Two trips for the server's list of clients.
        "driver_info": None,
    }
    if server.path:
        return arguments | {"path": server.path}
    if server.tls:
        names = "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"
        arguments |= dict(zip(names, server.tls_files, strict=True))
        arguments |= {"ssl_check_hostname": True, "ssl_cert_reqs": "required"}
    return arguments | {"host": server.host, "port": server.port}


def reader() -> hiredis.Reader:
    """A parser of replies that returns errors as `ReplyError` and `NOT_YET` in the middle of one."""
    return hiredis.Reader(replyError=ReplyError, notEnoughData=NOT_YET)


class _Packer:
    """What redis-py packs the commands of its login with, in place of hiredis; see `pack`."""

    def pack(self, *words: Any) -> list[bytes]:
        """One command."""
        return [pack(tuple(word if isinstance(word, (str, bytes)) else str(word) for word in words))]


class Link:
    """Asks the server and waits for its replies; connects when needed.

    Args:
        server: Where to connect.
        clock: Told what the server's clock shows.
    """

    def __init__(self, server: Server, clock: ServerClock) -> None:
        self.busy = False
        """In the middle of a trip: nobody else may begin one."""
        self._server = server
        self._clock = clock
        self._socket: socket.socket | None = None
        self._reader = reader()
        self._buffer = bytearray(_BUFFER)
        self._closed = False
        self._channel: bytes | None = None
        """What this connection has subscribed to."""
        self._last = 0.0
        """When a trip last began, on the monotonic clock."""

    @property
    def idle(self) -> bool:
        """Whether somebody else may have it: connected, nothing on its way, nothing subscribed to."""
        return self._socket is not None and self._channel is None and not self.busy

    def run(self, trips: Trips[T]) -> T:
        """Carry out an operation."""
        try:
            request = next(trips)
            while True:
                try:
                    replies = self.ask(*request)
                except BaseException as error:
                    request = trips.throw(error)
                else:
                    request = trips.send(replies)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        except Lost as lost:
            raise lost.error from lost.error.__cause__

    def ask(self, data: bytes, count: int = 1, repeat: bool = True) -> list[Any]:
        """The replies to one `Request`.

        Raises:
            CacheConnectionError: There is no connection, or it fails in the middle.
            Lost: It was dead, and the request may not be repeated.
        """
        try:
            return self.exchange(data, count, wary=not repeat)
        except Lost:
            if not repeat:
                raise
            return self.exchange(data, count)

    def open(self) -> None:
        """Connect and measure the server's clock, if nobody has."""
        if not self._clock.known:
            self.exchange(b"", 0)

    def exchange(self, data: bytes, count: int, *, wary: bool = False) -> list[Any]:
        """Send ``data`` and read ``count`` replies; see `ask`.

        Args:
            data: Packed commands.
            count: How many.
            wary: Whether to look first if the server has closed the connection: what may not be repeated is then
                never sent into the void.
        """
        started = monotonic()
        connected = self._socket
        fresh = connected is None or ((wary or started - self._last > _IDLE) and closed(connected))
        if connected is None or fresh:
            connected = self._connect()
            started = monotonic()
        self._last = started
        measuring = fresh or started >= self._clock.due
        if measuring:
            data += TIME
            count += 1
            asked = self._clock.machine()
        else:
            asked = 0.0
        self.busy = True
        replies: list[Any] = []
        try:
            connected.sendall(data)
            self._read(connected, started, replies, count)
        except (OSError, hiredis.ProtocolError) as error:
            last = self._last_words(connected, replies, count)
            begun = bool(replies) or self._reader.has_data()
            self.drop()
            if last is None:
                known = failure(error, self._server, self._server.timeout)
                if fresh or begun or isinstance(error, TimeoutError):
                    raise known from error
                raise Lost(known) from error
            replies += [last] * (count - len(replies))
        except BaseException:
            self.drop()
            raise
        self.busy = False
        if measuring:
            self._clock.measured(asked, replies.pop())
        return replies

    def wait(self, waiting: Waiting) -> None:
        """Return when a lease is gone, or its time is over."""
        try:
            while True:
                listening = self._channel == waiting.channel
                replies = self.ask(*waiting.look(listening))
                if not listening:
                    self._channel = waiting.channel
                if waiting.over(replies) or (pause := waiting.pause()) <= 0:
                    return
                self._hear(pause)
        finally:
            if self._channel is not None:
                self._channel = None
                with contextlib.suppress(CacheConnectionError):
                    self.ask(waiting.leave)

    def _hear(self, seconds: float) -> None:
        """Return when the server says something of its own accord, or closes the connection, or after ``seconds``."""
        connected = self._socket
        if connected is None or self._told():
            return
        self.busy = True
        try:
            connected.settimeout(seconds)
            with contextlib.suppress(TimeoutError):
                size = connected.recv_into(self._buffer)
                if not size:
                    raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")
                self._reader.feed(self._buffer, 0, size)  # type: ignore[arg-type]
            connected.settimeout(self._server.timeout)
            self._told()
        except (OSError, hiredis.ProtocolError):
            self.drop()
        except BaseException:
            self.drop()
            raise
        self.busy = False

    def _told(self) -> bool:
        """Whether there is a message among what was read."""
        told = False
        while self._reader.gets() is not NOT_YET:
            told = True
        return told

    def drop(self) -> None:
        """Close the connection; the next trip makes a new one."""
        self._channel = None
        connected, self._socket = self._socket, None
        self._reader = reader()
        self.busy = False
        if connected is not None:
            connected.close()

    def close(self) -> None:
        """Close the connection for good."""
        self._closed = True
        self.drop()

    def __del__(self) -> None:
        """Close the connection of a thread that has ended."""
        if self._socket is not None:
            self._socket.close()

    def _read(self, connected: socket.socket, started: float, replies: list[Any], count: int) -> None:
        parser, buffer = self._reader, self._buffer
        trimmed = False
        first = True
        while len(replies) < count:
            reply = parser.gets()
            while reply is NOT_YET:
                # The socket's own timeout is for one read; that of the trip gets shorter with each.
                if not first:
                    left = started + self._server.timeout - monotonic()
                    if left <= 0:
                        raise TimeoutError
                    connected.settimeout(left)
                    trimmed = True
                first = False
                size = connected.recv_into(buffer)
                if not size:
                    raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")
                parser.feed(buffer, 0, size)  # type: ignore[arg-type]
                reply = parser.gets()
            if reply.__class__ is not hiredis.PushNotification or answers(reply):
                replies.append(reply)
        if trimmed:
            connected.settimeout(self._server.timeout)

    def _last_words(self, connected: socket.socket, replies: list[Any], count: int) -> ReplyError | None:
        """The reply with which a server closes the connection because it was sent too much, if that is why it did."""
        with contextlib.suppress(OSError, hiredis.ProtocolError):
            connected.settimeout(0)
            self._read(connected, monotonic(), replies, count)
        last = replies[-1] if replies else None
        return last if isinstance(last, ReplyError) and last.code == "BULK" else None

    def _connect(self) -> socket.socket:
        self.drop()
        server = self._server
        if self._closed:
            raise CacheConnectionError(f"the connections to {server} are closed")
        unix: Any = UnixDomainSocketConnection
        kind: Any = unix if server.path else SSLConnection if server.tls else Connection
        connection: Any = kind(command_packer=_Packer(), **login(server))
        try:
            connection.connect()
            # From here on the socket is ours: redis-py reads with a timeout per read, and costs as much as the trip.
            connected: socket.socket = connection._sock
            connection._sock = None
        except (RedisError, OSError) as error:
            raise failure(error, server, server.timeout) from error
        finally:
            connection.disconnect()
        self._socket = connected
        return connected


def closed(connected: socket.socket) -> bool:
    """Whether the other side has closed, or sent something that nobody asked for; nothing may be on its way."""
    poller = select.poll()
    poller.register(connected, select.POLLIN)
    return bool(poller.poll(0))
