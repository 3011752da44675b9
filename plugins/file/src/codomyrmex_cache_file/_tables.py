"""`Tables`: what a transaction does to an entry: its record, its place, its row in order and expiry, all at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from codomyrmex.cache.backend import head_of, kept_until_of
from codomyrmex.cache.eviction import Cause, EvictionPolicy

from ._census import sign
from ._errors import Damaged
from ._keys import is_cut, text_of
from ._opened import Opened
from ._queues import Queues
from ._rows import NO_QUEUE, PLACE_SIZE, Place, end_of, unpack_place, whole_key

_PENDING = 1
_PURGE_ON_WRITE = 64
"""Expired entries that are removed before one that is alive is evicted."""
_EVICTED_BY_ONE = 8

Gone: TypeAlias = "list[tuple[str, Cause, Any]]"
"""Key, cause and None of what has been removed."""


def is_pending(record: bytes) -> bool:
    """Whether a record has no value yet."""
    return len(record) > 1 and bool(record[1] & _PENDING)


def whole_of(transaction: Any, opened: Opened, stored: bytes) -> str:
    """The user's key of a stored one."""
    if not is_cut(stored):
        return text_of(stored)
    row = transaction.get(stored, db=opened.places)
    if row is None:
        raise Damaged("an entry has no place")
    return text_of(whole_key(row))


def strike_all(transaction: Any, opened: Opened) -> int:
    """What `Tables.clear` does if there is no room for a transaction."""
    with transaction.cursor(opened.entries) as rows:
        found = [bytes(key) for key in rows.iternext(values=False) if key[0] != 0]
    opened.strike(found)
    return len(found)


