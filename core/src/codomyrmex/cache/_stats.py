"""Counting, exact under threads and without a lock on the hot path, and the snapshot that users see.

`itertools.count` hands out each number once, whoever asks: one C call counts and never loses a step. Its value can only
be read by taking a number, so a reader takes one and remembers that it did.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Counter:
    """A number that many threads increment.

    Attributes:
        increment: Add one; returns a number above zero.
    """

    __slots__ = ("_extra", "_lock", "_taken", "increment")

    def __init__(self) -> None:
        self.increment: Callable[[], int] = itertools.count(1).__next__
        self._lock = threading.Lock()
        self._taken = 0
        self._extra = 0

    def add(self, amount: int) -> None:
        """Add ``amount`` at once."""
        with self._lock:
            self._extra += amount

    @property
    def value(self) -> int:
        """The count."""
        with self._lock:
            number = self.increment() - 1 - self._taken
            self._taken += 1
            return number + self._extra


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What this process did with one cache, and the size of its store, at one moment.

    Attributes:
        hits: Reads that were served.
        misses: Reads that were not.
        stale_hits: Values served past their ttl because the load failed or was slow; not among ``hits``.
        sets: Values stored.
        deletes: Entries removed by name, by pattern or by ``pop``.
        evictions: Entries removed because a limit was reached.
        expirations: Entries removed because their time was over.
        errors: Failures of the backend, its eviction policy and listeners.
        unreadable: Stored records that were not trusted: damaged, moved, written by an unknown version.
        loads: Factory calls of ``get_or_set`` and ``memoize``.
        load_failures: Those among them that failed.
        load_seconds: Time spent in them.
        waits_joined: Callers who shared somebody else's load.
        entries: Entries in the store; None where it would have to be scanned.
        bytes: Their size in bytes; None where it is not known.
        max_entries: Limit on entries, None for none.
        max_bytes: Limit on bytes, None for none.
        backend: Name of the backend.
    """

    hits: int = 0
    misses: int = 0
    stale_hits: int = 0
    sets: int = 0
    deletes: int = 0
    evictions: int = 0
    expirations: int = 0
    errors: int = 0
    unreadable: int = 0
    loads: int = 0
    load_failures: int = 0
    load_seconds: float = 0.0
    waits_joined: int = 0
    entries: int | None = None
    bytes: int | None = None
    max_entries: int | None = None
    max_bytes: int | None = None
    backend: str = ""

    @property
    def hit_rate(self) -> float:
        """Hits among all reads, from 0.0 to 1.0; 0.0 before the first read."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0


COUNTED = (
    "hits",
    "misses",
    "stale_hits",
    "sets",
    "deletes",
    "evictions",
    "expirations",
    "errors",
    "unreadable",
    "loads",
    "load_failures",
    "waits_joined",
)


class Recorder:
    """The counters of one cache, shared by its synchronous and its asynchronous view."""

    __slots__ = (*COUNTED, "load_nanoseconds")

    hits: Counter
    misses: Counter
    stale_hits: Counter
    sets: Counter
    deletes: Counter
    evictions: Counter
    expirations: Counter
    errors: Counter
    unreadable: Counter
    loads: Counter
    load_failures: Counter
    load_nanoseconds: Counter
    waits_joined: Counter

    def __init__(self) -> None:
        for name in Recorder.__slots__:
            setattr(self, name, Counter())

    def counts(self) -> dict[str, Any]:
        """What `CacheStats` says of this process."""
        counts: dict[str, Any] = {name: getattr(self, name).value for name in COUNTED}
        return {**counts, "load_seconds": self.load_nanoseconds.value / 1e9}
