"""A history of concurrent calls, and what a reader may have seen in it.

Every call is recorded with the moments at which it began and ended. A read may return the value of a write that began
before the read ended, unless another write or removal of the key lies wholly between the end of that write and the
beginning of the read. A miss is always possible in a cache that evicts.
"""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Change:
    """A write of ``value``, or a removal (None), and when it began and ended."""

    value: Any
    begun: int
    ended: int


@dataclass
class History:
    """What several threads did; each appends to lists of its own."""

    changes: dict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))
    reads: list[tuple[str, Any, int, int]] = field(default_factory=list)

    def impossible(self) -> list[tuple[str, Any, int, int]]:
        """The reads that returned what they could not have seen."""
        wrong = []
        orders = {key: _Order(changes) for key, changes in self.changes.items()}
        for read in self.reads:
            key, value, begun, ended = read
            if value is not None and (key not in orders or not orders[key].possible(value, begun, ended)):
                wrong.append(read)
        return wrong


class _Order:
    """The changes of one key, prepared for questions about one moment."""

    def __init__(self, changes: list[Change]) -> None:
        self._written = {change.value: change for change in changes if change.value is not None}
        by_end = sorted(changes, key=lambda change: change.ended)
        self._ends = [change.ended for change in by_end]
        # The latest beginning among all changes that had ended by then.
        self._latest_begun = list(itertools.accumulate((change.begun for change in by_end), max))

    def possible(self, value: Any, begun: int, ended: int) -> bool:
        write = self._written.get(value)
        if write is None or write.begun > ended:
            return False
        over = bisect.bisect_left(self._ends, begun)
        return not over or self._latest_begun[over - 1] <= write.ended
