"""`Store`: one directory as all caches of this process use it: opened when first needed, closed by the last.

Reads take no lock but note themselves in a list, so that nothing is unmapped below them. Writes go through the gate.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import lmdb

from codomyrmex.cache.errors import CacheConfigError, CacheConnectionError, CacheError, CacheFullError
from codomyrmex.cache.eviction import EvictionPolicy

from ._gate import Gate
from ._opened import _LOST, PAGE, Opened
from ._options import FileOptions

T = TypeVar("T")
Work = Callable[[Any, Opened], T]
Evict = Callable[[Any, Opened, int], int]

_IDLE = 2.0
"""Seconds without a write after which the store is brought to the disk."""
_PATH_PAGES = 24
"""Pages that a transaction may need beside those for its values: the ways to the places where it writes."""
_BATCH = 16
_MOST_ROUNDS = 10
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Store:
    """A directory with its LMDB environment.

    Args:
        path: The directory.
        options: Limits, durability and the longest wait.
        policy: What to evict.
    """

    _open_stores: ClassVar[dict[str, Store]] = {}
    _registry: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, path: str, options: FileOptions, policy: EvictionPolicy) -> None:
        self.path = path
        self.options = options
        self.policy = policy
        self._users = 0
        self._closed = False
        self._gate = Gate(path, options.timeout)
        self._opening = threading.RLock()
        self._readers: list[None] = []
        self._opened: Opened | None = None
        _stores.add(self)

    @classmethod
    def at(cls, path: str, options: FileOptions, policy: EvictionPolicy) -> Store:
        """The store of a directory: the same object for all who use it, each of whom calls `release` once."""
        path = os.path.abspath(path)
        with cls._registry:
            store = cls._open_stores.get(path)
            if store is None:
                store = cls._open_stores[path] = cls(path, options, policy)
            elif store.options != options or type(store.policy) is not type(policy):
                raise CacheConfigError(f"{path} is open in this process with other options")
            store._users += 1
            return store

    def release(self) -> None:
        """Close the store if nobody else uses it."""
        with self._registry:
            self._users -= 1
            if self._users:
                return
            self._open_stores.pop(self.path, None)
        with suppress(CacheError):
            self.settle(idle=0.0)
        self._closed = True
        self._drop()

    def read(self, work: Work[T]) -> T:
        """``work`` in a transaction that sees one moment.

        Raises:
            CacheConnectionError: The store can't be read.
        """
        for attempt in (True, False):
            self._readers.append(None)
            try:
                opened = self._opened or self._open()
                with opened.env.begin(buffers=True) as transaction:
                    return work(transaction, opened)
            except _LOST as error:
                damage: Exception = error
            except (lmdb.Error, OSError) as error:
                raise self._translated(error) from error
            finally:
                self._readers.pop()
            self._heal(damage, again=attempt)
        raise AssertionError

    def get(self, key: bytes) -> bytes | None:
        """The record of one key, by the shortest way."""
        readers = self._readers
        readers.append(None)
        try:
            opened = self._opened or self._open()
            with opened.env.begin(opened.entries) as transaction:
                return transaction.get(key)  # type: ignore[no-any-return]
        except _LOST:
            pass
        except (lmdb.Error, OSError) as error:
            raise self._translated(error) from error
        finally:
            readers.pop()
        return self.read(lambda transaction, opened: _bytes(transaction.get(key, db=opened.entries)))

    def write(self, work: Work[T], committed: Callable[[], None], size: int = 0, evict: Evict | None = None) -> T:
        """``work`` in a write transaction, under the gate; it may be called again if it runs out of room.

        Args:
            work: Writes.
            committed: Called after every transaction, before anybody else may write.
            size: Bytes of the values that it stores.
            evict: Makes room for them, by so many entries; None for what only removes, and may use the last reserve.

        Raises:
            CacheFullError: There is no room.
            CacheConnectionError: The store can't be written, or the gate did not open in time.
        """
        try:
            return self._write(work, committed, size, evict)
        except _LOST as error:
            damage = error
        self._heal(damage, again=True)
        try:
            return self._write(work, committed, size, evict)
        except _LOST as error:
            raise self._translated(error) from error

    def _write(self, work: Work[T], committed: Callable[[], None], size: int, evict: Evict | None) -> T:
        opened = self._enter()
        try:
            if evict is not None:
                self._make_room(opened, size, evict, committed)
            result = self._attempt(opened, work, evict, committed)
            if self.options.durability == "disk":
                opened.sync()
            opened.control.wrote()
            return result
        except _LOST:
            raise
        except (lmdb.Error, OSError) as error:
            raise self._translated(error) from error
        finally:
            self._gate.release(opened.descriptor)

    def settle(self, idle: float = _IDLE) -> None:
        """Bring the store to the disk and mark it clean, if nobody has written for ``idle`` seconds."""
        opened = self._opened
        if opened is None or not opened.control.dirty or opened.control.idle < idle:
            return
        try:
            if not opened.current:
                return
            opened.sync()  # most of it, while others may write
            self._gate.acquire(opened.descriptor)
            try:
                if opened.control.dirty and opened.control.idle >= idle:
                    opened.mark_clean()
            finally:
                self._gate.release(opened.descriptor)
        except (lmdb.Error, OSError) as error:
            raise self._translated(error) from error

    def check(self) -> None:
        """Notice if the directory has been replaced or deleted: what is there now is opened when next needed."""
        opened = self._opened
        if opened is not None and not opened.current:
            self._drop()

    def opened(self) -> Opened:
        """The store, open.

        Raises:
            CacheConnectionError: It can't be opened.
        """
        try:
            return self._opened or self._open()
        except (lmdb.Error, OSError) as error:
            raise self._translated(error) from error

    def used_pages(self, transaction: Any, opened: Opened) -> int:
        """Pages that hold something, but not those that only list free ones."""
        used = 4
        for table in (opened.entries, opened.places, opened.order, opened.expiry, opened.policy):
            stat = transaction.stat(table)
            used += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return used

    def _enter(self) -> Opened:
        """Open the gate of the store that is there now."""
        while True:
            opened = self.opened()
            self._gate.acquire(opened.descriptor)
            try:
                if opened.current and opened is self._opened:
                    if not opened.control.dirty:
                        opened.control.mark_dirty()
                    return opened
            except BaseException as error:
                self._gate.release(opened.descriptor)
                if isinstance(error, OSError):
                    raise self._translated(error) from error
                raise
            self._gate.release(opened.descriptor)
            self._drop()

    def _attempt(self, opened: Opened, work: Work[T], evict: Evict | None, committed: Callable[[], None]) -> T:
        for round_ in range(_MOST_ROUNDS):
            try:
                with opened.env.begin(write=True, buffers=True) as transaction:
                    result = work(transaction, opened)
            except lmdb.MapFullError:
                # Free pages may be too few, or too scattered for a large value; those that have just become free
                # can be used by the transaction after next.
                opened.env.reader_check()
                if evict is not None:
                    self._evict(opened, evict, _BATCH << round_, committed)
                with opened.env.begin(write=True) as transaction:
                    transaction.put(b"round", b"%d" % round_, db=opened.policy)
            else:
                committed()
                return result
        raise self._full()

    def _make_room(self, opened: Opened, size: int, evict: Evict, committed: Callable[[], None]) -> None:
        needed = size // PAGE + _PATH_PAGES
        reserve = max(_PATH_PAGES, opened.pages // 64)
        wanted = opened.env.info()["last_pgno"] + needed + reserve
        if wanted <= opened.allocated:
            return
        ahead = min(opened.pages, wanted + wanted // 8)
        if opened.allocate(ahead) or opened.allocate(wanted):
            return
        if needed + 2 * reserve > opened.pages:
            raise self._full()
        opened.env.reader_check()
        while True:
            with opened.env.begin() as transaction:
                used = self.used_pages(transaction, opened)
            # Those that list free pages are not counted: one for some five hundred.
            last = opened.env.info()["last_pgno"]
            free = opened.allocated - used - (last // 500 + 2)
            if free >= needed + reserve:
                return
            if not self._evict(opened, evict, _BATCH, committed):
                raise self._full()

    def _evict(self, opened: Opened, evict: Evict, count: int, committed: Callable[[], None]) -> int:
        with opened.env.begin(write=True, buffers=True) as transaction:
            evicted = evict(transaction, opened, count)
        committed()
        return evicted

    def _open(self) -> Opened:
        with self._opening:
            if self._closed:
                raise CacheConnectionError(f"{self.path} is closed", backend="file_based")
            if self._opened is None:
                self._opened = Opened(self.path, self.options, self.policy, self._gate)
            return self._opened

    def _drop(self) -> None:
        """Close what is open, once nobody reads it any more."""
        with self._opening:
            opened, self._opened = self._opened, None
            if opened is None:
                return
            deadline = time.monotonic() + self.options.timeout
            while self._readers and time.monotonic() < deadline:
                time.sleep(0.0001)
            opened.close()

    def _heal(self, error: Exception, *, again: bool) -> None:
        """Set a store aside that LMDB finds damaged; the next use begins anew."""
        opened = self._opened
        if not again or opened is None:
            raise self._translated(error) from error
        self._gate.acquire(opened.descriptor)
        try:
            if opened.current:
                opened.set_aside(str(error))
        except OSError as problem:
            raise self._translated(problem) from problem
        finally:
            self._gate.release(opened.descriptor)
        self._drop()

    def _full(self) -> CacheFullError:
        return CacheFullError(f"{self.path}: the store is full and nothing may be evicted", backend="file_based")

    def _translated(self, error: Exception) -> CacheError:
        """The one place where foreign errors become the cache's."""
        if isinstance(error, OSError):
            if error.errno in _FULL:
                return CacheFullError(f"{self.path}: there is no room on the disk", backend="file_based")
            return CacheConnectionError(f"{self.path}: {error.strerror}", backend="file_based")
        if isinstance(error, lmdb.MapFullError):
            return self._full()
        return CacheConnectionError(f"{self.path}: {error}", backend="file_based")

    # A child has the memory of its parent, but none of its threads and locks.

    def _before_fork(self) -> None:
        self._opening.acquire()
        self._gate._lock.acquire()

    def _after_fork_in_parent(self) -> None:
        self._gate._lock.release()
        self._opening.release()

    def _after_fork_in_child(self) -> None:
        self._gate = Gate(self.path, self.options.timeout)
        self._opening = threading.RLock()
        self._readers = []
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()


def _bytes(found: Any) -> bytes | None:
    return None if found is None else bytes(found)


_stores: weakref.WeakSet[Store] = weakref.WeakSet()


def _each(method: str) -> Callable[[], None]:
    def call() -> None:
        for store in list(_stores):
            getattr(store, method)()

    return call


os.register_at_fork(
    before=_each("_before_fork"),
    after_in_parent=_each("_after_fork_in_parent"),
    after_in_child=_each("_after_fork_in_child"),
)
