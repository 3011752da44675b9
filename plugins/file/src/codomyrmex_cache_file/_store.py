"""`Store`: one directory as all caches of this process use it: opened when first needed, closed by the last.

Reads take no lock but note themselves in a list, so that nothing is unmapped below them. Writes go through the gate.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import lmdb

from codomyrmex.cache.errors import CacheConfigError, CacheConnectionError, CacheError, CacheFullError
from codomyrmex.cache.eviction import EvictionPolicy

from . import _boot, _forks
from ._compact import compact
from ._control import CLEAN
from ._errors import DAMAGED, OUTDATED, Damaged, NoRoom, is_full, translated
from ._gate import Gate
from ._leases import lease_of
from ._opened import Opened
from ._options import FileOptions
from ._room import Evict, Room, Roomy, Work

T = TypeVar("T")


LATER: Any = object()
"""What `Store.at_once` returns if the write is for `Store.write`."""


class Replaced(Exception):
    """The directory holds another store now, or none."""


_IDLE = 2.0
"""Seconds without a write after which the store is brought to the disk."""
_MOST_OPENINGS = 5
_SMALL = 2**14
"""Bytes of a record that is sooner copied than looked at where it is."""
_AGAIN = (*DAMAGED, *OUTDATED, NoRoom, Roomy, Replaced)
"""What another opening may mend."""


class Store:
    """A directory with its LMDB environment.

    Args:
        path: The directory.
        options: Limits, durability and the longest wait.
        policy: What to evict.

    Attributes:
        anchor: Epoch seconds at which this boot began, as all processes of the store have it; None until it is open.
    """

    _open_stores: ClassVar[dict[str, Store]] = {}
    _registry: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, path: str, options: FileOptions, policy: EvictionPolicy) -> None:
        self.path = path
        self.options = options
        self.policy = policy
        self.anchor: float | None = None
        self._caches = 0
        self._closed = False
        self._gate = Gate(path, options.timeout)
        self._opening = threading.RLock()
        self._careful = False
        self._opened: Opened | None = None
        self._retired: list[Opened] = []
        self._suspended: Opened | None = None
        _forks.watch(self)

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
            store._caches += 1
            return store

    def release(self) -> None:
        """Close the store if nobody else uses it."""
        with self._registry:
            self._caches -= 1
            if self._caches:
                return
            self._open_stores.pop(self.path, None)
        with suppress(CacheError):
            self.settle(idle=0.0)
        self._closed = True
        self._drop(self._opened)

    def get(self, key: bytes) -> bytes | None:
        """The record of one key; counts as a use."""
        return self.look(key, _copy, b"")

    def look(self, key: bytes, use: Callable[[bytes, Any], T], context: bytes) -> T | None:
        """``use(context, record)`` for the record of one key, by the shortest way; counts as a use.

        A large record is a view of LMDB's map; a small one is copied sooner than its view is sliced.
        """
        opened = self._opened
        if opened is not None and opened.writable:
            users = opened.users
            try:
                users.append(None)
                if opened is self._opened:
                    transaction = opened.begin(opened.entries, None, False, opened.views)
                    try:
                        found = transaction.get(key)
                        if found is None:
                            return None
                        opened.marks.use(key)
                        if len(found) > _SMALL:
                            opened.views = True
                            return use(context, found)
                        if opened.views:
                            found = bytes(found)
                    finally:
                        transaction.abort()
                    return use(context, found)
            except _AGAIN:
                pass
            except (lmdb.Error, OSError) as error:
                raise translated(self.path, error) from error
            finally:
                users.pop()

        def work(transaction: Any, opened: Opened) -> T | None:
            found = transaction.get(key, db=opened.entries)
            if found is None:
                return None
            opened.marks.use(key)
            return use(context, found)

        return self.read(work)

    def read(self, work: Work[T]) -> T:
        """``work`` in a transaction that sees one moment.

        Raises:
            CacheConnectionError: The store can't be read.
        """
        return self.using(lambda opened: opened.read(work))

    def write(
        self,
        work: Work[T],
        committed: Callable[[], None],
        size: int,
        evict: Evict | None = None,
        otherwise: Work[T] | None = None,
    ) -> T:
        """``work`` in a write transaction, under the gate; it may be called again if it runs out of room.

        Args:
            work: Writes.
            committed: Called after every transaction, before anybody else may write.
            size: Bytes that it writes.
            evict: Makes room for them, by so many entries; None for what only removes, and may use the last reserve.
            otherwise: For a removal that must not fail: what it does if there is no room, in a transaction that only
                reads.

        Raises:
            CacheFullError: There is no room.
            CacheConnectionError: The store can't be written, or the gate did not open in time.
        """

        def write(opened: Opened) -> T:
            if not opened.writable:
                raise CacheConnectionError(f"{self.path} may only be read")
            if not opened.current:
                raise Replaced(f"{self.path} was replaced again and again")
            return self._write(opened, work, committed, size, evict, otherwise)

        return self.using(lambda opened: self._gate.held(opened.descriptor, lambda: write(opened)))

    def at_once(self, work: Callable[..., T], size: int, look: bool, committed: Callable[[], None], *args: Any) -> T:
        """``work(transaction, opened, *args)`` as `write` does it, if it needs nothing else: see `Ready`.

        `LATER` if it does, and nothing has changed.

        Args:
            work: Writes.
            size: Bytes that it writes.
            look: See whether somebody has removed the data file, and not only once in a second. Who uses this driver to
                replace it is noticed in any case.
            committed: As in `write`.
            args: For ``work``.

        Raises:
            CacheConnectionError: The gate did not open in time.
            CacheFullError: The eviction policy lets nothing go.
        """
        opened, gate = self._opened, self._gate
        if opened is None or gate.mine():
            return LATER  # type: ignore[no-any-return]
        users = opened.users
        try:
            users.append(None)
            if opened is not self._opened:
                return LATER  # type: ignore[no-any-return]
            descriptor = opened.descriptor
            try:
                gate.enter(descriptor)
                if (look and not opened.current) or not opened.ready.write(size):
                    return LATER  # type: ignore[no-any-return]
                with opened.begin(opened.entries, None, True, True) as transaction:
                    result = work(transaction, opened, *args)
                committed()
                return result
            finally:
                gate.leave(descriptor)
        except (lmdb.Error, OSError, Damaged) as error:
            if not (isinstance(error, _AGAIN) or is_full(error)):
                raise translated(self.path, error) from error
            return LATER  # type: ignore[no-any-return] # the long way meets it again, and knows what to do
        finally:
            if gate.mine():  # a signal handler may have raised on the way into the other one
                gate.leave(opened.descriptor)
            users.pop()

    def using(self, work: Callable[[Opened], T]) -> T:
        """``work`` on the store, which is open and stays so; opened again in another way or anew where that may help.

        Raises:
            CacheError: Whatever went wrong.
        """
        openings = 0
        while True:
            opened = self.opened()
            users = opened.users
            try:
                users.append(None)
                if opened is not self._opened:
                    continue
                return work(opened)
            except _AGAIN as error:
                problem = error
            except (lmdb.Error, OSError) as error:
                raise translated(self.path, error) from error
            finally:
                users.pop()
            openings += 1
            self._mend(opened, problem, last=openings == _MOST_OPENINGS)

    def settle(self, idle: float = _IDLE) -> None:
        """Bring the store to the disk and mark it clean, if nobody has written for ``idle`` seconds."""
        opened = self._opened
        if opened is None or not opened.writable or opened.control.state == CLEAN or opened.control.idle < idle:
            return

        def mark() -> None:
            if opened.current and opened.control.state != CLEAN and opened.control.idle >= idle:
                opened.mark_clean()

        users = opened.users
        try:
            users.append(None)
            if opened is self._opened and opened.current:
                opened.sync()  # most of it, while others may write
                self._gate.held(opened.descriptor, mark)
        except (lmdb.Error, OSError) as error:
            raise translated(self.path, error) from error
        finally:
            users.pop()

    def compact(self) -> int:
        """Give back the disk space of free pages; how many bytes.

        Raises:
            CacheFullError: There is no room for a copy.
            CacheConnectionError: The store can't be written, or the gate did not open in time.
        """

        def work(opened: Opened) -> int:
            if not opened.writable:
                raise CacheConnectionError(f"{self.path} may only be read")
            if not opened.current:
                raise Replaced(f"{self.path} was replaced again and again")
            return compact(opened)

        try:
            return self.using(lambda opened: self._gate.held(opened.descriptor, lambda: work(opened)))
        finally:
            self.check()

    def check(self) -> None:
        """Now and then: see whether the store that is open is still the one that is there, and may still be written."""
        opened = self._opened
        if opened is not None:
            sound = opened.current and opened.complete
            if not sound or (not opened.writable and os.access(self.path, os.W_OK)):
                self._drop(opened)
            else:
                self.forget_leases()

    def forget_leases(self) -> None:
        """Let go of the leases of this process that are in no record any more."""
        self.using(lambda opened: opened.leases.forget(lambda key: lease_of(self.get(key))))

    def opened(self) -> Opened:
        """The store, open.

        Raises:
            CacheConnectionError: It can't be opened.
        """
        opened = self._opened
        if opened is not None:
            return opened
        try:
            return self._open()
        except CacheFullError as error:
            raise CacheConnectionError(f"{self.path}: it can't be begun: {error.message}") from error
        except (lmdb.Error, OSError, Damaged) as error:
            if is_full(error):
                raise CacheConnectionError(f"{self.path}: it can't be begun: there is no room on the disk") from error
            raise translated(self.path, error) from error

    def _write(
        self,
        opened: Opened,
        work: Work[T],
        committed: Callable[[], None],
        size: int,
        evict: Evict | None,
        otherwise: Work[T] | None,
    ) -> T:
        opened.begin_writing()
        room = Room(opened, self.path, committed)
        try:
            room.make(size, evict)
            result = room.attempt(work, size, evict)
        except CacheFullError:
            if otherwise is None:
                raise
            with opened.env.begin(buffers=True) as transaction:
                result = otherwise(transaction, opened)
        opened.control.wrote(_boot.since_boot())
        return result

    def _open(self) -> Opened:
        with self._opening:
            if self._closed:
                raise CacheConnectionError(f"{self.path} is closed")
            if self._opened is None and self._suspended is not None:
                if self._suspended.env is None:
                    self._suspended.open_env()
                self._opened, self._suspended = self._suspended, None
            if self._opened is None:
                self._bury(0.0)
                try:
                    opened = Opened(self.path, self.options, self.policy, self._gate, careful=self._careful)
                except NoRoom:
                    self._careful = True
                    opened = Opened(self.path, self.options, self.policy, self._gate, careful=True)
                self.anchor = opened.anchor
                self._opened = opened
            return self._opened

    def _mend(self, opened: Opened, problem: Exception, *, last: bool) -> None:
        """Close a store so that it is opened again, in another way or anew."""
        damaged = isinstance(problem, DAMAGED)
        if last or (damaged and not opened.writable):
            raise translated(self.path, problem) from problem

        def set_aside() -> None:
            if opened.current:
                opened.set_aside(str(problem))

        if damaged:
            try:
                with self._opening:  # another thread that has met the same damage may be about to close it
                    if opened is self._opened:
                        self._gate.held(opened.descriptor, set_aside)
            except OSError as error:
                raise translated(self.path, error) from error
        self._careful = isinstance(problem, NoRoom) or (self._careful and not isinstance(problem, Roomy))
        self._drop(opened)

    def _drop(self, opened: Opened | None) -> None:
        """Close ``opened`` if it is what is open, once nobody uses it any more."""
        with self._opening:
            if opened is not None and opened is self._opened:
                self._opened = None
                self._retired.append(opened)
            if self._closed and self._suspended is not None:
                self._retired.append(self._suspended)
                self._suspended = None
            self._bury(self.options.timeout)

    def _bury(self, patience: float) -> None:
        for opened in list(self._retired):
            self._await_users(opened, patience)
            if not opened.users:
                self._retired.remove(opened)
                opened.close()

    @staticmethod
    def _await_users(opened: Opened, patience: float) -> None:
        deadline = time.monotonic() + patience
        while opened.users and time.monotonic() < deadline:
            time.sleep(0.0001)

    def before_fork(self) -> None:
        """See `_forks.py`."""
        self._opening.acquire()
        opened, self._opened = self._opened, None
        self._suspended = opened or self._suspended
        if opened is not None:
            self._await_users(opened, 2 * self.options.timeout)
            if not opened.users:
                opened.close_env()

    def after_fork_in_parent(self) -> None:
        """See `_forks.py`."""
        try:
            if self._suspended is not None:
                self._open()
        except Exception as error:  # tried again at the next use
            logging.getLogger("codomyrmex.cache").debug("%s is not open after a fork: %s", self.path, error)
        finally:
            self._opening.release()

    def after_fork_in_child(self) -> None:
        """See `_forks.py`."""
        self._gate = Gate(self.path, self.options.timeout)
        self._opening = threading.RLock()
        opened, self._suspended = self._suspended, None
        if opened is not None and opened.env is None:
            opened.close()
        elif opened is not None:  # somebody was in the middle of a call: closing it would be the parent's loss
            _abandoned.append(opened)


def _copy(_: bytes, record: Any) -> bytes:
    return bytes(record)


_abandoned: list[Opened] = []
"""Stores of the parent that a child can't close."""