class Tables:
    """Everything that changes the tables, inside of a write transaction that the caller brings.

    Args:
        policy: What to evict at a limit.
        max_entries: The limit, None for none.
        now: The clock of the records, in seconds.
    """

    def __init__(self, policy: EvictionPolicy, max_entries: int | None, now: Callable[[], float]) -> None:
        self._policy = policy
        self._queues = Queues(policy, max_entries)
        self._max_entries = max_entries
        self._now = now
        self.evictions = 0
        self.expirations = 0

    def begin(self) -> None:
        """Before a transaction, which may be one that is tried again."""
        self.evictions = self.expirations = 0

    def put(self, transaction: Any, opened: Opened, key: bytes, whole: str, record: bytes, gone: Gone) -> None:
        """Store a record in place of what is there."""
        row = transaction.get(key, None, opened.places)
        plain = not (key[0] == 0 or is_pending(record))
        end, size = _end(record), len(record)
        old = None if row is None else Place.unpack(row)
        ghost = None
        if old is not None and self._queues.is_ghost(old.queue):
            ghost, old = self._queues.recall(transaction, opened, key, old), None
        if old is None:
            place = Place(NO_QUEUE, 0, opened.control.number(), end, size)
        else:
            place = self._moved(transaction, opened, old, end)._replace(size=size)
            if old.queue != NO_QUEUE:
                if plain:
                    gone.append((whole, Cause.REPLACED, None))
                    opened.marks.use(key)
                    opened.control.count(old.queue, 0, size - old.size)
                else:
                    self._queues.leave(transaction, opened, old)
                    place = place._replace(queue=NO_QUEUE, at=0)
        if plain and place.queue == NO_QUEUE:
            self._limit(transaction, opened, gone)
            place = self._queues.admit(transaction, opened, key, place, ghost)
        if place != old:
            transaction.put(key, place.pack(whole.encode() if is_cut(key) else b""), True, True, False, opened.places)
            if (old is None or old.end != place.end) and place.ends:
                transaction.put(place.expiry_key, key, True, True, False, opened.expiry)
        transaction.put(key, record, True, True, False, opened.entries)

    def put_over(self, transaction: Any, opened: Opened, key: bytes, record: bytes) -> bool:
        """`put`, if all that changes is the record of an entry; otherwise False, and nothing has changed."""
        row = transaction.get(key, None, opened.places)
        if row is None or len(row) < PLACE_SIZE or key[0] == 0 or is_pending(record):
            return False
        queue, _, _, end, size = unpack_place(row)
        # A later end is left to the day when the old one comes, as in `_moved`; NaN is not equal to anything.
        later = end != math.inf and kept_until_of(record) > end
        if (
            queue not in self._queues.with_entries
            or size != len(record)
            or not (later or kept_until_of(record) == end)
            or opened.control.unused(transaction.id())
        ):
            return False
        opened.marks.use(key)
        transaction.put(key, record)
        return True

    def remove(
        self, transaction: Any, opened: Opened, key: bytes, cause: Cause, gone: Gone, *, whole: str | None = None
    ) -> bytes | None:
        """Remove what is there; its head."""
        stored = transaction.get(key, None, opened.entries)
        if stored is None:
            return None
        head = bytes(head_of(stored))
        row = transaction.get(key, None, opened.places)
        if row is not None:  # what somebody else has put there has no place
            place = Place.unpack(row)
            if place.queue != NO_QUEUE:
                gone.append((whole or text_of(whole_key(row) or key), cause, None))
                self._queues.leave(transaction, opened, place)
            if place.ends and not transaction.delete(place.expiry_key, b"", opened.expiry):
                raise Damaged("an entry has no end")
            transaction.delete(key, b"", opened.places)
        transaction.delete(key, b"", opened.entries)
        return head

    def evict(self, transaction: Any, opened: Opened, count: int, gone: Gone) -> int:
        """Remove up to ``count`` entries, those that are over first; how many it were."""
        removed, _ = self.purge(transaction, opened, min(count, _PURGE_ON_WRITE), gone)
        self.expirations += removed
        while removed < count:
            victim = self._queues.victim(transaction, opened)
            if victim is None:
                break
            key, ghost = victim
            self.remove(transaction, opened, key, Cause.CAPACITY, gone)
            if ghost is not None:
                self._queues.remember(transaction, opened, key, ghost)
            self.evictions += 1
            removed += 1
        return removed

    def purge(self, transaction: Any, opened: Opened, limit: int, gone: Gone) -> tuple[int, bool]:
        """Remove what is over among up to ``limit`` rows of `expiry`; how many entries, and whether more is due."""
        now, removed = self._now(), 0
        for _ in range(limit):
            with transaction.cursor(opened.expiry) as cursor:
                if not cursor.first() or end_of(cursor.key()) > now:
                    return removed, False
                row, key = bytes(cursor.key()), bytes(cursor.value())
            stored = transaction.get(key, db=opened.entries)
            end = None if stored is None else _end(stored)
            if end is not None and end <= now:
                before = len(gone)
                self.remove(transaction, opened, key, Cause.EXPIRED, gone)
                removed += len(gone) - before
            transaction.delete(row, db=opened.expiry)  # also one that leads nowhere
            if end is not None and end > now:
                self._put_right(transaction, opened, key, end)
        return removed, True

    def clear(self, transaction: Any, opened: Opened, gone: Gone | None) -> int:
        """Empty all tables at once, and put the cache's own records back; how many there were.

        Args:
            transaction: To write in.
            opened: The store.
            gone: For what has been removed; None if nobody wants to know.
        """
        own: list[tuple[bytes, str, bytes]] = []
        with transaction.cursor(opened.entries) as rows:
            there = rows.first()
            while there and rows.key()[0] == 0:
                key = bytes(rows.key())
                own.append((key, whole_of(transaction, opened, key), bytes(rows.value())))
                there = rows.next()
            count: int = transaction.stat(opened.entries)["entries"] - len(own)
            while there and gone is not None:
                if not is_pending(rows.value()):
                    gone.append((whole_of(transaction, opened, bytes(rows.key())), Cause.CLEARED, None))
                there = rows.next()
        for table in (opened.entries, opened.places, opened.order, opened.expiry, opened.policy):
            transaction.drop(table, delete=False)
        sign(transaction, opened, self._policy)
        opened.control.reset_counts()
        for key, whole, record in own:
            self.put(transaction, opened, key, whole, record, [])
        return count

    def entries(self, transaction: Any, opened: Opened) -> int:
        """How many entries there are, without what no policy sees."""
        return self._queues.entries_in(transaction, opened)

    def _limit(self, transaction: Any, opened: Opened, gone: Gone) -> None:
        """Make room for one more."""
        if self._max_entries is None:
            return
        over = self._queues.entries_in(transaction, opened) + 1 - self._max_entries
        # After the limit was lowered there are many; each write takes some of them, so that none becomes large.
        if over > 0 and not self.evict(transaction, opened, min(over, _EVICTED_BY_ONE), gone):
            raise self._queues.refusal()

    def _moved(self, transaction: Any, opened: Opened, old: Place, end: float) -> Place:
        """The place with its new end; a later one is left to the day when the old one comes."""
        if end == old.end or (old.ends and end > old.end):
            return old
        if old.ends and not transaction.delete(old.expiry_key, db=opened.expiry):
            raise Damaged("an entry has no end")
        return old._replace(end=end)

    def _put_right(self, transaction: Any, opened: Opened, key: bytes, end: float) -> None:
        row = transaction.get(key, db=opened.places)
        if row is None:
            return
        place, whole = Place.unpack(row)._replace(end=end), whole_key(row)
        transaction.put(key, place.pack(whole), db=opened.places)
        if end != math.inf:
            transaction.put(place.expiry_key, key, db=opened.expiry)


def _end(record: bytes) -> float:
    end = kept_until_of(record)
    return math.inf if math.isnan(end) else end  # what a damaged record says has no place in an order
