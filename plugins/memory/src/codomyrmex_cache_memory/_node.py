"""One entry in memory."""

from __future__ import annotations

import math
from typing import Any, Protocol

from codomyrmex.cache.backend import Record, Version


class Home(Protocol):
    """The queue an entry is in; see `Lane`."""

    name: str

    def remove(self, node: Node) -> None:
        """Take an entry out of turn."""
        ...

    def grow(self, size: int) -> None:
        """One of its entries counts for so many bytes more, or less if it is negative."""
        ...


ASK = -math.inf
"""As `Node.until`: only the general path can say whether this entry may be served."""


class Node:
    """An entry, read without a lock while it may be changed under one.

    Writers set `value` before `until`, readers read `until` before `value`. So a reader may combine an old time with
    a new value, which was right a moment ago, but never a new time with an old value. A node that has been removed
    keeps its value, for readers who found it just before.

    Attributes:
        key: Its storage key.
        value: The user's object.
        until: Until when a reader may take the value as it is, in seconds; None for ever, `ASK` for never.
        ttl: Seconds it was given to live.
        version: Differs with every write.
        mark: Use since it was placed or judged, for the eviction policy.
        size: Bytes it counts for; 1 if bytes are not counted (see `MeasuredNode`).
        rank: Its place in a queue ordered by rank (see `MeasuredNode`).
        lane: The queue it is in; None once it has been removed.
        bucket: Where it waits for its end; None if it has none.
        record: The record it was stored from, if that says more than the fields above.
    """

    __slots__ = (
        "bucket",
        "key",
        "lane",
        "mark",
        "record",
        "ttl",
        "until",
        "value",
        "version",
    )

    key: str
    value: Any
    until: float | None
    ttl: float
    version: Version
    mark: int
    size = 1
    rank = 0.0
    lane: Home | None
    bucket: Bucket | None
    record: Record | None

    @property
    def end(self) -> float:
        """When the entry stops existing, in seconds; inf for never."""
        if self.record is not None:
            return self.record.kept_until
        return math.inf if self.until is None else self.until

    @property
    def cost(self) -> float:
        """Seconds the value took to compute; 0.0 when unknown."""
        return 0.0 if self.record is None else self.record.cost

    @property
    def queue(self) -> str:
        """Name of the queue it is in."""
        return "" if self.lane is None else self.lane.name

    def snapshot(self) -> Record:
        """The entry as a record of its own."""
        record = self.record
        if record is None:
            end = self.end
            return Record(self.value, self.version, end, end, self.ttl)
        return Record(
            self.value,
            self.version,
            record.fresh_until,
            record.kept_until,
            record.ttl,
            record.lease,
            record.lease_until,
            record.tags,
            record.cost,
            False,
            record.token,
            record.failed,
            record.extended,
        )


class MeasuredNode(Node):
    """An entry of a store that counts bytes or has queues ordered by rank; the others save the space and the time."""

    __slots__ = ("rank", "size")

    size: int
    rank: float

    def __init__(self, size: int) -> None:
        self.size = size
        self.rank = 0.0


class Bucket(set[Node]):
    """The entries that are looked at when ``due`` has come, in seconds."""

    __slots__ = ("due",)

    def __init__(self, due: int) -> None:
        super().__init__()
        self.due = due
