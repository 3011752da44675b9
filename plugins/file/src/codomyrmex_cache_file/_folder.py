"""The directory of a store and its files: the owner's only, from birth, and never reached through a link."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from codomyrmex.cache.errors import CacheConfigError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says when there is no room."""
READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
"""What it says when this process may only read."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""No link is followed, no child gets it, and a pipe that was planted blocks nobody."""


def prepare(path: str) -> None:
    """Make the directory if it is not there; check that nobody else can put anything into it.

    Raises:
        CacheConfigError: It is a link or no directory, belongs to somebody else, or others may write to it.
        OSError: It can't be made.
    """
    _make(path)
    check(path)


def check(path: str) -> None:
    """Check that it is a directory into which nobody else can put anything.

    Raises:
        CacheConfigError: It is not.
    """
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise CacheConfigError(f"{path} is no directory{' but a link' if stat.S_ISLNK(found.st_mode) else ''}")
    if found.st_uid != os.geteuid():
        raise CacheConfigError(f"{path} belongs to another user (id {found.st_uid}): choose a directory of your own")
    if found.st_mode & _OTHERS_WRITE:
        raise CacheConfigError(f"others may write to {path}, and so put anything into the cache: chmod go-w it")
    for name in os.listdir(path):
        check_file(os.path.join(path, name))


def _make(path: str) -> None:
    """Make the directory and those above it, each for its owner only, whatever the umask lets through."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make(os.path.dirname(path))
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)


def check_file(path: str) -> None:
    """Refuse what is no plain file of this user's.

    Raises:
        CacheConfigError: It is something else.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:  # another process has just replaced it
        return
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise CacheConfigError(f"{path} is not a plain file of this user: remove it")


def open_file(path: str, size: int) -> int:
    """A descriptor of a file of ``size`` bytes that are really there, made for its owner only.

    Raises:
        OSError: It can't be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SAFE, 0o600)
    try:
        if os.fstat(descriptor).st_size < size:
            allocate(descriptor, 0, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_file(path: str) -> int:
    """A descriptor to read a file with.

    Raises:
        OSError: It can't be opened.
    """
    return os.open(path, os.O_RDONLY | _SAFE)


def allocate(descriptor: int, start: int, end: int) -> None:
    """Let the disk hold these bytes of a file, so that writing to a map of them can't fail.

    Raises:
        OSError: There is no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, end - start)
    elif os.fstat(descriptor).st_size < end:
        os.ftruncate(descriptor, end)
