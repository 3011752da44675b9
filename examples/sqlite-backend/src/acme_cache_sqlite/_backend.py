"""`SqliteBackend`: the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codomyrmex.cache.backend import (
    Backend,
    BackendRequest,
    Capabilities,
    Field,
    Purged,
    ScanPage,
    Version,
    head_of,
    kept_until_of,
    machine_clock,
    matches,
    replace_header,
)

from ._connection import READ, WRITE, Connection

_GET = "SELECT record FROM entries WHERE key = ?"
_PUT = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)"
_REMOVE = "DELETE FROM entries WHERE key = ? RETURNING record"
_SCAN = "SELECT key, record FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
_CLEAR = "DELETE FROM entries WHERE key >= ? AND key < ?"
_OVER = "SELECT rowid FROM entries WHERE kept_until <= ? LIMIT ?"
_PURGE = f"DELETE FROM entries WHERE rowid IN ({_OVER}) RETURNING key"


class SqliteBackend(Backend[bytes]):
    """Records in one table, under their keys as UTF-8.

    Args:
        connection: The database.
        request: Clock and counters.
    """

    capabilities = Capabilities(shared=True, persistent=True, swap=True, blocking="always", clock="boot")

    def __init__(self, connection: Connection, request: BackendRequest) -> None:
        self.now = request.clock or machine_clock
        self._connection = connection

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """All from one moment."""
        with self._connection.transaction(READ) as database:
            rows = {key: database.execute(_GET, (key.encode(),)).fetchone() for key in keys}
        return {key: row[0] for key, row in rows.items() if row is not None}

    def put_many(self, records: Mapping[str, bytes]) -> None:
        """All or none."""
        with self._connection.transaction(WRITE) as database:
            database.executemany(_PUT, [_row(key, record) for key, record in records.items()])

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """All at the same moment."""
        removed: dict[str, bytes] = {}
        with self._connection.transaction(WRITE) as database:
            for key in keys:
                for (record,) in database.execute(_REMOVE, (key.encode(),)):
                    removed[key] = head_of(record)
        return removed

    def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool = False
    ) -> bool:
        """Nobody else writes between the comparison and the end of the transaction."""
        with self._connection.transaction(WRITE) as database:
            row = database.execute(_GET, (key.encode(),)).fetchone()
            stored: bytes | None = None if row is None else row[0]
            if not matches(stored, field, expected):
                return False
            if new is None:
                database.execute(_REMOVE, (key.encode(),)).fetchall()
            else:
                if header_only and stored is not None:
                    new = replace_header(stored, new)
                database.execute(_PUT, _row(key, new))
            return True

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        """Pages in the order of keys; the cursor is the last key of the page before."""
        # The next higher key after a key is that key and a NUL.
        first = prefix.encode() if cursor is None else cursor.encode() + b"\0"
        with self._connection.transaction(READ) as database:
            rows = database.execute(_SCAN, (first, _end(prefix), limit)).fetchall()
        heads = {key.decode(): head_of(record) for key, record in rows}
        return ScanPage(heads, rows[-1][0].decode() if len(rows) == limit else None)

    def clear(self, prefix: str) -> int:
        """One range; the empty prefix begins behind the keys that start with NUL."""
        with self._connection.transaction(WRITE) as database:
            return database.execute(_CLEAR, (prefix.encode() or b"\1", _end(prefix))).rowcount

    def purge(self, limit: int) -> Purged:
        """The index knows whose time is over; the cache's own records, under NUL, don't count."""
        over = (self.now(), limit)
        with self._connection.transaction(READ) as database:
            if database.execute(_OVER, over).fetchone() is None:
                return Purged(0, False)  # nobody was kept from writing
        with self._connection.transaction(WRITE) as database:
            keys = database.execute(_PURGE, over).fetchall()
        return Purged(sum(key[:1] != b"\0" for (key,) in keys), len(keys) == limit)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


def _row(key: str, record: bytes) -> tuple[bytes, float, bytes]:
    return key.encode(), kept_until_of(record), record


def _end(prefix: str) -> bytes:
    """Above every key that begins with ``prefix``: no UTF-8 holds the byte 0xff."""
    return prefix.encode() + b"\xff"
