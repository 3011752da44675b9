"""`Opened`: a store that is open, and how it is opened: checked first, then handed to LMDB.

Everything here happens under the gate's file lock, one process at a time. A shared lock on the file ``users`` is held
as long as a store is open; who gets it exclusively is alone, and looks for damage.

LMDB writes through its map, which is several times faster, as long as the disk has room for what it writes: a page of
a map that the disk has no room for ends the process. Where `allocate` fails the store is opened again without, and
LMDB writes with calls that return an error (``careful``).
"""

from __future__ import annotations

import fcntl
import logging
import os
import resource
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

import lmdb

from codomyrmex.cache.errors import CacheConnectionError
from codomyrmex.cache.eviction import EvictionPolicy

from . import _boot, _census, _compact, _control, _folder
from ._control import CLEAN, DIRTY, ORDERED, Control
from ._errors import DAMAGED, Damaged, NoRoom
from ._gate import Gate
from ._leases import Leases
from ._marks import SIZE_OF_ONE, Marks
from ._options import FileOptions
from ._ready import PAGE, Ready
from ._strike import strike
from ._verify import verify

T = TypeVar("T")

_FIRST_PAGES = 64
LEAST_RESERVE = 64
_SHARE_OF_RESERVE = 32
_READERS = 1024
_LOCK_SIZE = 65664
"""Of LMDB's lock file for so many readers. It is made beforehand: LMDB maps it without asking the disk for room."""
_TABLES = ("entries", "places", "order", "expiry", "policy")
_SMALLEST, _LARGEST = 2**20, 2**46
_FEWEST_MARKS, _MOST_MARKS = 10, 20
"""As powers of two."""


