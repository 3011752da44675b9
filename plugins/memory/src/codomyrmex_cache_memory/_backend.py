"""`MemoryBackend`: the driver's methods over `Entries`.

They take the lock, copy values where they are asked to, and report what has gone afterwards.
"""

from __future__ import annotations

import copy
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from codomyrmex.cache.backend import (
    Backend,
    BackendRequest,
    Capabilities,
    Direct,
    DirectPort,
    Field,
    Purged,
    Record,
    ScanPage,
    Usage,
    Version,
    process_clock,
)
from codomyrmex.cache.eviction import Cause, EvictionPolicy

from ._direct import direct_paths
from ._entries import Entries, Gone
from ._options import MemoryOptions

_CHUNK = 256
"""Entries that a scan copies before it lets go of the lock."""


class MemoryBackend(Backend[Record]):
    """Records in a dict of this process.

    Args:
        options: Limits, sizer, copying.
        policy: What to evict at a limit.
        request: Clock, counters and listeners.

    Attributes:
        options: As given.
        entries: The content.
    """

    def __init__(self, options: MemoryOptions, policy: EvictionPolicy, request: BackendRequest) -> None:
        self.capabilities = Capabilities(
            stores="objects", isolated=True, bounded=True, blocking="never", direct=not options.copy
        )
        self.now = request.clock or process_clock
        self.options = options
        self.entries = Entries(options, policy, request, self.now)
        self._emit = request.emit
        _alive.add(self)

    @classmethod
    def from_request(cls, request: BackendRequest) -> MemoryBackend:
        """Check the options and make one."""
        options = request.parse(MemoryOptions)
        if request.url is not None and (request.url.netloc or request.url.path):
            raise request.refuse("memory:// takes options only, such as memory://?max_entries=1000")
        if options.sizer is not None and not callable(options.sizer):
            raise request.refuse("option 'sizer' must be a function from a value to its bytes")
        if options.sizer is not None and options.max_bytes is None:
            raise request.refuse("option 'sizer' makes no difference without 'max_bytes'")
        return cls(options, request.eviction_policy("sieve"), request)

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        """Copies of the records."""
        with self.entries.lock:
            read = {key: self.entries.read(key) for key in keys}
        found = {key: record for key, record in read.items() if record is not None}
        if self.options.copy:
            for record in found.values():
                record.value = copy.deepcopy(record.value)
        return found

    def put_many(self, records: Mapping[str, Record]) -> None:
        """Store them one by one; the first that doesn't fit ends it."""
        gone: Gone = []
        entries = self.entries
        prepared = {key: (record, entries.size(record), self._kept(record)) for key, record in records.items()}
        try:
            with entries.lock, entries:
                for key, (record, size, value) in prepared.items():
                    entries.put(key, record, size, value, gone)
        finally:
            self._report(gone)

    def remove_many(self, keys: Sequence[str]) -> dict[str, Record]:
        """Remove them from the entries and from what stands beside."""
        gone: Gone = []
        with self.entries.lock, self.entries:
            removed = {key: self.entries.remove(key, Cause.DELETED, gone) for key in keys}
        self._report(gone)
        return {key: record for key, record in removed.items() if record is not None}

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[Record]:
        """All at once: the keys are copied in one step, the records in chunks."""
        entries = self.entries
        own = prefix.startswith("\0")
        names = list(entries.own) if own else [*list(entries.nodes), *list(entries.own)]
        keys = [key for key in names if key.startswith(prefix) and (own or not key.startswith("\0"))]
        heads: dict[str, Record] = {}
        for start in range(0, len(keys), _CHUNK):
            with entries.lock:
                chunk = {key: self._head(key) for key in keys[start : start + _CHUNK]}
            heads |= {key: record for key, record in chunk.items() if record is not None}
        return ScanPage(heads, None)

    def swap(
        self, key: str, field: Field, expected: Version | None, new: Record | None, header_only: bool = False
    ) -> bool:
        """Compare and replace under the lock."""
        gone: Gone = []
        entries = self.entries
        size = 1 if new is None or header_only else entries.size(new)
        value = None if new is None or header_only else self._kept(new)
        try:
            with entries.lock, entries:
                current = self._head(key)
                if current is None or expected is None:
                    if current is not None or expected is not None:
                        return False
                elif (current.version if field is Field.VERSION else current.lease) != expected:
                    return False
                node = entries.nodes.get(key)
                if new is None:
                    entries.remove(key, Cause.DELETED, gone)
                elif header_only and node is not None:
                    entries.put(key, new, node.size, node.value, gone, replaces=False)
                else:
                    entries.put(key, new, size, value, gone)
                return True
        finally:
            self._report(gone)

    def clear(self, prefix: str) -> int:
        """Remove everything under ``prefix`` but the cache's own records."""
        gone: Gone = []
        with self.entries.lock, self.entries:
            removed = self.entries.clear(prefix, gone)
        self._report(gone)
        return removed

    def purge(self, limit: int) -> Purged:
        """Remove entries whose time is over, and markers that no entry needs."""
        gone: Gone = []
        entries, now = self.entries, self.now()
        with entries.lock, entries:
            if entries.own.sweep_due():
                entries.own.sweep(now, entries.carried_tags())
            removed = entries.purge(now, limit, gone)
            more = entries.is_due(now)
        self._report(gone)
        return Purged(removed, more)

    def usage(self) -> Usage:
        """Exact, and at once."""
        limits = self.options
        return Usage(
            entries=len(self.entries.nodes),
            bytes=None if limits.max_bytes is None else self.entries.bytes,
            max_entries=limits.max_entries,
            max_bytes=limits.max_bytes,
        )

    def ping(self) -> None:
        """Always there."""

    def close(self) -> None:
        """Drop everything."""
        with self.entries.lock, self.entries:
            self.entries.close()

    def direct(self, port: DirectPort) -> Direct:
        """See `_direct.py`."""
        # Listeners hear of replaced values, and byte limits need the user's sizer: the general path does both.
        return direct_paths(self.entries, port, writes=self._emit is None and self.options.max_bytes is None)

    def _head(self, key: str) -> Record | None:
        """A copy of what is under ``key``, without using it; with the lock."""
        node = self.entries.nodes.get(key)
        return self.entries.own.get(key) if node is None else node.snapshot()

    def _kept(self, record: Record) -> Any:
        """The value to keep; without the lock, since copying runs the user's code."""
        return copy.deepcopy(record.value) if self.options.copy else record.value

    def _report(self, gone: Gone) -> None:
        """Tell the listeners; without the lock, since that runs their code."""
        if gone and self._emit is not None:
            self._emit(gone)


_alive: weakref.WeakSet[MemoryBackend] = weakref.WeakSet()
_forking: list[MemoryBackend] = []


def _before_fork() -> None:
    # A child must not inherit a store that another thread was just changing.
    _forking[:] = _alive
    for backend in _forking:
        backend.entries.lock.acquire()


def _after_fork() -> None:
    while _forking:
        _forking.pop().entries.lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
