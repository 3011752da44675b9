"""A TCP proxy in a thread of its own that forwards, counts and misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from types import TracebackType

import hiredis


class Proxy:
    """Stands between a cache and a server.

    Attributes:
        delay: Seconds by which replies are held up.
        cut: Bytes of replies after which a connection is closed; None for never.
        slice: Whether replies come one byte at a time.
        pause: Seconds between these.
        garbage: What is sent in place of replies; None for the replies.
        reset: Whether connections are reset when something is asked.
        trips: Requests that were forwarded after the last `count`; what is written at once is one.
        commands: The commands in them.

    Args:
        port: The server's port.
        tls: Spoken with clients, if given.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.delay = 0.0
        self.cut: int | None = None
        self.slice = False
        self.pause = 0.0
        self.garbage: bytes | None = None
        self.reset = False
        self.trips = 0
        self.connections = 0
        self.commands: list[list[bytes]] = []
        self.port = 0
        self._target = port
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._clients: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Of the server through this proxy."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def count(self) -> None:
        """Begin to count anew."""
        self.trips = 0
        self.commands.clear()

    def drop(self) -> None:
        """Close all connections to clients, as a server does that is restarted; returns when they are closed."""
        done = threading.Event()

        def close() -> None:
            for writer in list(self._clients):
                writer.transport.abort()
            self._loop.call_later(0.05, done.set)

        self._loop.call_soon_threadsafe(close)
        assert done.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._clients.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(self._upwards(reader, up_writer, writer), self._downwards(up_reader, writer))
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._clients.discard(writer)
            for one in (writer, up_writer):
                one.transport.abort()
            with contextlib.suppress(OSError):
                await asyncio.sleep(0)

    async def _upwards(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        parser = hiredis.Reader(notEnoughData=parsing)
        while data := await reader.read(1 << 22):
            self.trips += 1
            parser.feed(data)
            while (command := parser.gets()) is not parsing:
                self.commands.append(command)
            if self.reset:
                client.transport.abort()
                raise EOFError
            server.write(data)
            await server.drain()
        raise EOFError

    async def _downwards(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        sent = 0
        while data := await reader.read(1 << 16):
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.garbage is not None:
                data = self.garbage
            if self.cut is not None:
                data = data[: max(0, self.cut - sent)]
            sent += len(data)
            for piece in [data[at : at + 1] for at in range(len(data))] if self.slice else [data]:
                client.write(piece)
                await client.drain()
                if self.slice:
                    await asyncio.sleep(self.pause)
            if self.cut is not None and sent >= self.cut:
                break
        raise EOFError


parsing = object()
