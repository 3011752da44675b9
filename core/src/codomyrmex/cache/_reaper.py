"""The timer: one thread per process that purges expired entries nobody reads.

It wakes once a second, takes a bounded slice from every store it watches, and ends when there is nothing left to
watch. A forked child has no threads, so it starts its own.
"""

from __future__ import annotations

import os
import threading
import weakref

from ._driver import AnyBackend
from ._stats import Recorder
from .errors import CacheError

INTERVAL = 1.0
"""Seconds between two rounds."""
SLICE = 1000
"""Records that one purge looks at."""
_SLICES = 50
"""Most purges of one store in a round."""


class Reaper:
    """Purges the drivers it watches, without keeping them alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: weakref.WeakKeyDictionary[AnyBackend, Recorder] = weakref.WeakKeyDictionary()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def watch(self, driver: AnyBackend, recorder: Recorder) -> None:
        """Purge ``driver`` from now on, and count its expirations in ``recorder``."""
        with self._lock:
            self._watched[driver] = recorder
            self._start()

    def forget(self, driver: AnyBackend) -> None:
        """Stop purging ``driver``."""
        with self._lock:
            self._watched.pop(driver, None)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="codomyrmex-cache-reaper", daemon=True)
            self._thread.start()

    def _after_fork(self) -> None:
        # The lock may have been held by a thread that is gone.
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread = None
        if len(self._watched):
            self._start()

    def _run(self) -> None:
        while True:
            self._wake.wait(INTERVAL)
            with self._lock:
                drivers = list(self._watched.items())
                if not drivers:
                    self._thread = None
                    return
            while drivers:  # emptied, so that this thread's sleep keeps nothing alive
                purge(*drivers.pop())


def purge(driver: AnyBackend, recorder: Recorder) -> None:
    """One round: purge slices of ``driver`` until nothing is left to do, or others must have their turn."""
    try:
        for _ in range(_SLICES):
            purged = driver.purge(SLICE)
            recorder.expirations.add(purged.removed)
            if not purged.more:
                return
    except CacheError:
        # A store that can't be reached now is purged later; readers check every time themselves.
        return
    except Exception:
        import logging

        logging.getLogger("codomyrmex.cache").exception("purging a %s failed", type(driver).__name__)


reaper = Reaper()
