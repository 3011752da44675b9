"""Which entries end when: sets of entries by the second in which they end, so that purging looks at nothing else.

An entry that is written again with a later end stays where it is and is put into its place when its old second comes;
so prolonging an entry, the common case, costs nothing here.
"""

from __future__ import annotations

import heapq
import math

from ._node import Bucket, Node


class Expiry:
    """Entries with an end, in the order of their ends. The caller holds the lock.

    Attributes:
        dues: Seconds in which there may be something to purge, the first one first (a heap).
    """

    def __init__(self) -> None:
        self.dues: list[int] = []
        self._buckets: dict[int, Bucket] = {}

    def note(self, node: Node) -> None:
        """Remember when ``node`` ends, if it does."""
        end = node.end
        if end == math.inf:
            return
        due = int(end) + 1
        bucket = node.bucket
        if bucket is not None:
            if bucket.due <= due:
                return
            bucket.discard(node)
        bucket = self._buckets.get(due)
        if bucket is None:
            bucket = self._buckets[due] = Bucket(due)
            heapq.heappush(self.dues, due)
        bucket.add(node)
        node.bucket = bucket

    def forget(self, node: Node) -> None:
        """``node`` is gone."""
        if node.bucket is not None:
            node.bucket.discard(node)
            node.bucket = None

    def ended(self, now: float, limit: int) -> list[Node]:
        """Up to ``limit`` entries whose time is over; they are forgotten."""
        ended: list[Node] = []
        looked = 0
        while self.dues and self.dues[0] <= now and looked < limit:
            bucket = self._buckets[self.dues[0]]
            while bucket and looked < limit:
                node = bucket.pop()
                node.bucket = None
                looked += 1
                if node.end <= now:
                    ended.append(node)
                else:
                    self.note(node)
            if not bucket:
                del self._buckets[heapq.heappop(self.dues)]
        return ended

    def waiting(self) -> list[Node]:
        """All entries that have an end."""
        return [node for bucket in self._buckets.values() for node in bucket]

    def clear(self) -> None:
        """Forget all."""
        self._buckets.clear()
        self.dues.clear()
