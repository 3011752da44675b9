"""`FileBackend`: the driver."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from isal import isal_zlib

from codomyrmex.cache.backend import (
    Backend,
    BackendRequest,
    Capabilities,
    Field,
    Finding,
    Purged,
    ScanPage,
    Usage,
    Version,
    head_of,
    matches,
    replace_header,
)
from codomyrmex.cache.errors import CacheConnectionError
from codomyrmex.cache.eviction import Cause, EvictionPolicy

from . import _boot
from ._inspect import inspect
from ._keys import LONGEST, first_under, stored_key
from ._leases import lease_of
from ._opened import Opened
from ._ready import PAGE
from ._room import used_pages
from ._rows import end_of
from ._store import LATER, Store
from ._tables import Gone, Tables, strike_all, whole_of

T = TypeVar("T")

_CHUNK = 128
"""Keys that one transaction of a `clear` or `purge` removes: the more, the more room it needs."""
_PAGES_OF_ONE = 4
"""Pages that the removal of one key may take, beside those at the tops of the tables."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.005
"""Seconds between two looks at somebody else's lease."""


class FileBackend(Backend[bytes]):
    """Records in one LMDB environment.

    Args:
        store: The environment.
        policy: What to evict at a limit.
        request: Clock, counters and listeners.
    """

    capabilities = Capabilities(
        shared=True, persistent=True, isolated=True, bounded=True, waits=True, blocking="writes", clock="boot"
    )

    # The types that come with isal leave out those of its arguments.
    crc32 = staticmethod(cast("Any", isal_zlib).crc32)

    def __init__(self, store: Store, policy: EvictionPolicy, request: BackendRequest) -> None:
        self._store = store
        self.now = request.clock or self._shared_clock
        self._tables = Tables(policy, store.options.max_entries, lambda: self.now())
        self._recorder = request.recorder
        self._emit = request.emit
        self._closed = False

    def get(self, key: str) -> bytes | None:
        """One record; counts as a use."""
        return self._open_store().get(stored_key(key))

    def read(self, key: str, use: Callable[[bytes, Any], T], context: bytes) -> T | None:
        """One record, a large one as LMDB holds it."""
        stored = key.encode()
        if self._closed or len(stored) > LONGEST:
            return self._open_store().look(stored_key(key), use, context)
        return self._store.look(stored, use, context)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """All from one moment."""

        def work(transaction: Any, opened: Opened) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for key in keys:
                stored = stored_key(key)
                data = transaction.get(stored, db=opened.entries)
                if data is not None:
                    found[key] = bytes(data)
                    opened.marks.use(stored)
            return found

        return self._open_store().read(work)

    def put(self, key: str, record: bytes) -> None:
        """`put_many` of one, at once if it can be."""
        gone: Gone = []
        stored = stored_key(key)
        done = self._open_store().at_once(self._put_one, len(record), False, self._count, stored, key, record, gone)
        if done is LATER:
            self._put({key: record}, len(record), at_once=False)
        elif gone:
            self._report(gone)

    def put_many(self, records: Mapping[str, bytes]) -> None:
        """All or none, unless they are so large that they need several transactions."""
        most = self._store.opened().pages * PAGE // 8 if len(records) > 1 else 0
        chunk: dict[str, bytes] = {}
        size = 0
        for key, record in records.items():
            if chunk and size + len(record) > most:
                self._put(chunk, size)
                chunk, size = {}, 0
            chunk[key] = record
            size += len(record) + PAGE
        if chunk:
            self._put(chunk, size)

    def remove(self, key: str) -> bytes | None:
        """`remove_many` of one, at once if it can be."""
        gone: Gone = []
        work = self._remove_one
        head = self._open_store().at_once(work, _PAGES_OF_ONE * PAGE, True, self._count, stored_key(key), key, gone)
        if head is LATER:
            return self.remove_many((key,)).get(key)
        self._report(gone)
        return head

    def _remove_one(self, transaction: Any, opened: Opened, stored: bytes, key: str, gone: Gone) -> bytes | None:
        opened.control.begin(transaction.id())
        head = self._tables.remove(transaction, opened, stored, Cause.DELETED, gone, whole=key)
        if stored in opened.leases:
            opened.leases.replaced(stored)
        return head

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """All at the same moment."""

        def work(transaction: Any, opened: Opened, gone: Gone) -> dict[str, bytes]:
            heads: dict[str, bytes] = {}
            for key in keys:
                stored = stored_key(key)
                head = self._tables.remove(transaction, opened, stored, Cause.DELETED, gone, whole=key)
                if head is not None:
                    heads[key] = head
                    opened.leases.replaced(stored)
            return heads

        def otherwise(transaction: Any, opened: Opened) -> dict[str, bytes]:
            found = {key: transaction.get(stored_key(key), db=opened.entries) for key in keys}
            heads = {key: bytes(head_of(record)) for key, record in found.items() if record is not None}
            opened.strike(map(stored_key, heads))
            return heads

        return self._remove(work, len(keys), otherwise)

    def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool = False
    ) -> bool:
        """Nobody else writes between the comparison and the end of the transaction."""
        stored = stored_key(key)
        lease = lease_of(new)
        size = len(new or b"")
        if header_only:  # the value is written again
            size = len(self._open_store().get(stored) or b"")

        def work(transaction: Any, opened: Opened, gone: Gone) -> bool:
            old = _bytes(transaction.get(stored, db=opened.entries))
            if not matches(old, field, expected):
                return False
            if new is None:
                self._tables.remove(transaction, opened, stored, Cause.DELETED, gone, whole=key)
                opened.leases.replaced(stored)
            else:
                if lease is not None and lease != lease_of(old):
                    opened.leases.plant(stored, lease)  # before anybody can see it in the record
                elif lease is None:
                    opened.leases.replaced(stored)
                data = replace_header(old, new) if header_only and old is not None else new
                before = len(gone)
                self._tables.put(transaction, opened, stored, key, data, gone)
                if header_only:
                    del gone[before:]
            return True

        def otherwise(transaction: Any, opened: Opened) -> bool:
            matched = matches(_bytes(transaction.get(stored, db=opened.entries)), field, expected)
            if matched:
                opened.strike((stored,))
            return matched

        return self._remove(work, 1, otherwise) if new is None else self._write(work, size)

    def wait(self, key: str, lease: bytes, timeout: float) -> None:
        """Look every few milliseconds."""
        deadline = time.monotonic() + timeout
        stored, store = stored_key(key), self._open_store()
        pause = _FIRST_PAUSE
        while lease_of(store.get(stored)) == lease and self.leader_alive(lease):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def leader_alive(self, lease: bytes) -> bool:
        """By the lock that its process holds as long as it lives."""
        return self._open_store().using(lambda opened: opened.leases.alive(lease))

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        """Pages in the order of stored keys; the cursor is the last key of the page before."""
        start = first_under(prefix) or b"\1"

        def work(transaction: Any, opened: Opened) -> ScanPage[bytes]:
            heads: dict[str, bytes] = {}
            with transaction.cursor(opened.entries) as rows:
                after = None if cursor is None else stored_key(cursor)
                there = rows.set_range(after or start)
                if there and after is not None and bytes(rows.key()) == after:
                    there = rows.next()
                while there:
                    stored = bytes(rows.key())
                    if prefix and not stored.startswith(start):
                        break
                    key = whole_of(transaction, opened, stored)
                    if key.startswith(prefix):
                        heads[key] = bytes(head_of(rows.value()))
                        if len(heads) == limit:
                            return ScanPage(heads, key)
                    there = rows.next()
            return ScanPage(heads, None)

        return self._open_store().read(work)

    def clear(self, prefix: str) -> int:
        """Many in each transaction; all at once without a prefix."""
        removed = 0
        if not prefix:

            def all_work(transaction: Any, opened: Opened, gone: Gone) -> int:
                return self._tables.clear(transaction, opened, None if self._emit is None else gone)

            removed = self._remove(all_work, _CHUNK, strike_all)
            self._store.forget_leases()
            return removed
        cursor = None
        while True:
            page = self.scan(prefix, cursor, _CHUNK)
            keys = list(page.heads)

            def work(transaction: Any, opened: Opened, gone: Gone, keys: Iterable[str] = tuple(keys)) -> int:
                every = [
                    self._tables.remove(transaction, opened, stored_key(key), Cause.CLEARED, gone, whole=key)
                    for key in keys
                ]
                return len(every) - every.count(None)

            def otherwise(transaction: Any, opened: Opened, keys: Iterable[str] = tuple(keys)) -> int:
                stored = [stored_key(key) for key in keys]
                found = [key for key in stored if transaction.get(key, db=opened.entries) is not None]
                opened.strike(found)
                return len(found)

            if keys:
                removed += self._remove(work, len(keys), otherwise)
            cursor = page.cursor
            if cursor is None:
                self._store.forget_leases()
                return removed

    def purge(self, limit: int) -> Purged:
        """Remove what is over; now and then see whether the store is still there, and bring it to the disk."""
        store = self._open_store()
        store.check()
        store.settle()
        if store._opened is None:
            return Purged(0, False)  # nobody has used it yet

        def due(transaction: Any, opened: Opened) -> bool:
            with transaction.cursor(opened.expiry) as cursor:
                return bool(cursor.first()) and end_of(cursor.key()) <= self.now()

        if not store.read(due):
            return Purged(0, False)  # nobody was kept from writing

        def work(transaction: Any, opened: Opened, gone: Gone) -> tuple[int, bool]:
            return self._tables.purge(transaction, opened, _CHUNK, gone)

        removed, more = 0, True
        for _ in range(0, limit, _CHUNK):
            if more:
                count, more = self._remove(work, _CHUNK)
                removed += count
        return Purged(removed, more)

    def compact(self) -> int:
        """Copy what is in use into a smaller file; others who write wait meanwhile."""
        return self._open_store().compact()

    def inspect(self) -> list[Finding]:
        """Its directory, as it is before it is opened."""
        return inspect(self._open_store())

    def usage(self) -> Usage:
        """From what LMDB counts anyway."""
        limits = self._store.options

        def work(transaction: Any, opened: Opened) -> tuple[int, int]:
            entries = self._tables.entries(transaction, opened)
            return entries, used_pages(transaction, opened) * PAGE

        entries, size = self._open_store().read(work)
        return Usage(entries, size, limits.max_entries, limits.max_bytes)

    def close(self) -> None:
        """Close the store if no other cache of this process uses it."""
        if not self._closed:
            self._closed = True
            self._store.release()

    def _open_store(self) -> Store:
        if self._closed:
            raise CacheConnectionError(f"{self._store.path} is closed", backend="file_based")
        return self._store

    def _shared_clock(self) -> float:
        """Epoch seconds that go on with the boot clock, from where all processes of the store agree that it began."""
        anchor = self._store.anchor
        return (self._store.opened().anchor if anchor is None else anchor) + _boot.since_boot()

    def _put(self, records: Mapping[str, bytes], size: int, *, at_once: bool = True) -> None:
        def work(transaction: Any, opened: Opened, gone: Gone) -> None:
            put, replaced = self._tables.put, opened.leases.replaced
            for key, record in records.items():
                stored = stored_key(key)
                put(transaction, opened, stored, key, record, gone)
                replaced(stored)

        self._change(work, size, True, None, at_once=at_once)

    def _put_one(self, transaction: Any, opened: Opened, stored: bytes, key: str, record: bytes, gone: Gone) -> None:
        """Nearly every write of a cache: over an entry, by one of the same size that lives no shorter.

        Only the record changes then. `Tables.put` does the same for it, among other things.
        """
        if self._tables.put_over(transaction, opened, stored, record):
            if self._emit is not None:
                gone.append((key, Cause.REPLACED, None))
        else:
            opened.control.begin(transaction.id())
            self._tables.begin()
            self._tables.put(transaction, opened, stored, key, record, gone)
        if stored in opened.leases:
            opened.leases.replaced(stored)

    def _write(self, work: Callable[[Any, Opened, Gone], T], size: int) -> T:
        """Run ``work`` in a transaction; count and report what has gone when the gate is open again.

        Args:
            work: Called with transaction, store and a list for what has gone.
            size: Bytes to make room for.
        """
        return self._change(work, size, True, None)

    def _remove(
        self,
        work: Callable[[Any, Opened, Gone], T],
        keys: int,
        otherwise: Callable[[Any, Opened], T] | None = None,
    ) -> T:
        """The same for what only removes, up to so many ``keys``; see `Store.write` for ``otherwise``."""
        return self._change(work, keys * _PAGES_OF_ONE * PAGE, False, otherwise)

    def _change(
        self,
        work: Callable[[Any, Opened, Gone], T],
        size: int,
        may_evict: bool,
        otherwise: Callable[[Any, Opened], T] | None,
        *,
        at_once: bool = True,
    ) -> T:
        store, tables = self._open_store(), self._tables
        gone: Gone = []
        over: Gone = []
        evicted: Gone = []

        def once(transaction: Any, opened: Opened) -> T:
            gone.clear()
            tables.begin()
            opened.control.begin(transaction.id())
            return work(transaction, opened, gone)

        def room(transaction: Any, opened: Opened, count: int) -> int:
            over.clear()
            tables.begin()
            opened.control.begin(transaction.id())
            return tables.evict(transaction, opened, count, over)

        def committed() -> None:
            self._count()
            evicted.extend(over)
            over.clear()

        result = store.at_once(once, size, True, self._count) if at_once else LATER
        if result is LATER:
            try:
                result = store.write(once, committed, size, room if may_evict else None, otherwise)
            finally:
                self._report(evicted)
        self._report(gone)
        return result

    def _count(self) -> None:
        """After a transaction, before anybody else may write."""
        tables = self._tables
        if tables.evictions or tables.expirations:
            self._recorder.evictions.add(tables.evictions)
            self._recorder.expirations.add(tables.expirations)
            tables.begin()

    def _report(self, gone: Gone) -> None:
        if gone and self._emit is not None:
            self._emit(gone)


def _bytes(found: Any) -> bytes | None:
    return None if found is None else bytes(found)
