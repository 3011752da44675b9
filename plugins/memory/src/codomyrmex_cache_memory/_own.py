"""Records that stand beside the entries and never push one out: loads that have no value yet, and the cache's own.

The cache's own records that name tags are markers of those tags. One whose token no entry carries any more is dropped,
else a cache of bounded size could collect markers without bound. It is given one round of grace, for writers who have
just read the token and are about to store an entry with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from codomyrmex.cache.backend import Record

Tag: TypeAlias = "tuple[str, bytes]"
_FIRST_SWEEP = 1000


class OwnRecords(dict[str, Record]):
    """Records by storage key. The caller holds the lock."""

    def __init__(self) -> None:
        super().__init__()
        self._sweep_above = _FIRST_SWEEP
        self._unused: set[Tag] = set()

    def clear_under(self, prefix: str) -> int:
        """Drop those under ``prefix``, keys that begin with NUL only if it does too; how many there were."""
        own = prefix.startswith("\0")
        keys = [key for key in self if key.startswith(prefix) and (own or not key.startswith("\0"))]
        for key in keys:
            del self[key]
        return len(keys)

    def sweep_due(self) -> bool:
        """Whether so many have come that it is worth looking which are still needed."""
        return len(self) > self._sweep_above or bool(self._unused)

    def sweep(self, now: float, carried: Iterable[Tag]) -> None:
        """Drop what is over, and markers that were unused last time and still are.

        Args:
            now: The time, in seconds.
            carried: Tags with tokens of all entries.
        """
        used = {*carried, *(tag for record in self.values() if record.pending for tag in record.tags)}
        unused: set[Tag] = set()
        for key, record in list(self.items()):
            over = now >= record.kept_until
            if not over and key.startswith("\0") and record.tags and used.isdisjoint(record.tags):
                unused.update(record.tags)
                over = not self._unused.isdisjoint(record.tags)
            if over:
                del self[key]
        self._unused = unused
        self._sweep_above = max(_FIRST_SWEEP, 2 * len(self))
