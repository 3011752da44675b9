"""`Leases`: which of the loads that hold a lease in a record are alive.

The process that plants a lease locks a byte of the file ``leases``, at a place that the lease says, with a lock that
belongs to its descriptor of the file (an open-file-description lock). The system lets go of it when the process ends,
however it ends; so the others see that a leader is dead, without process ids and without a heartbeat.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import threading
from collections.abc import Callable

from . import _folder

_LEASE = slice(40, 48)
"""Of a record: see `codomyrmex.cache.backend.Field.LEASE`."""
_NONE = bytes(8)
_FLOCK = struct.Struct("hhqqi4x")
"""Kind, origin, start, length, process: ``struct flock`` of Linux on machines of 64 bits."""
_KNOWN = sys.platform == "linux" and struct.calcsize("P") == 8


def lease_of(record: bytes | None) -> bytes | None:
    """The lease in a record; None for none."""
    lease = bytes(record[_LEASE]) if record is not None and len(record) >= _LEASE.stop else _NONE
    return None if lease == _NONE else lease


class Leases:
    """The locks on leases, this process's and those of others.

    Args:
        path: The store's directory.
        writable: Whether this process may plant leases.
    """

    def __init__(self, path: str, writable: bool) -> None:
        self._mine: dict[bytes, bytes] = {}
        self._lock = threading.Lock()
        self._descriptor = _folder.open_file(os.path.join(path, "leases"), 0) if writable else -1

    def __contains__(self, key: bytes) -> bool:
        return key in self._mine

    def plant(self, key: bytes, lease: bytes) -> None:
        """This process is about to plant ``lease`` in the record of ``key``."""
        with self._lock:
            self._release(key)
            self._mine[key] = lease
            self._set(fcntl.F_WRLCK, lease)

    def replaced(self, key: bytes) -> None:
        """The record of ``key`` has been replaced or removed, and with it the lease that was there."""
        if key in self._mine:
            with self._lock:
                self._release(key)

    def alive(self, lease: bytes) -> bool:
        """False only if the process that planted ``lease`` is known to be dead."""
        if not _KNOWN or self._descriptor < 0 or lease in self._mine.values():
            return True
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _place(lease), 1, 0)
        found = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, asked)
        return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)

    def forget(self, current: Callable[[bytes], bytes | None]) -> None:
        """Let go of leases that others have taken out of their records; ``current`` knows the lease of a key."""
        for key, lease in list(self._mine.items()):
            if current(key) != lease and self._mine.get(key) == lease:
                self.replaced(key)

    def close(self) -> None:
        """Let go of everything."""
        self._mine.clear()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _release(self, key: bytes) -> None:
        lease = self._mine.pop(key, None)
        if lease is not None:
            self._set(fcntl.F_UNLCK, lease)

    def _set(self, kind: int, lease: bytes) -> None:
        if _KNOWN:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, _place(lease), 1, 0))


def _place(lease: bytes) -> int:
    return int.from_bytes(lease, "little") >> 2
