"""Giving back disk space: LMDB's file never shrinks, so what is in use is copied into a new one that takes its place.

Others go on meanwhile: writers wait at the gate, readers see the old file. Afterwards whoever writes sees at once that
the store is another one and opens it again; who only reads notices a moment later. Until then a reader must not be
served what others have since replaced, so the old file is emptied first: such a reader misses.

Whoever does this may be killed at any moment. The steps are these, all of them under the gate:

1. copy to ``compacting.mdb``, bring it to the disk, call it ``compacted.mdb``;
2. say so in `Control`: from now on no process writes before somebody has done the rest;
3. empty the old file, in a transaction;
4. remove LMDB's lock file, which belongs to the old one, put the copy in its place, and make a new lock file;
5. take back what step 2 said.

Who finds step 2 done when it opens the store does the rest (`finish`). Nothing is written between 1 and 5, so the copy
and the old file hold the same until 4.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import lmdb

from . import _boot, _folder

if TYPE_CHECKING:
    from ._opened import Opened

_PART, _WHOLE = "compacting.mdb", "compacted.mdb"
_PAGE = 4096
_LISTED_ON_ONE = 500
"""Free pages that one page lists."""
_SPARE_PAGES = 64


def compact(opened: Opened) -> int:
    """Put a file without free pages in the place of the store's; how many bytes less the disk holds.

    The caller holds the gate, and closes ``opened`` afterwards.

    Raises:
        NoRoom: There is no room to write through the map.
        OSError, lmdb.Error: It can't be done; the store is as it was.
    """
    part, whole = (os.path.join(opened._path, name) for name in (_PART, _WHOLE))
    try:
        _copy(opened, part)
        pages = os.stat(part).st_size // _PAGE
        if opened.env.info()["last_pgno"] + 1 - pages < _SPARE_PAGES:
            return 0  # so many are allocated ahead when it is opened again
        given = _blocks(opened._data) - _blocks(part)
        os.replace(part, whole)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
    try:
        _reserve(opened)
        opened.control.mark_compacting(True)
        _empty(opened)
    except Exception:
        _abandon(opened)
        raise
    _exchange(opened)
    return given


def finish(opened: Opened) -> None:
    """Do what a killed process has left to do, before anything else is done with the store; the caller holds the gate.

    Raises:
        OSError, lmdb.Error: It can't be done.
    """
    if os.path.exists(os.path.join(opened._path, _WHOLE)):
        # Without a lock file, or since another boot, nobody can be reading the old one any more.
        if os.path.exists(opened._lock) and opened.control.boot == _boot.boot_id():
            opened._open(alone=False)
            try:
                _reserve(opened)
                _empty(opened)
            except lmdb.MapFullError:
                return _abandon(opened)
            finally:
                opened.close_env()
        _exchange(opened)
    else:
        _begin(opened)
    return None


def _copy(opened: Opened, part: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(part)
    descriptor = _folder.open_file(part, 0)
    try:
        opened.env.copyfd(descriptor, compact=True)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reserve(opened: Opened) -> None:
    """Make sure that the disk holds what `_empty` writes: a list of all pages."""
    opened.reserve(opened.env.info()["last_pgno"] // _LISTED_ON_ONE + _SPARE_PAGES)


def _empty(opened: Opened) -> None:
    """For readers of the old file; the counts stay, as they are those of the copy."""
    with opened.env.begin(write=True) as transaction:
        opened.control.begin(transaction.id())  # undoes what a writer that was killed has counted
        for table in (opened.entries, opened.places, opened.order, opened.expiry, opened.policy):
            transaction.drop(table, delete=False)


def _exchange(opened: Opened) -> None:
    with suppress(FileNotFoundError):
        os.unlink(opened._lock)
    os.replace(os.path.join(opened._path, _WHOLE), opened._data)
    _sync_folder(opened._path)
    opened.control.mark_clean(os.stat(opened._data))
    _begin(opened)


def _begin(opened: Opened) -> None:
    """The new file is there; who opens it finds a lock file, as always if others have the store open."""
    os.close(_folder.open_file(opened._lock, 0))
    opened.control.mark_compacting(False)


def _abandon(opened: Opened) -> None:
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(opened._path, _WHOLE))
    opened.control.mark_compacting(False)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _blocks(path: str) -> int:
    return os.stat(path).st_blocks * 512
