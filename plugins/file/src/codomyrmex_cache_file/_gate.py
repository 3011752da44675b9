"""`Gate`: the lock in front of every write, among threads and processes, with a deadline.

LMDB has a lock of its own, but none who waits for it can stop waiting: a writer that was stopped would stop all others.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from codomyrmex.cache.errors import CacheConnectionError

T = TypeVar("T")

_EXCLUSIVE, _SHARED = fcntl.LOCK_NB | fcntl.LOCK_EX, fcntl.LOCK_NB | fcntl.LOCK_SH
_SPINS = 20
"""Attempts without a pause. A write takes a few microseconds, the shortest sleep of the system about a hundred."""
_FIRST_PAUSE = 0.00005
_LONGEST_PAUSE = 0.002
_LONGEST_WAIT = 0.1
_PATIENCE = 0.02
"""Seconds for which a thread lets others go first."""


class _Waiter:
    """A thread that waits for its turn."""

    __slots__ = ("bell", "since", "thread")

    def __init__(self) -> None:
        self.bell = threading.Lock()
        self.bell.acquire()
        self.since = time.monotonic()
        self.thread = threading.get_ident()


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
        self._waiting: list[_Waiter] = []

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
        try:
            try:
                self.enter(descriptor, _SHARED if shared else _EXCLUSIVE)
                return work()
            finally:
                self.leave(descriptor)
        finally:  # the handler may have raised on the way into the other one
            self.leave(descriptor)

    def enter(self, descriptor: int, operation: int = _EXCLUSIVE) -> None:
        """Take the lock, which this thread must not have; whoever calls this calls `leave` whatever happens.

        Raises:
            CacheConnectionError: It was not free in time.
        """
        if not self._starving() and self._lock.acquire(False):
            try:
                return fcntl.flock(descriptor, operation)
            except BlockingIOError:
                deadline = time.monotonic() + self._timeout
        else:
            deadline = time.monotonic() + self._timeout
            self._take_turn(deadline)
        return self._wait(descriptor, operation, deadline)

    def leave(self, descriptor: int) -> None:
        """Let go of the lock if this thread has it."""
        if self._lock._is_owned():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                self._lock.release()
                if self._waiting and self._starving():
                    self._wake()

    def _starving(self) -> bool:
        """Whether the thread that has waited longest is to be let in before all others."""
        waiting = self._waiting
        try:
            return bool(waiting) and time.monotonic() - waiting[0].since >= _PATIENCE
        except IndexError:  # it has just gone
            return False

    def _take_turn(self, deadline: float) -> None:
        """Wait for the lock of the threads.

        Not in the lock's own queue: a thread that is given the lock there gets the interpreter's only later, and until
        then all others wait for both. The first of our queue comes back to look, and so has the interpreter already.
        But it gets that just when a writer lets go of it, in the middle of a write: who writes without a pause would
        never let it in. So after some time it goes before everybody, and is woken when the lock is free.
        """
        me, pause = _Waiter(), _FIRST_PAUSE
        self._waiting.append(me)
        try:
            while True:
                # A finalizer that uses the cache may run in a thread that waits: it is where that thread is.
                first = self._waiting[0].thread == me.thread
                if first and self._lock.acquire(False):
                    return
                now = time.monotonic()
                if now >= deadline:
                    raise self._late()
                me.bell.acquire(timeout=min(pause if first else _LONGEST_WAIT, deadline - now))
                pause = min(pause * 1.5, _LONGEST_PAUSE)
        finally:
            self._waiting.remove(me)
            self._wake()  # who is first now has to know

    def _wake(self) -> None:
        """Wake the first of those who wait."""
        with suppress(IndexError, RuntimeError):  # there is none, or it is awake
            self._waiting[0].bell.release()

    def _wait(self, descriptor: int, operation: int, deadline: float) -> None:
        pause, spins = _FIRST_PAUSE, _SPINS
        while True:
            try:
                return fcntl.flock(descriptor, operation)
            except BlockingIOError:
                if spins:
                    spins -= 1
                    continue
                if time.monotonic() >= deadline:
                    raise self._late() from None
                time.sleep(pause)
                pause, spins = min(pause * 1.5, _LONGEST_PAUSE), _SPINS

    def _late(self) -> CacheConnectionError:
        return CacheConnectionError(
            f"{self._path}: another writer did not finish within {self._timeout:g} s; it may be stopped"
        )
