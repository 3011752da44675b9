"""Finding room for a write: on the disk, within the limit, and among the pages that LMDB may use again.

A write that stores something leaves a reserve of pages alone, for removals and evictions: LMDB never writes over a page
that is in use, so removing takes pages too, and gives pages back only to the transaction after next. As long as some
process is in the middle of a read, or was stopped in one, what has been freed since can't be used at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import lmdb

from ._errors import NoRoom, full, is_full
from ._opened import LEAST_RESERVE, Opened
from ._ready import PAGE, PATH_PAGES

T = TypeVar("T")
Work = Callable[[Any, Opened], T]
Evict = Callable[[Any, Opened, int], int]

_MOST_OF_ONE = 4
"""A value may take this part of the store: a larger one would find no pages in a row, whatever is evicted for it."""
_BATCH = 16
_FEW_ROUNDS, _MANY_ROUNDS = 3, 10
_PATIENCE = 0.4
"""Seconds that a write waits for readers, all in all."""
_PAUSE = 0.001
_LAG = 16
"""Transactions that a reader may be behind before it counts as stuck."""


class Roomy(Exception):
    """There is room on the disk again: LMDB may write through its map."""


class Room:
    """Room in one store for one write.

    Args:
        opened: The store; the caller holds the gate.
        path: Its directory, for messages.
        committed: Called after every transaction.
    """

    def __init__(self, opened: Opened, path: str, committed: Callable[[], None]) -> None:
        self._opened = opened
        self._path = path
        self._committed = committed
        self._patience = _PATIENCE
        self._reserve = opened.kept_free

    def make(self, size: int, evict: Evict | None) -> None:
        """Before a transaction: make room for values of ``size`` bytes.

        Raises:
            CacheFullError: There is none.
            NoRoom: There is none on the disk, and LMDB would write through its map.
            Roomy: There is some on the disk, and LMDB need not write with calls.
        """
        opened = self._opened
        needed = size // PAGE + PATH_PAGES
        last = opened.env.info()["last_pgno"]
        if evict is None:
            needed = min(needed, last + PATH_PAGES)  # it can't change more pages than there are
        elif size > opened.pages * PAGE // _MOST_OF_ONE:
            raise full(self._path, f"a value of {size} bytes is more than a quarter of the store")
        if last + 1 + needed + self._reserve > opened.pages:
            if not opened.allocate(opened.pages) and not opened.careful:
                raise NoRoom
            if evict is not None:
                self._within(opened.pages, needed, self._reserve, evict)
            return
        wanted = last + 1 + needed + LEAST_RESERVE
        if wanted <= opened.allocated and not opened.careful:
            return
        if opened.allocate(min(opened.pages, wanted + wanted // 8)) or opened.allocate(wanted):
            if opened.careful:
                raise Roomy
            return
        if not opened.careful:
            raise NoRoom
        while opened.allocate(opened.allocated + PATH_PAGES):
            pass
        if evict is not None:
            self._within(opened.allocated, needed, LEAST_RESERVE, evict)

    def attempt(self, work: Work[T], size: int, evict: Evict | None) -> T:
        """``work`` in a transaction; in several, if LMDB can't use yet what is free.

        Raises:
            CacheFullError: It found no room.
        """
        large = size >= PAGE
        cause: Exception | None = None
        round_ = 0
        while round_ < (_MANY_ROUNDS if large else _FEW_ROUNDS):
            try:
                return self._patiently(work)
            except lmdb.Error as error:
                if not is_full(error):
                    raise
                cause = error
            if self._behind() is not None:
                break  # what was removed since can't be used, however much it is
            round_ += 1
            try:
                if evict is not None and large:
                    self._evict(evict, _BATCH << round_)
                self._round()
            except lmdb.Error as error:
                if not is_full(error):
                    raise
        raise full(self._path) from cause

    def _within(self, most: int, needed: int, reserve: int, evict: Evict) -> None:
        """Evict until ``most`` pages are enough."""
        opened = self._opened
        opened.env.reader_check()
        if most - opened.env.info()["last_pgno"] - 1 < reserve and self._is_far_behind() and not self._await_readers():
            raise full(self._path, "the store is full, and a reader that is stuck keeps what was removed")
        while True:
            with opened.env.begin() as transaction:
                used = used_pages(transaction, opened)
                entries = transaction.stat(opened.order)["entries"]
            # Those that list free pages are not counted: one for some five hundred.
            free = most - used - (opened.env.info()["last_pgno"] // 500 + 2)
            missing = needed + reserve - free
            if missing <= 0:
                return
            if not self._evict(evict, max(_BATCH, entries * missing // used)):
                raise full(self._path)

    def _evict(self, evict: Evict, count: int) -> int:
        """Evict about ``count`` entries, fewer if there is no room for removing so many at once."""
        count = min(count, _BATCH * _BATCH)
        while True:
            try:
                return self._evict_at_once(evict, count)
            except lmdb.Error as error:
                if not is_full(error) or count == 1:
                    raise
            count = max(1, count // 4)
            self._round()

    def _evict_at_once(self, evict: Evict, count: int) -> int:
        return self._patiently(lambda transaction, opened: evict(transaction, opened, count))

    def _round(self) -> None:
        """Let a transaction pass: what has just become free can be used by the one after next."""
        self._patiently(self._pass)

    @staticmethod
    def _pass(transaction: Any, opened: Opened) -> None:
        opened.control.begin(transaction.id())
        transaction.put(b"round", b"%d" % time.monotonic_ns(), db=opened.policy)

    def _patiently(self, work: Work[T]) -> T:
        """``work`` in a transaction, again if it found no room and the readers who kept it have gone on."""
        while True:
            try:
                return self._transact(work)
            except lmdb.Error as error:
                if not is_full(error):
                    raise
                self._opened.env.reader_check()
                if self._behind() is None or not self._await_readers():
                    raise

    def _transact(self, work: Work[T]) -> T:
        opened = self._opened
        with opened.begin(opened.entries, None, True, True) as transaction:
            result = work(transaction, opened)
        self._committed()
        return result

    def _behind(self) -> int | None:
        """The number of the transaction that the slowest reader sees; None if all see the last one."""
        rows = [line.split() for line in self._opened.env.readers().splitlines()]
        moments = [int(row[2]) for row in rows if len(row) == 3 and row[0].isdigit() and row[2].isdigit()]
        moment = min(moments, default=None)
        return moment if moment is not None and moment < self._opened.env.info()["last_txnid"] else None

    def _is_far_behind(self) -> bool:
        moment = self._behind()
        return moment is not None and self._opened.env.info()["last_txnid"] - moment > _LAG

    def _await_readers(self) -> bool:
        """Whether the slowest reader goes on within a moment; one that was waited for in vain is not again."""
        opened, moment = self._opened, self._behind()
        if moment is not None and moment == opened.stuck_at:
            return False
        while self._behind() == moment is not None:
            if self._patience <= 0:
                opened.stuck_at = moment
                return False
            time.sleep(_PAUSE)
            self._patience -= _PAUSE
        return self._patience > 0


def used_pages(transaction: Any, opened: Opened) -> int:
    """Pages that hold something, but not those that only list free ones."""
    used = 4
    for table in (opened.entries, opened.places, opened.order, opened.expiry, opened.policy):
        stat = transaction.stat(table)
        used += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return used
