"""What foreign errors mean, and the one place where they become the cache's."""

from __future__ import annotations

import os
from typing import NoReturn

import lmdb

from codomyrmex.cache.errors import CacheConnectionError, CacheError, CacheFullError

from ._folder import FULL


class Damaged(Exception):
    """What is stored is not what this driver, or LMDB, would have written."""


class NoRoom(Exception):
    """The disk has no room for what would be written through the map."""


DAMAGED = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.PageNotFoundError, Damaged)
"""The file is damaged: it is set aside."""
OUTDATED = (lmdb.MapResizedError, lmdb.PanicError, lmdb.BadRslotError)
"""This process's view of the file is out of date or broken: it is opened again."""
_FULL_TEXTS = tuple(os.strerror(code) for code in FULL)


def is_full(error: BaseException) -> bool:
    """Whether there was no room: in the map, on the disk, or by a limit of the system."""
    if isinstance(error, OSError):
        return error.errno in FULL
    if isinstance(error, (lmdb.MapFullError, lmdb.DiskError)):
        return True
    return isinstance(error, lmdb.Error) and any(text in str(error) for text in _FULL_TEXTS)


def full(path: str, what: str = "the store is full and nothing may be evicted") -> CacheFullError:
    """The error for a write that finds no room."""
    return CacheFullError(f"{path}: {what}", backend="file_based")


def translated(path: str, error: Exception) -> CacheError:
    """What a caller gets for ``error``."""
    if isinstance(error, CacheError):
        return error
    if is_full(error):
        return full(path) if isinstance(error, lmdb.MapFullError) else full(path, "there is no room on the disk")
    reason = error.strerror or error if isinstance(error, OSError) else error
    return CacheConnectionError(f"{path}: {reason}", backend="file_based")


def raise_translated(path: str, error: Exception) -> NoReturn:
    """Raise it, from ``error``."""
    raise translated(path, error) from error
