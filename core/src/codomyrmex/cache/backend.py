"""What a backend is made of: the promise of this package to authors of storage drivers.

Start with `Backend` (five required methods and `swap`), or put a store that knows no more than get, set and delete
behind `SimpleBackend`. docs/writing-a-plugin.md leads through a complete one.
"""

from __future__ import annotations

from ._backend_request import BackendRequest
from ._capabilities import Capabilities, Finding, Purged, ScanPage, Usage
from ._clocks import Clock, machine_clock, process_clock
from ._driver import AsyncBackend, Backend, Direct, DirectPort
from ._record import (
    HEADER_SIZE,
    Field,
    Record,
    Version,
    head_of,
    kept_until_of,
    matches,
    replace_header,
)
from ._simple import SimpleBackend, SimpleStore

__all__ = [
    "HEADER_SIZE",
    "AsyncBackend",
    "Backend",
    "BackendRequest",
    "Capabilities",
    "Clock",
    "Direct",
    "DirectPort",
    "Field",
    "Finding",
    "Purged",
    "Record",
    "ScanPage",
    "SimpleBackend",
    "SimpleStore",
    "Usage",
    "Version",
    "head_of",
    "kept_until_of",
    "machine_clock",
    "matches",
    "process_clock",
    "replace_header",
]
