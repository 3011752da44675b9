"""`SimpleBackend`: puts a store that knows no more than get, set and delete behind the driver contract.

What such a store lacks, a comparison and a write in one step, a lock per key supplies: exact among the threads of one
process. A store that other processes write too needs a driver of its own. And whatever it raises becomes an error of
this package, which a cache can count, log, and survive if it says ``on_error = "degrade"``.
"""

from __future__ import annotations

import errno
import heapq
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol

from ._capabilities import Capabilities, ScanPage
from ._clocks import Clock
from ._driver import Backend
from ._record import Field, Version, head_of, matches, replace_header
from .errors import CacheConnectionError, CacheError, CacheFullError

_STRIPES = 64
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class SimpleStore(Protocol):
    """What `SimpleBackend` needs of a store.

    Several threads call it at once. Those that write one key take turns; reads and lists come at any time. A cache has
    the store for itself. What the store raises becomes the cause of a `CacheConnectionError`, or of a `CacheFullError`
    where an `OSError` says that there is no room; errors of this package are let through.
    """

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
        self._store = _Translated(store)
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


class _Translated:
    """A store whose errors are those of this package."""

    def __init__(self, store: SimpleStore) -> None:
        self._store = store

    def get(self, key: str) -> bytes | None:
        with _TRANSLATING:
            return self._store.get(key)

    def set(self, key: str, data: bytes) -> None:
        with _TRANSLATING:
            self._store.set(key, data)

    def delete(self, key: str) -> None:
        with _TRANSLATING:
            self._store.delete(key)

    def keys(self, prefix: str) -> Iterator[str]:
        with _TRANSLATING:
            yield from self._store.keys(prefix)

    def close(self) -> None:
        with _TRANSLATING:
            self._store.close()


class _Translating:
    def __enter__(self) -> None:
        """There is nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, CacheError):
            raise _translated(error) from error


_TRANSLATING = _Translating()


def _translated(error: Exception) -> CacheError:
    # The text of an error that isn't the system's may hold anything, a value too; it is in the chain.
    said = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    if isinstance(error, OSError) and error.errno in _FULL:
        return CacheFullError(f"the store has no room: {said}")
    return CacheConnectionError(f"the store failed: {said}")
