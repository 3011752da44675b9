"""What goes on without a caller: loads that were left behind, and loads ahead of time."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable

_MOST_THREADS = 32
"""Loads ahead of time that threads of one cache run at once."""


class Background:
    """The loads of one cache that go on by themselves.

    Attributes:
        closed: No more may begin.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._running: dict[object, Callable[[], object] | None] = {}
        self.closed = False
        _all.add(self)

    @property
    def busy(self) -> bool:
        """Whether no more loads should begin that nobody waits for."""
        return len(self._running) >= _MOST_THREADS

    def begin(self, load: object, cancel: Callable[[], object] | None) -> bool:
        """Note that ``load`` runs, and how it is cancelled if it can be; False once closed."""
        with self._changed:
            if self.closed:
                return False
            self._running[load] = cancel
            return True

    def end(self, load: object) -> None:
        """Note that it has ended."""
        with self._changed:
            self._running.pop(load, None)
            self._changed.notify_all()

    def cancel(self) -> None:
        """Let no more begin, and cancel those that can be."""
        with self._changed:
            self.closed = True
            cancels = [cancel for cancel in self._running.values() if cancel is not None]
        for cancel in cancels:
            cancel()

    def join(self, patience: float) -> int:
        """Wait up to ``patience`` seconds for all to end; how many have not."""
        deadline = time.monotonic() + patience
        with self._changed:
            while self._running and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return len(self._running)

    def _forget(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._running = {}


_all: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork() -> None:
    # The child has none of the parent's threads.
    for background in list(_all):
        background._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
