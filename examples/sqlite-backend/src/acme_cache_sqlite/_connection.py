"""`Connection`: the one connection of a process to its database.

Two facts about SQLite decide how it is written. A fork copies SQLite's account of its file locks, which is wrong in the
child: even a connection that the child opens itself may lose writes then. So none is open while the process forks, and
one lock is around everything. And closing any descriptor of a database's file drops all locks that the process holds on
it. So nobody but SQLite opens it.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from typing import Final
from weakref import WeakSet

from codomyrmex.cache import CacheConnectionError, CacheFullError

READ: Final = "BEGIN"
WRITE: Final = "BEGIN IMMEDIATE"

_SCHEMA = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, kept_until REAL, record BLOB NOT NULL);
    CREATE INDEX IF NOT EXISTS entries_by_end ON entries (kept_until);
"""
_LONGEST_WAIT = 2_000_000.0
"""Seconds; SQLite counts milliseconds in 32 bits."""

_lock = threading.RLock()
_connections: WeakSet[Connection] = WeakSet()


class Connection:
    """A database, opened when first used.

    Args:
        path: Its file; made if it is not there, for its owner only.
        timeout: Longest wait for another process that writes, in seconds.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = os.path.abspath(path)  # a daemon changes its directory
        self._timeout = min(timeout, _LONGEST_WAIT)
        self._database: sqlite3.Connection | None = None
        self._closed = False
        with _lock:
            _connections.add(self)

    @contextmanager
    def transaction(self, begin: str) -> Generator[sqlite3.Connection, None, None]:
        """A transaction, committed at the end of the block or rolled back: `READ` or `WRITE`.

        Raises:
            CacheFullError: The disk is full.
            CacheConnectionError: Anything else is wrong with the database.
        """
        with _lock:
            if self._closed or (self._database is not None and self._database.in_transaction):
                # The second happens to a finalizer that uses the cache: it may run in the middle of any call.
                raise CacheConnectionError(f"{self._path} is closed, or in use by this thread", backend="sqlite")
            with self._errors():
                database = self._database = self._database or self._open()
                with database:
                    database.execute(begin)
                    yield database

    def close(self) -> None:
        """Close the database for good."""
        with _lock:
            self._closed = True
            self._disconnect()

    def _open(self) -> sqlite3.Connection:
        if not os.path.exists(self._path):
            _create(self._path)
        database = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
        try:
            database.executescript(_SCHEMA)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    @contextmanager
    def _errors(self) -> Generator[None, None, None]:
        """The one place where foreign errors become the cache's."""
        try:
            yield
        except OSError as error:
            raise CacheConnectionError(f"{self._path}: {error.strerror}", backend="sqlite") from error
        except (sqlite3.Error, OverflowError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise CacheFullError(f"{self._path}: the disk is full", backend="sqlite") from error
            raise CacheConnectionError(f"{self._path}: {error}", backend="sqlite") from error


def _create(path: str) -> None:
    # Made beside its place and linked there, it appears whole: turning WAL mode on fails while another process does so.
    # The mode of a temporary file is 0600, and SQLite gives its other files the same.
    handle, new = tempfile.mkstemp(prefix=".sqlite-", dir=os.path.dirname(path) or ".")
    os.close(handle)
    try:
        with closing(sqlite3.connect(new)) as database:
            database.executescript(_SCHEMA)
        with suppress(FileExistsError):
            os.link(new, path)
    finally:
        os.unlink(new)


def _before_fork() -> None:
    _lock.acquire()
    for connection in _connections:
        connection._disconnect()


os.register_at_fork(before=_before_fork, after_in_parent=_lock.release, after_in_child=_lock.release)
