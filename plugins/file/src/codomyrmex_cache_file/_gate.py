"""`Gate`: the lock in front of every write, among threads and processes, with a deadline.

LMDB has a lock of its own, but none who waits for it can stop waiting: a writer that was stopped would stop all others.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from codomyrmex.cache.errors import CacheConnectionError

T = TypeVar("T")

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
        self._timeout = min(timeout, threading.TIMEOUT_MAX)
        # Knows its owner by itself: a signal handler may raise between any two steps of the code that takes it.
        self._lock: Any = threading.RLock()

    def mine(self) -> bool:
        """Whether this thread holds it."""
        return bool(self._lock._is_owned())

    def held(self, descriptor: int, work: Callable[[], T], *, shared: bool = False) -> T:
        """``work()`` while this thread holds the lock of the file behind ``descriptor``.

        Args:
            descriptor: Of the file.
            work: What is to be done.
            shared: Keep out only those who don't share it.

        Raises:
            CacheConnectionError: It was not free in time, or this thread has it already.
        """
        if self.mine():
            # A finalizer that uses the cache may run in the middle of any call.
            raise CacheConnectionError(f"{self._path}: this thread is in the middle of a write already")
        deadline = time.monotonic() + self._timeout
        try:
            try:
                if not self._lock.acquire(timeout=self._timeout):
                    raise self._late()
                self._wait(descriptor, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX), deadline)
                return work()
            finally:
                self._leave(descriptor)
        finally:  # the handler may have raised on the way into the other one
            self._leave(descriptor)

    def _leave(self, descriptor: int) -> None:
        if self.mine():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                self._lock.release()

    def _wait(self, descriptor: int, operation: int, deadline: float) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                return fcntl.flock(descriptor, operation)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise self._late() from None
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _late(self) -> CacheConnectionError:
        return CacheConnectionError(
            f"{self._path}: another writer did not finish within {self._timeout:g} s; it may be stopped"
        )
