"""Handing statistics to exporters: when asked, at an interval, and once more when a manager closes.

One thread per process calls those that have an interval, one after the other. One that hangs keeps its thread, and a
new one goes on with the others. Decision 0010 has the reasons.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._stats import CacheStats

if TYPE_CHECKING:
    import logging

PATIENCE = 5.0
"""Seconds after which an exporter counts as hanging."""
FAREWELL = 1.0
"""Seconds that a manager's `close` waits for the last exports."""


class Snapshots(Mapping[str, CacheStats]):
    """The statistics of a manager's open caches by name, each taken when it is read.

    Args:
        take: Gives the statistics of a cache; None if it is not open.
        names: Gives the names of those that are.
    """

    def __init__(self, take: Callable[[str], CacheStats | None], names: Callable[[], list[str]]) -> None:
        self._take = take
        self._names = names

    def __getitem__(self, name: str) -> CacheStats:
        found = self._take(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterInfo:
    """How an exporter of a manager is doing.

    Attributes:
        name: Its name in config.
        interval: Seconds between two exports; None if it is called on demand only.
        exports: How often it was called.
        failures: How often it raised, or took longer than five seconds.
        hanging: Whether it hasn't come back from a call for that long.
        error: Name of the class of what it raised last; empty if the last call was fine.
    """

    name: str
    interval: float | None
    exports: int = 0
    failures: int = 0
    hanging: bool = False
    error: str = ""


class Exporter:
    """One exporter of one manager.

    Args:
        name: Its name in config.
        interval: Seconds between two exports, None for none.
        call: Does it.
    """

    def __init__(self, name: str, interval: float | None, call: Callable[[], None]) -> None:
        self.name = name
        self.interval = interval
        self.due = 0.0
        self._call = call
        self._state = threading.Condition()
        self._running: object = None
        self._exports = self._failures = 0
        self._error = ""
        self._hanging = False

    @property
    def info(self) -> ExporterInfo:
        """How it is doing."""
        return ExporterInfo(
            name=self.name,
            interval=self.interval,
            exports=self._exports,
            failures=self._failures,
            hanging=self._hanging,
            error=self._error,
        )

    @property
    def hanging(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._hanging

    def run(self, patience: float = 0.0) -> None:
        """Call it; what it raises is counted, and logged once per outage.

        Args:
            patience: Seconds to wait for a call that is under way. If that hasn't ended then, there is no other.
        """
        call = object()
        with self._state:
            if not self._state.wait_for(lambda: self._running is None, patience):
                return
            self._running = call
            self._exports += 1
        watchdog = threading.Timer(PATIENCE, self._abandon, (call,))
        watchdog.daemon = True
        watchdog.start()
        error = ""
        try:
            self._call()
        except (Exception, SystemExit) as raised:
            error = type(raised).__name__
            if not self._error:
                _logger().exception("exporter %r failed", self.name)
        finally:
            watchdog.cancel()
            with self._state:
                came_back, self._hanging, self._running = self._hanging, False, None
                self._failures += bool(error) and not came_back
                self._error = error
                self._state.notify()
        if came_back:
            _logger().info("exporter %r has come back", self.name)

    def reset(self) -> None:
        """Forget a call that a fork has left behind in the parent."""
        self._state = threading.Condition()
        self._running, self._hanging = None, False

    def _abandon(self, call: object) -> None:
        with self._state:
            if self._running is not call:
                return
            self._hanging = True
            self._failures += 1
        _logger().warning("exporter %r has not come back for %g seconds; it is left alone", self.name, PATIENCE)
        timetable.go_on(self)


class Exporters:
    """The exporters of one manager; those with an interval are called at `start`, and then until `finish`."""

    def __init__(self, exporters: list[Exporter]) -> None:
        self.all = exporters
        self.timed = [one for one in exporters if one.interval]

    def start(self) -> None:
        """Begin to call those that have an interval; does nothing if they are called already."""
        if self.timed:
            timetable.add(self)

    def run(self) -> None:
        """Call all of them now, each in a thread that is left alone if it hangs."""
        for one in self.all:
            thread = threading.Thread(target=one.run, args=(PATIENCE,), name="codomyrmex-cache-exporter", daemon=True)
            thread.start()
            thread.join(PATIENCE)

    def finish(self) -> None:
        """Call those that have an interval once more, and never again; waits a second at most."""
        if not timetable.remove(self):
            return
        last = threading.Thread(target=self._last, name="codomyrmex-cache-exporter", daemon=True)
        last.start()
        last.join(FAREWELL)

    def _last(self) -> None:
        for one in self.timed:
            one.run(FAREWELL)


class Timetable:
    """The thread that calls exporters when they are due, and its replacement when one of them hangs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._running: Exporter | None = None
        self._managers: weakref.WeakSet[Exporters] = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def add(self, exporters: Exporters) -> None:
        """Call the exporters of a manager from now on."""
        with self._lock:
            if exporters not in self._managers:
                self._managers.add(exporters)
                self._wake.set()
            if self._thread is None:
                self._replace()

    def remove(self, exporters: Exporters) -> bool:
        """No longer; False if they weren't."""
        with self._lock:
            there = exporters in self._managers
            self._managers.discard(exporters)
            self._wake.set()
        return there

    def go_on(self, hanging: Exporter) -> None:
        """Go on in a new thread if the present one is kept by ``hanging``."""
        with self._lock:
            if self._running is hanging:
                self._replace()

    def _replace(self) -> None:
        self._running = None
        self._thread = threading.Thread(target=self._run, name="codomyrmex-cache-exporter", daemon=True)
        self._thread.start()

    def _after_fork(self) -> None:
        # Threads are gone, and so is whoever held the lock.
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread = self._running = None
        for exporters in self._managers:
            for one in exporters.all:
                one.reset()
        if len(self._managers):
            self._replace()

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            with self._lock:
                if self._thread is not me:
                    return
                waiting = [one for exporters in self._managers for one in exporters.timed]
                if not waiting:
                    self._thread = None
                    return
                able = [one for one in waiting if not one.hanging]
                following = min(able, key=lambda one: one.due, default=None)
                pause = 1.0 if following is None else following.due - time.monotonic()
                self._wake.clear()
                if pause <= 0:
                    self._running = following
            del waiting, able
            if pause > 0 or following is None:
                following = None  # this thread's sleep keeps nothing alive
                self._wake.wait(pause)
                continue
            following.due = time.monotonic() + (following.interval or 0.0)
            following.run()
            with self._lock:
                if self._thread is me:
                    self._running = None
            following = None


timetable = Timetable()


def _logger() -> logging.Logger:
    import logging  # needed for what goes wrong only

    return logging.getLogger("codomyrmex.cache")
