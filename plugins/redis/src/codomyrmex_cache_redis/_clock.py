"""`ServerClock`: the server's time, told without asking the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from codomyrmex.cache.backend import machine_clock

REMEASURE: Final = 60.0
"""Seconds after which the next trip measures again."""
_DRIFT: Final = 0.0002
"""Seconds by which two clocks may part in a second: twice what a bad quartz does."""


class ServerClock:
    """This machine's clock plus an offset that is measured now and then.

    A measurement is wrong by at most half its round trip. Until there is one the machine's clock is taken as it is.

    Args:
        machine: This machine's clock, in seconds since the epoch, which no change of the wall clock moves.
    """

    def __init__(self, machine: Callable[[], float] = machine_clock) -> None:
        self.machine = machine
        self.offset = 0.0
        self.due = 0.0
        """When to measure again, on the monotonic clock."""
        self.known = False
        """Whether there was a measurement."""
        self._error = float("inf")
        self._measured = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Seconds since the epoch by the server's clock."""
        return self.machine() + self.offset

    def measured(self, asked: float, reply: Any) -> None:
        """Take in one measurement that has just come back, if it is worth more than the last one.

        Args:
            asked: When TIME was sent, on the machine's clock.
            reply: Its reply: seconds and microseconds. An error is as good as none.
        """
        here = self.machine()
        self.due = time.monotonic() + REMEASURE
        if reply.__class__ is not list:
            return
        error = max(0.0, here - asked) / 2
        offset = int(reply[0]) + int(reply[1]) / 1e6 - (asked + here) / 2
        with self._lock:
            known = self._error + _DRIFT * (here - self._measured)
            # Both can't be right if they differ by more than their errors: the server, or its clock, is another one.
            if error <= known or abs(offset - self.offset) > error + known:
                self.offset, self._error, self._measured = offset, error, here
            self.known = True


_clocks: dict[str, ServerClock] = {}


def clock_of(server: str) -> ServerClock:
    """The one clock of a server: all drivers of this process measure for each other."""
    return _clocks.setdefault(server, ServerClock())
