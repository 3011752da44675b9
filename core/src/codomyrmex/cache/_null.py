"""The backend ``null``: the off switch. Every write succeeds and is forgotten, every read misses."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence

from ._capabilities import Capabilities, ScanPage, Usage
from ._clocks import Clock, process_clock
from ._driver import Backend
from ._record import Field, Record, Version


class NullBackend(Backend[Record]):
    """Stores no user's entry.

    It keeps the cache's own records that end some time, in this process: code that is written around
    ``cache.lock`` still excludes others when caching is turned off.

    Args:
        now: Clock for the locks, in seconds.
    """

    capabilities = Capabilities(stores="objects", isolated=True, blocking="never")

    def __init__(self, now: Clock = process_clock) -> None:
        self.now = now
        self._own: dict[str, Record] = {}
        self._lock = threading.Lock()

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        """Own records only."""
        return {key: self._own[key] for key in keys if key in self._own}

    def put_many(self, records: Mapping[str, Record]) -> None:
        """Forget them."""
        with self._lock:
            for key, record in records.items():
                self._keep(key, record)

    def remove_many(self, keys: Sequence[str]) -> dict[str, Record]:
        """Own records only."""
        with self._lock:
            return {key: self._own.pop(key) for key in keys if key in self._own}

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[Record]:
        """Nothing."""
        return ScanPage({}, None)

    def swap(
        self, key: str, field: Field, expected: Version | None, new: Record | None, header_only: bool = False
    ) -> bool:
        """For a user's entry: done, and forgotten."""
        with self._lock:
            current = self._own.get(key)
            if (None if current is None else current.version) != expected:
                return False
            if new is None:
                self._own.pop(key, None)
            else:
                self._keep(key, new)
            return True

    def close(self) -> None:
        """Nothing to release."""

    def usage(self) -> Usage:
        """Always empty."""
        return Usage(entries=0, bytes=0)

    def _keep(self, key: str, record: Record) -> None:
        now = self.now()
        for old in [name for name, own in self._own.items() if now >= own.kept_until]:
            del self._own[old]
        if key.startswith("\0") and record.kept_until < math.inf:
            self._own[key] = record
