"""Which boot of the machine this is, and how long ago it began."""

from __future__ import annotations

import functools
import subprocess
import time
from collections.abc import Callable


@functools.cache
def boot_id() -> bytes:
    """Up to 36 bytes that differ with every boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().strip()[:36]
    except OSError:
        done = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, check=False)
        return done.stdout.strip()[:36]


_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)
since_boot: Callable[[], float] = time.monotonic if _CLOCK is None else functools.partial(time.clock_gettime, _CLOCK)
"""Seconds since the machine was booted, those in which it slept among them where the system counts them."""