class Opened:
    """An LMDB environment with its tables, and what stands beside it.

    Args:
        path: Its directory.
        options: Its limits.
        policy: What its marks have to say.
        gate: Keeps other processes out while it is being opened.
        careful: Don't write through the map.

    Attributes:
        env: The environment.
        entries, places, order, expiry, policy: The tables.
        control: What all processes share.
        marks: What reads leave behind.
        leases: Which loads of other processes are alive.
        descriptor: Of the file that the gate locks.
        pages: How many pages the file may have.
        allocated: How many of them are known to be on the disk.
        views: Whether it is known to hold records that are worth being read where they are.
        careful: Whether LMDB writes with calls, not through the map.
        writable: Whether this process may write at all.
        kept_free: How many of them are left alone by what stores something.
        begin: ``env.begin``.
        ready: Whether a write needs nothing but its transaction.
        anchor: See `Control.anchor`.
        users: One item for each call that is using it now.
        stuck_at: Number of the transaction that a reader sees who was waited for in vain.

    Raises:
        OSError: Something can't be made or read.
        lmdb.Error: LMDB can't open it.
        Damaged: It is damaged, and this process may not write to it.
    """

    env: Any = None
    begin: Any
    ready: Any = None
    entries: Any
    places: Any
    order: Any
    expiry: Any
    policy: Any

    def __init__(
        self, path: str, options: FileOptions, policy: EvictionPolicy, gate: Gate, *, careful: bool = False
    ) -> None:
        self._path = path
        self._data = os.path.join(path, "data.mdb")
        self._lock = os.path.join(path, "lock.mdb")
        self._options = options
        self._policy = policy
        self._gate = gate
        self.careful = careful
        self.allocated = 0
        self.users: list[None] = []
        self.stuck_at: int | None = None
        self.writable = True
        self.views = False
        with ExitStack() as self._open_files:
            try:
                _folder.prepare(path)
                self.descriptor = self._file("control", _control.SIZE)
                self._users = self._file("users", 0)
            except OSError as error:
                if error.errno not in _folder.READ_ONLY:
                    raise
                self.writable = False
                self.descriptor = self._file("control", _control.SIZE)
                self._users = self._file("users", 0)
            self.control = Control(self.descriptor, writable=self.writable)
            self._open_files.callback(self.control.close)
            self.leases = Leases(path, self.writable)
            self._open_files.callback(self.leases.close)
            self.marks = self._make_marks()
            self._open_files.callback(self.marks.close)
            gate.held(self.descriptor, self._open_checked)
            self._open_files = self._open_files.pop_all()

    @property
    def current(self) -> bool:
        """Whether the store is still the one that was opened: nobody has replaced or deleted it."""
        try:
            found = os.stat(self._data)
        except OSError:
            return False
        control = self.control
        if (found.st_dev, found.st_ino) != self._identity or not control.ready(None, self.ready.replaced):
            return False
        self.ready.seen()
        return True

    @property
    def complete(self) -> bool:
        """Whether LMDB's lock file is there as well."""
        return not self.writable or os.path.exists(self._lock)

    def allocate(self, pages: int) -> bool:
        """Make sure that the disk holds so many pages of the file; False if it has no room, or they are too many.

        Raises:
            OSError: Something else is wrong.
        """
        if pages <= self.allocated:
            return True
        if pages > self.pages:
            return False
        try:
            self._grow(pages)
        except OSError as error:
            if error.errno not in _folder.FULL:
                raise
            try:  # what was set aside is kept only as long as nobody needs its room
                os.unlink(os.path.join(self._path, "damaged.mdb"))
                self._grow(pages)
            except OSError:
                return False
        return True

    def _grow(self, pages: int) -> None:
        descriptor = os.open(self._data, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _folder.allocate(descriptor, self.allocated * PAGE, pages * PAGE)
        finally:
            os.close(descriptor)
        self.allocated = pages
        self._plan()

    def _plan(self) -> None:
        most = min(self.allocated - LEAST_RESERVE, self.pages - self.kept_free)
        self.ready.last = -1 if self.careful or not self.writable else most

    def begin_writing(self) -> None:
        """Before anything is written: make sure that a power cut meanwhile is noticed; the caller holds the gate."""
        state = self.control.state
        if self._options.durability == "disk":
            if state == DIRTY:
                self.sync()
            if state != ORDERED:
                self.control.mark(ORDERED)
        elif state != DIRTY:
            self.control.mark(DIRTY)

    def sync(self) -> None:
        """Bring everything to the disk."""
        self.env.sync(True)

    def mark_clean(self) -> None:
        """Bring everything to the disk and say so; the caller holds the gate."""
        self.sync()
        self.control.mark_clean(os.stat(self._data))

    def set_aside(self, reason: str) -> None:
        """Keep the data file under another name, and let the next who opens the store begin anew.

        The caller holds the gate.
        """
        logging.getLogger("codomyrmex.cache").warning("%s is set aside, and begun anew: %s", self._data, reason)
        self.control.will_be_replaced()
        os.replace(self._data, os.path.join(self._path, "damaged.mdb"))
        self._begin_anew()

    def read(self, work: Callable[[Any, Opened], T]) -> T:
        """``work`` in a transaction that sees one moment."""

        def read() -> T:
            with self.env.begin(buffers=True) as transaction:
                return work(transaction, self)

        # LMDB sees to it that nobody writes over what is read, if it may write to its lock file.
        return read() if self.writable else self._gate.held(self.descriptor, read, shared=True)

    def strike(self, keys: Iterable[bytes]) -> None:
        """Make the records of ``keys`` unreadable without a transaction; the caller holds the gate."""
        strike(self._data, _TABLES[0].encode(), keys)

    def close(self) -> None:
        """Release all of it; nobody may be using it."""
        self._open_files.close()

    def close_env(self) -> None:
        """Release the environment only."""
        env, self.env = self.env, None
        if env is not None:
            env.close()
        if self.ready is not None:
            self.ready.close()

    def open_env(self) -> None:
        """Open the environment again after `close_env`."""
        self._gate.held(self.descriptor, lambda: self._open(alone=False))

    def _file(self, name: str, size: int) -> int:
        path = os.path.join(self._path, name)
        descriptor = _folder.open_file(path, size) if self.writable else _folder.read_file(path)
        self._open_files.callback(os.close, descriptor)
        if os.fstat(descriptor).st_size < size:
            raise Damaged(f"{path} is cut")
        return descriptor

    def _make_marks(self) -> Marks:
        count = 1 << max(_FEWEST_MARKS, min(_MOST_MARKS, (self._options.max_bytes // PAGE).bit_length()))
        try:
            descriptor = _folder.open_file(os.path.join(self._path, "marks"), count * SIZE_OF_ONE)
        except OSError:  # a disk that is full already, or may only be read; then they are this process's own
            return Marks(None, count, self._policy.marks, self.control)
        try:
            return Marks(descriptor, count, self._policy.marks, self.control)
        finally:
            os.close(descriptor)

    def _open_checked(self) -> None:
        alone = self._take_part()
        try:
            if self.writable and self.control.compacting:
                _compact.finish(self)
            sound = self._check(alone)
            self._open(alone)
            _census.carry_over(self, self._policy, alone=alone)
            if alone and not sound:
                _census.take(self, self._policy)
        except DAMAGED as error:
            if not self.writable:
                raise
            self.close_env()
            self.set_aside(str(error))
            self._open(alone)
            _census.carry_over(self, self._policy, alone=alone)
        self._open_files.callback(self.close_env)
        self.anchor = self.control.anchor

    def _take_part(self) -> bool:
        """Be known as a user of the store; whether there is no other."""
        alone = True
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        fcntl.flock(self._users, fcntl.LOCK_SH)
        return alone

    def _check(self, alone: bool) -> bool:
        """Look for what LMDB should not see; whether the store was left in good order."""
        control = self.control
        if not os.path.exists(self._data):
            if not self.writable:
                raise CacheConnectionError(f"{self._path}: there is no store here, and none can be made")
            self._begin_anew()
            return True
        if not control.valid:
            raise Damaged("what belongs beside it is missing")
        if alone:
            if control.state == DIRTY and control.boot != _boot.boot_id():
                raise Damaged("the machine went down before it was brought to the disk")
            sound = control.state == CLEAN and control.matches(os.stat(self._data))
            verify(self._data, pages=not sound)
        elif not os.path.exists(self._lock):
            raise Damaged("others use it, but part of it was removed")
        else:
            sound = True  # the first to open it has seen to that
        if self.writable:
            control.start(anew=False)
        return sound

    def _begin_anew(self) -> None:
        # LMDB's numbers of transactions stand in its lock file: it must not outlive the data.
        with suppress(FileNotFoundError):
            os.unlink(self._lock)
        self.control.start(anew=True)
        self.allocated = 0

    def _open(self, alone: bool) -> None:
        before = os.stat(self._data) if os.path.exists(self._data) else None
        size = 0 if before is None else before.st_size
        if not size:
            self.begin_writing()
        if self.writable:
            os.close(_folder.open_file(self._lock, _LOCK_SIZE))
        # What is no part of the map is cut off the file: another process may be using it.
        self._open_lmdb(_map_size(self._options.max_bytes) if alone else max(_map_size(self._options.max_bytes), size))
        self.begin = self.env.begin
        try:
            self.pages = self.env.info()["map_size"] // PAGE
            self.kept_free = max(LEAST_RESERVE, self.pages // _SHARE_OF_RESERVE)
            found = os.stat(self._data)
            self._identity = found.st_dev, found.st_ino
            if before is not None and self.control.state == CLEAN and self.control.matches(before) and self.writable:
                self.control.note(found)  # LMDB sets the size of a file that it opens, and so its time
            state = ORDERED if self._options.durability == "disk" else DIRTY
            self.ready = Ready(self.control, self._data, self.env.stat()["psize"], state)
            self._plan()
            self._open_tables()
        except BaseException:
            self.close_env()
            raise

    def _open_lmdb(self, size: int) -> None:
        ordered = self._options.durability == "disk"
        self.env = lmdb.open(
            self._path,
            map_size=size,
            readonly=not self.writable,
            lock=self.writable,
            writemap=self.writable and not self.careful,
            map_async=not ordered,
            sync=ordered,
            metasync=ordered,
            create=self.writable,
            mode=0o600,
            max_dbs=len(_TABLES),
            max_readers=_READERS,
            max_spare_txns=8,
        )

    def _open_tables(self) -> None:
        if self.writable:
            self.env.reader_check()
        complete = True
        for table in _TABLES:
            try:
                setattr(self, table, self.env.open_db(table.encode(), create=False))
            except lmdb.NotFoundError:
                complete = False
        if not complete:
            if not self.writable:
                raise Damaged("it was not finished")
            self.begin_writing()
            self.reserve(_FIRST_PAGES)
            for table in _TABLES:
                setattr(self, table, self.env.open_db(table.encode()))

    def reserve(self, pages: int) -> None:
        """Make sure that so many pages can be written beyond the last one in use.

        Raises:
            NoRoom: The disk has no room for them, and LMDB would write through its map.
        """
        wanted = min(self.env.info()["last_pgno"] + 1 + pages, self.pages)
        if not self.allocate(wanted) and not self.careful:
            raise NoRoom


def _map_size(limit: int) -> int:
    """The size of the map for a limit: what this process may make a file of, in whole pages.

    A little less than the limit: the file system needs some pages too, to know where the file's are.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = limit if most == resource.RLIM_INFINITY else min(limit, most)
    size = max(_SMALLEST, min(size, _LARGEST))
    return (size - size // 64) // PAGE * PAGE
