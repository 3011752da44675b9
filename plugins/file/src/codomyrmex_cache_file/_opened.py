"""`Opened`: a store that is open, and how it is opened: checked first, then handed to LMDB.

Everything here happens under the gate's file lock, one process at a time. A shared lock on the file ``users`` is held
as long as a store is open; who gets it exclusively is alone, and may set a damaged store aside.
"""

from __future__ import annotations

import fcntl
import logging
import os
import resource
from contextlib import suppress
from typing import Any

import lmdb

from codomyrmex.cache.errors import CacheFullError
from codomyrmex.cache.eviction import EvictionPolicy

from . import _boot, _control, _folder
from ._control import Control
from ._gate import Gate
from ._marks import SIZE_OF_ONE, Marks
from ._options import FileOptions
from ._verify import Damaged, verify

PAGE = 4096
_FIRST_PAGES = 32
_READERS = 1024
_TABLES = ("entries", "places", "order", "expiry", "policy")
_SMALLEST, _LARGEST = 2**20, 2**46
_FEWEST_MARKS, _MOST_MARKS = 10, 20
"""As powers of two."""
_LOST = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.PageNotFoundError, lmdb.PanicError)
"""What LMDB says of a file that is damaged."""


class Opened:
    """An LMDB environment with its tables, and what stands beside it.

    Args:
        path: Its directory.
        options: Its limits.
        policy: What its marks have to say.
        gate: Keeps other processes out while it is being opened.

    Attributes:
        env: The environment.
        entries, places, order, expiry, policy: The tables.
        control: What all processes share.
        marks: What reads leave behind.
        descriptor: Of the file that the gate locks.
        pages: How many pages the file may have.
        allocated: How many of them are known to be on the disk.

    Raises:
        OSError: Something can't be made or read.
        lmdb.Error: LMDB can't open it.
    """

    entries: Any
    places: Any
    order: Any
    expiry: Any
    policy: Any

    def __init__(self, path: str, options: FileOptions, policy: EvictionPolicy, gate: Gate) -> None:
        self._path = path
        self._data = os.path.join(path, "data.mdb")
        self.allocated = 0
        _folder.prepare(path)
        self.descriptor = _folder.open_file(os.path.join(path, "control"), _control.SIZE)
        try:
            self._users = _folder.open_file(os.path.join(path, "users"), 0)
        except BaseException:
            os.close(self.descriptor)
            raise
        self.control = Control(self.descriptor)
        self.env: Any = None
        self.marks = self._marks(options, policy)
        gate.acquire(self.descriptor)
        try:
            self.pages = _map_size(options.max_bytes) // PAGE
            self._check()
            try:
                self._open()
            except _LOST as error:
                self._close_env()
                self.set_aside(str(error))
                self.control.start(anew=True)
                self._open()
        except BaseException:
            self.close()
            raise
        finally:
            gate.release(self.descriptor)

    @property
    def current(self) -> bool:
        """Whether the store is still the one that was opened: nobody has replaced or deleted it."""
        try:
            found = os.stat(self._data)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def allocate(self, pages: int) -> bool:
        """Make sure that the disk holds so many pages of the file; False if it has no room."""
        if pages <= self.allocated:
            return True
        if pages > self.pages:
            return False
        descriptor = os.open(self._data, os.O_RDWR | os.O_CLOEXEC)
        try:
            _folder.allocate(descriptor, self.allocated * PAGE, pages * PAGE)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        self.allocated = pages
        return True

    def sync(self) -> None:
        """Bring everything to the disk."""
        self.env.sync(True)

    def mark_clean(self) -> None:
        """Bring everything to the disk and say so; the caller holds the gate."""
        self.sync()
        self.control.mark_clean(os.stat(self._data))

    def close(self) -> None:
        """Release all of it; nobody may be reading."""
        self._close_env()
        self.marks.close()
        self.control.close()
        os.close(self._users)
        os.close(self.descriptor)

    def _marks(self, options: FileOptions, policy: EvictionPolicy) -> Marks:
        count = 1 << max(_FEWEST_MARKS, min(_MOST_MARKS, (options.max_bytes // PAGE).bit_length()))
        try:
            descriptor = _folder.open_file(os.path.join(self._path, "marks"), count * SIZE_OF_ONE)
        except OSError:  # a disk that is full already; then they are this process's own
            return Marks(None, count, policy.marks, self.control)
        try:
            return Marks(descriptor, count, policy.marks, self.control)
        finally:
            os.close(descriptor)

    def _close_env(self) -> None:
        if self.env is not None:
            self.env.close()
            self.env = None

    def _check(self) -> None:
        """Set aside what LMDB should not see."""
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Others have it open: they have checked it.
            fcntl.flock(self._users, fcntl.LOCK_SH)
            return
        control, exists = self.control, os.path.exists(self._data)
        if exists:
            try:
                self._judge()
            except Damaged as error:
                self.set_aside(str(error))
                exists = False
        control.start(anew=not exists)
        fcntl.flock(self._users, fcntl.LOCK_SH)

    def _judge(self) -> None:
        control = self.control
        if not control.valid:
            raise Damaged("what belongs beside it is missing")
        if control.dirty and control.boot != _boot.boot_id():
            raise Damaged("the machine went down before it was brought to the disk")
        verify(self._data, pages=control.dirty or not control.matches(os.stat(self._data)))

    def set_aside(self, reason: str) -> None:
        """Keep the data file under another name, and let the next who opens the store begin anew."""
        logging.getLogger("codomyrmex.cache").warning("%s is set aside, and begun anew: %s", self._data, reason)
        os.replace(self._data, os.path.join(self._path, "damaged.mdb"))
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self._path, "lock.mdb"))
        self.allocated = 0

    def _open(self) -> None:
        self.env = lmdb.open(
            self._path,
            map_size=self.pages * PAGE,
            writemap=True,
            map_async=True,
            sync=False,
            metasync=False,
            create=not os.path.exists(self._data),
            mode=0o600,
            max_dbs=len(_TABLES),
            max_readers=_READERS,
            max_spare_txns=8,
        )
        found = os.stat(self._data)
        self._identity = found.st_dev, found.st_ino
        self.pages = self.env.info()["map_size"] // PAGE
        self.env.reader_check()
        if not self.allocate(self.env.info()["last_pgno"] + _FIRST_PAGES):
            raise CacheFullError(f"{self._path}: there is no room on the disk", backend="file_based")
        if not self.control.dirty:
            self.control.mark_dirty()
        for table in _TABLES:
            setattr(self, table, self.env.open_db(table.encode()))


def _map_size(limit: int) -> int:
    """The size of the map for a limit: what this process may make a file of, in whole pages."""
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = limit if most == resource.RLIM_INFINITY else min(limit, most)
    return max(_SMALLEST, min(size, _LARGEST)) // PAGE * PAGE
