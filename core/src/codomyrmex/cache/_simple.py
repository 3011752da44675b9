"""`SimpleBackend`: puts a store that knows no more than get, set and delete behind the driver contract.

What such a store lacks, a comparison and a write in one step, a lock per key supplies: exact among the threads of one
process. A store that other processes write too needs a driver of its own.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ._capabilities import Capabilities, ScanPage
from ._clocks import Clock
from ._driver import Backend
from ._record import Field, Version, head_of, matches, replace_header

_STRIPES = 64


class SimpleStore(Protocol):
    """What `SimpleBackend` needs of a store; each method may be called by several threads."""

    def get(self, key: str) -> bytes | None:
        """Bytes under ``key``, or None."""
        ...

    def set(self, key: str, data: bytes) -> None:
        """Store ``data`` in place of what was there."""
        ...

    def delete(self, key: str) -> None:
        """Remove ``key`` if it is there."""
        ...

    def keys(self, prefix: str) -> Iterable[str]:
        """All keys that begin with ``prefix``, in any order."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class SimpleBackend(Backend[bytes]):
    """A driver over a `SimpleStore`.

    Args:
        store: Keeps bytes under string keys.
        now: Clock for lifetimes, in seconds: `process_clock`, or `machine_clock` for a store that outlives the process.
        capabilities: What to declare; ``swap`` stays False.
    """

    def __init__(self, store: SimpleStore, *, now: Clock, capabilities: Capabilities | None = None) -> None:
        self.capabilities = capabilities or Capabilities(swap=False)
        self.now = now
        self._store = store
        self._locks = tuple(threading.RLock() for _ in range(_STRIPES))

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """One store call per key."""
        found = ((key, self._store.get(key)) for key in keys)
        return {key: data for key, data in found if data is not None}

    def put_many(self, records: Mapping[str, bytes]) -> None:
        """One store call per key."""
        for key, data in records.items():
            with self._lock(key):
                self._store.set(key, data)

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Two store calls per key."""
        removed: dict[str, bytes] = {}
        for key in keys:
            with self._lock(key):
                data = self._store.get(key)
                if data is not None:
                    self._store.delete(key)
                    removed[key] = head_of(data)
        return removed

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        """The ``limit`` lowest keys after ``cursor``, which is the last key of the page before."""
        rest = (key for key in self._store.keys(prefix) if cursor is None or key > cursor)
        page = heapq.nsmallest(limit, rest)
        heads = {key: head_of(data) for key, data in self.get_many(page).items()}
        return ScanPage(heads, page[-1] if len(page) == limit else None)

    def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool = False
    ) -> bool:
        """Under the key's lock."""
        with self._lock(key):
            stored = self._store.get(key)
            if not matches(stored, field, expected):
                return False
            if new is None:
                self._store.delete(key)
            else:
                self._store.set(key, replace_header(stored, new) if header_only and stored else new)
            return True

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _lock(self, key: str) -> threading.RLock:
        return self._locks[hash(key) % _STRIPES]
