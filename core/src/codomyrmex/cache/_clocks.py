"""Clocks that drivers judge lifetimes by. Every one of them can be replaced by the caller's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]

process_clock: Clock = time.monotonic
"""For stores that die with their process."""

_anchor: float | None = None


def _since_boot() -> float:
    # CLOCK_BOOTTIME goes on while the machine sleeps, as a persisted ttl must; macOS has no such clock.
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def machine_clock() -> float:
    """Seconds since the epoch, for stores that outlive their process or are shared by processes of a machine.

    Anchored to the wall clock once per process and carried on by the boot clock, so that a jump of the wall clock
    prolongs nothing inside a process.
    """
    global _anchor
    if _anchor is None:
        _anchor = time.time() - _since_boot()
    return _anchor + _since_boot()
