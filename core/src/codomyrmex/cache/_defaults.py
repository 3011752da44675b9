"""Default methods of a driver, written once for the synchronous and the asynchronous class."""

from __future__ import annotations

from typing import Any

from ._capabilities import Purged
from ._record import Field, Record, kept_until_of
from ._steps import Steps, pause

PAGE = 1000
"""Keys per page of a scan that has to see all of them."""
_POLL = 0.005
"""Longest pause between two looks at somebody else's lease, in seconds."""


def clear(backend: Any, prefix: str) -> Steps[int]:
    """Scan and remove, page by page."""
    removed = 0
    cursor = None
    own = prefix.startswith("\0")
    while True:
        page = yield backend.scan, (prefix, cursor, PAGE)
        keys = [key for key in page.heads if own or not key.startswith("\0")]
        if keys:
            removed += len((yield backend.remove_many, (keys,)))
        cursor = page.cursor
        if cursor is None:
            return removed


def purge(backend: Any, limit: int) -> Steps[Purged]:
    """Scan a page from where the last purge stopped, and swap out what is past its time."""
    if backend.capabilities.native_expiry:
        return Purged(0, False)
    cursor = getattr(backend, "_purge_cursor", None)
    page = yield backend.scan, ("", cursor, limit)
    now = backend.now()
    removed = 0
    for key, head in page.heads.items():
        if isinstance(head, Record):
            expired, version = now >= head.kept_until, head.version
        else:
            expired, version = now >= kept_until_of(head), head[Field.VERSION.value]
        if expired and (yield backend.swap, (key, Field.VERSION, version, None)):
            removed += not key.startswith("\0")
    backend._purge_cursor = page.cursor
    return Purged(removed, page.cursor is not None)


def wait(timeout: float) -> Steps[None]:
    """Pause for a moment: the caller looks again."""
    yield pause, (min(timeout, _POLL),)
