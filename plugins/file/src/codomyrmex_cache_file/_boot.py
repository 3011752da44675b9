"""Which boot of the machine this is, and how long ago it began."""

from __future__ import annotations

import functools
import subprocess
import time


@functools.cache
def boot_id() -> bytes:
    """Up to 36 bytes that differ with every boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().strip()[:36]
    except OSError:
        done = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, check=False)
        return done.stdout.strip()[:36]


def since_boot() -> float:
    """Seconds since the machine was booted, those in which it slept among them where the system counts them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
