"""`Entries`: all that one cache holds in memory, and everything that changes it.

One dict of nodes, read without a lock; beside it the records that are no entries, the queues of the eviction policy
and the order of expiry. Methods that change something are called with `Entries.lock` held, and collect what has gone
for the caller to report, and to let die, once it is free.

The lock is re-entrant because the garbage collector may run a stranger's ``__del__`` at any allocation, and that may
use the cache. For the same reason a value that is replaced is kept until the lock is free.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from codomyrmex.cache.backend import BackendRequest, Clock, Record, Version
from codomyrmex.cache.errors import CacheError, CacheFullError
from codomyrmex.cache.eviction import Cause, EvictionPolicy

from ._expiry import Expiry
from ._node import ASK, MeasuredNode, Node
from ._options import MemoryOptions
from ._own import OwnRecords
from ._queues import Queues
from ._sizer import checked, estimate

_BATCHES = 128
"""A full cache makes room for this part of its entries at once, so it is never emptier than that."""
_LARGEST_BATCH = 64
_CAPACITY = Cause.CAPACITY
_PURGE_ON_WRITE = 64
"""Expired entries that a write removes before it evicts one that is alive."""

Gone: TypeAlias = "list[tuple[str, Cause, Any]]"
"""Storage key, cause and value of what has been removed."""


class Entries:
    """The content of one cache.

    What changes several things is a block of ``with entries.lock, entries:``, which mends what is interrupted in it.

    Args:
        options: Limits and sizer.
        policy: What to evict at a limit.
        request: Counters.
        now: The clock, in seconds.

    Attributes:
        nodes: The entries by storage key.
        own: What stands beside them.
        expiry: When they end.
        queues: In what order they go.
        bytes: What they count for; kept only where they differ.
        lock: Held by whoever changes anything.
        first_key: The least of the ASCII keys that may be missed or added without asking further. An empty text and
            whatever begins with NUL come before it, and all of them once this is closed.
        now: The clock, in seconds.
        use: Marks a node as used.
        flags: Whether any mark above zero will do for that.
    """

    def __init__(self, options: MemoryOptions, policy: EvictionPolicy, request: BackendRequest, now: Clock) -> None:
        self.nodes: dict[str, Node] = {}
        self.own = OwnRecords()
        self.expiry = Expiry()
        self.queues = Queues(policy, options.max_entries, sizes=options.max_bytes is not None)
        self.bytes = 0
        self.lock = threading.RLock()
        self.first_key = "\1"
        self.now = now
        self.use = self.queues.use
        self.flags = policy.marks == "use"
        self._evictions, self._expirations = request.recorder.evictions, request.recorder.expirations
        self._most_entries = options.max_entries or math.inf
        self._most_bytes = math.inf if options.max_bytes is None else options.max_bytes
        self._sizer: Callable[[Any], int] | None = None
        if options.max_bytes is not None:
            self._sizer = estimate if options.sizer is None else checked(options.sizer)
        self._measures = self.queues.measured
        only_lane = self.queues.only_lane
        self._quick_append = None if only_lane is None else only_lane.quick_append()
        # Making room for several at once costs less each; in a small cache every entry counts.
        self._batch = 1
        if options.max_entries and not options.max_bytes:
            self._batch = min(options.max_entries // _BATCHES + 1, _LARGEST_BATCH)

    def __enter__(self) -> None:
        """With the lock."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Errors of ours are raised between changes.
        if kind is not None and not issubclass(kind, CacheError):
            self.mend()

    def close(self) -> None:
        """Drop everything, for good; with the lock."""
        self.first_key = "\x80"
        self.drop_all()
        self.own.clear()

    # Without the lock: these run the user's code.

    def size(self, record: Record) -> int:
        """Bytes that ``record`` counts for."""
        return 1 if self._sizer is None or record.pending else self._sizer(record.value)

    # With the lock.

    def read(self, key: str) -> Record | None:
        """A copy of what is under ``key``, which counts as a use."""
        node = self.nodes.get(key)
        if node is None:
            return self.own.get(key)
        self.use(node)
        return node.snapshot()

    def put(self, key: str, record: Record, size: int, value: Any, gone: Gone, *, replaces: bool = True) -> None:
        """Store ``record`` with ``value`` in place of what is there.

        Raises:
            CacheFullError: There is no room; what was there is unchanged.
        """
        node = self.nodes.get(key)
        if record.pending or key.startswith("\0"):
            self.remove(key, Cause.DELETED, gone)
            self.own[key] = record
            return
        if node is not None:
            self.use(node)  # first of all: it should not be evicted to make room for itself
            if size != node.size:
                self._resize(node, size, gone)
            if replaces and node.lane is not None:
                gone.append((key, Cause.REPLACED, node.value))
        plain = record.fresh_until == record.kept_until and not (
            record.tags or record.lease or record.cost or record.token or record.failed
        )
        kept = None if plain else record
        until = ASK if record.tags else None if record.fresh_until == math.inf else record.fresh_until
        if node is None or node.lane is None:
            self.insert(key, value, until, record.ttl, size, kept, record.version, gone)
            self.own.pop(key, None)
            return
        # No call in between, after which a signal's handler could raise.
        node.value = value
        node.ttl = record.ttl
        node.version = record.version
        node.record = kept
        node.until = until  # after the value: readers look at this first
        self.expiry.note(node)

    def insert(
        self,
        key: str,
        value: Any,
        until: float | None,
        ttl: float,
        size: int,
        record: Record | None,
        version: Version,
        gone: Gone,
    ) -> Node:
        """Add an entry after making room for it; see `Node` for its parts.

        Raises:
            CacheFullError: There is no room; nothing has changed.
        """
        lane = self.queues.only_lane
        ghost = None if lane is not None else self.queues.recall(key)
        nodes = self.nodes
        if len(nodes) >= self._most_entries or (self._sizer is not None and self.bytes + size > self._most_bytes):
            self._make_room(key, size, gone)
        if self._measures:
            node: Node = MeasuredNode(size)
        else:
            node = Node()
        node.key = key
        node.value = value
        node.ttl = ttl
        node.until = until
        node.mark = 0
        node.bucket = None
        node.record = record
        node.version = version
        if lane is None:
            self.queues.admit(node, ghost)
        elif self._quick_append is not None:
            node.lane = lane
            self._quick_append(node)
        else:
            lane.append(node)
        if self._measures:
            self.bytes += size
        nodes[key] = node
        if until is not None:
            self.expiry.note(node)
        return node

    def remove(self, key: str, cause: Cause, gone: Gone) -> Record | None:
        """Remove and return what is under ``key``."""
        node = self.nodes.get(key)
        if node is None:
            return self.own.pop(key, None)
        record = node.snapshot()
        self._take_out(node)
        gone.append((key, cause, node.value))
        return record

    def clear(self, prefix: str, gone: Gone) -> int:
        """Remove everything under ``prefix``, but own records only for a prefix of theirs; how many there were."""
        if prefix:
            nodes = [node for node in self.nodes.values() if node.key.startswith(prefix)]
            for node in nodes:
                self._take_out(node)
        else:
            nodes = list(self.nodes.values())
            self.drop_all()
        gone.extend((node.key, Cause.CLEARED, node.value) for node in nodes)
        return len(nodes) + self.own.clear_under(prefix)

    def drop_all(self) -> None:
        """Forget every entry at once."""
        self.nodes.clear()
        self.queues.clear()
        self.expiry.clear()
        self.bytes = 0

    def purge(self, now: float, limit: int, gone: Gone) -> int:
        """Remove up to ``limit`` entries that are over; how many it were."""
        ended = self.expiry.ended(now, limit)
        for node in ended:
            self._take_out(node)
            gone.append((node.key, Cause.EXPIRED, node.value))
        return len(ended)

    def is_due(self, now: float) -> bool:
        """Whether something may be over."""
        return bool(self.expiry.dues) and self.expiry.dues[0] <= now

    def mend(self) -> None:
        """Put everything in order again after a change that was interrupted; takes the lock itself.

        Whatever a signal's handler raises (Ctrl-C, the time limit of a task queue) may come after any call, also in
        the middle of a change. Nodes are whole at any moment; which of them stand where is seen here.
        """
        with self.lock:
            self.bytes = self.queues.mend(self.nodes)
            self.expiry.clear()
            for key, node in self.nodes.items():
                node.bucket = None
                self.expiry.note(node)
                self.own.pop(key, None)

    def carried_tags(self) -> Iterable[tuple[str, bytes]]:
        """Tags with tokens of all entries."""
        return (tag for node in self.nodes.values() if node.record is not None for tag in node.record.tags)

    def _take_out(self, node: Node) -> None:
        del self.nodes[node.key]
        if self._measures:
            self.bytes -= node.size
        self.expiry.forget(node)
        if node.lane is not None:
            node.lane.remove(node)

    def _resize(self, node: Node, size: int, gone: Gone) -> None:
        """Let an entry that is written again count for ``size``; it may be evicted itself by growing."""
        if size > self._most_bytes:
            raise self._too_large(node.key, size)
        grown = size - node.size
        self._count(node, grown)
        try:
            self._evict(self._most_entries, self._most_bytes, node.key, gone)
        except CacheFullError:
            self._count(node, -grown)
            raise

    def _count(self, node: Node, grown: int) -> None:
        if isinstance(node, MeasuredNode):
            node.size += grown
            self.bytes += grown
            if node.lane is not None:
                node.lane.grow(grown)

    def _make_room(self, key: str, size: int, gone: Gone) -> None:
        if size > self._most_bytes:
            raise self._too_large(key, size)
        if self.expiry.dues and self.is_due(now := self.now()):
            self._expirations.add(self.purge(now, _PURGE_ON_WRITE, gone))
        self._evict(self._most_entries - 1, self._most_bytes - size, key, gone)

    def _evict(self, entries: float, size: float, key: str, gone: Gone) -> None:
        """Evict until no more than so many entries and bytes are left, and in a large cache a few more at once."""
        nodes, forget, measures, cause = self.nodes, self.expiry.forget, self._measures, _CAPACITY
        while len(nodes) > entries or self.bytes > size:
            victims: list[Node] = []
            try:
                self.queues.evict(self._batch, victims)
            finally:  # what is in no queue any more goes, also if Ctrl-C came in between
                for victim in victims:
                    del nodes[victim.key]
                    if measures:
                        self.bytes -= victim.size
                    if victim.bucket is not None:
                        forget(victim)
                    # Also where nobody listens: the value is held until the lock is free.
                    gone.append((victim.key, cause, victim.value))
                self._evictions.add(len(victims))
            if not victims:
                raise CacheFullError(
                    "the cache is full and its eviction policy lets nothing go", backend="in_memory", key=key
                )

    def _too_large(self, key: str, size: int) -> CacheFullError:
        return CacheFullError(
            f"a value of {size:,} bytes is larger than the whole cache, which holds {self._most_bytes:,}",
            backend="in_memory",
            key=key,
        )
