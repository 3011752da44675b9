"""`Gate`: the lock in front of every write, among threads and processes, with a deadline.

LMDB has a lock of its own, but none who waits for it can stop waiting: a writer that was stopped would stop all others.
"""

from __future__ import annotations

import fcntl
import threading
import time

from codomyrmex.cache.errors import CacheConnectionError

_FIRST_PAUSE = 0.00005
_LONGEST_PAUSE = 0.002


class Gate:
    """A lock on a file and on the threads of this process.

    Args:
        path: What it guards, for messages.
        timeout: Longest wait, in seconds.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._owner = 0

    def acquire(self, descriptor: int) -> None:
        """Take the lock of the file behind ``descriptor``.

        Raises:
            CacheConnectionError: It was not free in time, or this thread has it already.
        """
        me = threading.get_ident()
        if self._owner == me:
            # A finalizer that uses the cache may run in the middle of any call.
            raise CacheConnectionError(f"{self._path}: this thread is in the middle of a write already")
        if not self._lock.acquire(timeout=min(self._timeout, threading.TIMEOUT_MAX)):
            raise self._late()
        try:
            self._wait(descriptor)
        except BaseException:
            self._lock.release()
            raise
        self._owner = me

    def release(self, descriptor: int) -> None:
        """Give it back."""
        self._owner = 0
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            self._lock.release()

    def _wait(self, descriptor: int) -> None:
        deadline = None
        pause = _FIRST_PAUSE
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now = time.monotonic()
                deadline = deadline or now + self._timeout
                if now >= deadline:
                    raise self._late() from None
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _late(self) -> CacheConnectionError:
        return CacheConnectionError(
            f"{self._path}: another writer did not finish within {self._timeout:g} s; it may be stopped"
        )
