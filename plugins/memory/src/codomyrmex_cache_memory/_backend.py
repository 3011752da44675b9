"""`MemoryBackend`: the driver.

Entries stand in one dict. Reading takes no lock: a look-up, a comparison of times, a mark. Everything that changes an
entry does so under one lock, in steps that a reader may see half done (see `Node`). Listeners are called
after unlocking.

The lock is re-entrant because the garbage collector may run a stranger's ``__del__`` at any allocation, and that may
use the cache. For the same reason a value that is replaced is held until the lock is free.
"""

from __future__ import annotations

import copy
import math
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from codomyrmex.cache.backend import (
    Backend,
    BackendRequest,
    Capabilities,
    Direct,
    DirectPort,
    Field,
    Purged,
    Record,
    ScanPage,
    Usage,
    Version,
    process_clock,
)
from codomyrmex.cache.errors import CacheFullError
from codomyrmex.cache.eviction import Cause, EvictionPolicy

from ._direct import direct_paths
from ._expiry import Expiry
from ._node import ASK, MeasuredNode, Node
from ._options import MemoryOptions
from ._own import OwnRecords
from ._queues import Queues
from ._sizer import estimate

_CHUNK = 256
"""Entries that a scan copies before it lets go of the lock."""
_BATCHES = 128
"""A full cache makes room for this part of its entries at once, so it is never emptier than that."""
_PURGE_ON_WRITE = 64
"""Expired entries that a write removes before it evicts one that is alive."""

Gone = list[tuple[str, Cause, Any]]


class MemoryBackend(Backend[Record]):
    """Records in a dict of this process.

    Args:
        options: Limits, sizer, copying.
        policy: What to evict at a limit.
        request: Clock, counters and listeners.
    """

    def __init__(self, options: MemoryOptions, policy: EvictionPolicy, request: BackendRequest) -> None:
        self.capabilities = Capabilities(
            stores="objects", isolated=True, bounded=True, blocking="never", direct=not options.copy
        )
        self.now = request.clock or process_clock
        self.options = options
        self.nodes: dict[str, Node] = {}
        self.own = OwnRecords()
        self.expiry = Expiry()
        self.queues = Queues(policy, options.max_entries)
        self.lock = threading.RLock()
        self.bytes = 0
        self.closed = False
        self.emit = request.emit
        self.marks = policy.marks
        self.use = self.queues.use
        self._evictions, self._expirations = request.recorder.evictions, request.recorder.expirations
        self._most_entries = options.max_entries or math.inf
        # Making room for several at once costs less each; in a small cache every entry counts.
        self._batch = (
            1 if options.max_bytes or not options.max_entries else min(options.max_entries // _BATCHES + 1, 64)
        )
        self._most_bytes = math.inf if options.max_bytes is None else options.max_bytes
        self._sizer: Callable[[Any], int] | None = None
        if options.max_bytes is not None:
            self._sizer = options.sizer or estimate
        self._measures = self._sizer is not None or any(queue.order == "rank" for queue in policy.queues)
        _alive.add(self)

    @classmethod
    def from_request(cls, request: BackendRequest) -> MemoryBackend:
        """Check the options and make one."""
        options = request.parse(MemoryOptions)
        if request.url is not None and (request.url.netloc or request.url.path):
            raise request.refuse("memory:// takes options only, such as memory://?max_entries=1000")
        if options.sizer is not None and not callable(options.sizer):
            raise request.refuse("option 'sizer' must be a function from a value to its bytes")
        if options.sizer is not None and options.max_bytes is None:
            raise request.refuse("option 'sizer' makes no difference without 'max_bytes'")
        return cls(options, request.eviction_policy("sieve"), request)

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        """Copies of the records."""
        found: dict[str, Record] = {}
        with self.lock:
            for key in keys:
                record = self._read(key)
                if record is not None:
                    found[key] = record
        if self.options.copy:
            for record in found.values():
                record.value = copy.deepcopy(record.value)
        return found

    def put_many(self, records: Mapping[str, Record]) -> None:
        """Store them one by one; the first that doesn't fit ends it."""
        gone: Gone = []
        prepared = {key: (record, self._size(record), self._kept_value(record)) for key, record in records.items()}
        try:
            with self.lock:
                for key, (record, size, value) in prepared.items():
                    self._put(key, record, size, value, gone)
        finally:
            self._report(gone)

    def remove_many(self, keys: Sequence[str]) -> dict[str, Record]:
        """Remove them from the entries and from what stands beside."""
        removed: dict[str, Record] = {}
        gone: Gone = []
        with self.lock:
            for key in keys:
                node = self.nodes.get(key)
                if node is not None:
                    removed[key] = node.snapshot()
                    self._take_out(node)
                    gone.append((key, Cause.DELETED, node.value))
                elif key in self.own:
                    removed[key] = self.own.pop(key)
        self._report(gone)
        return removed

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[Record]:
        """All at once: the keys are copied in one step, the records in chunks."""
        own = prefix.startswith("\0")
        names = list(self.own) if own else [*list(self.nodes), *list(self.own)]
        keys = [key for key in names if key.startswith(prefix) and (own or not key.startswith("\0"))]
        heads: dict[str, Record] = {}
        for start in range(0, len(keys), _CHUNK):
            heads |= self._heads(keys[start : start + _CHUNK])
        return ScanPage(heads, None)

    def swap(
        self, key: str, field: Field, expected: Version | None, new: Record | None, header_only: bool = False
    ) -> bool:
        """Compare and replace under the lock."""
        gone: Gone = []
        size = 1 if new is None or header_only else self._size(new)
        value = None if new is None or header_only else self._kept_value(new)
        try:
            with self.lock:
                node = self.nodes.get(key)
                current = self.own.get(key) if node is None else node.snapshot()
                if current is None or expected is None:
                    if current is not None or expected is not None:
                        return False
                elif (current.version if field is Field.VERSION else current.lease) != expected:
                    return False
                if new is None:
                    self._remove(key, node, gone)
                elif header_only and node is not None:
                    self._put(key, new, node.size, node.value, gone, replaces=False)
                else:
                    self._put(key, new, size, value, gone)
                return True
        finally:
            self._report(gone)

    def clear(self, prefix: str) -> int:
        """Remove everything under ``prefix`` but the cache's own records."""
        own = prefix.startswith("\0")
        with self.lock:
            if prefix:
                nodes = [node for node in self.nodes.values() if node.key.startswith(prefix)]
                for node in nodes:
                    self._take_out(node)
            else:
                nodes = list(self.nodes.values())
                self._take_all_out()
            beside = [key for key in self.own if key.startswith(prefix) and (own or not key.startswith("\0"))]
            for key in beside:
                del self.own[key]
        self._report([(node.key, Cause.CLEARED, node.value) for node in nodes])
        return len(nodes) + len(beside)

    def purge(self, limit: int) -> Purged:
        """Remove entries whose time is over, and markers that no entry needs."""
        gone: Gone = []
        now = self.now()
        with self.lock:
            if self.own.sweep_due():
                self.own.sweep(now, self._carried_tags())
            removed = self._purge(now, limit, gone)
            more = self._is_due(now)
        self._report(gone)
        return Purged(removed, more)

    def usage(self) -> Usage:
        """Exact, and at once."""
        return Usage(
            entries=len(self.nodes),
            bytes=self.bytes if self._sizer is not None else None,
            max_entries=self.options.max_entries,
            max_bytes=self.options.max_bytes,
        )

    def ping(self) -> None:
        """Always there."""

    def close(self) -> None:
        """Drop everything."""
        with self.lock:
            self.closed = True
            self._take_all_out()
            self.own.clear()

    def direct(self, port: DirectPort) -> Direct:
        """See `_direct.py`."""
        return direct_paths(self, port)

    # The rest is called with the lock held, unless it says otherwise.

    def insert(self, key: str, value: Any, until: float | None, ttl: float, size: int, gone: Gone) -> Node:
        """Add a plain entry after making room for it; raises `CacheFullError` and changes nothing if there is none.

        Its version is left to the caller.
        """
        lane = self.queues.only_lane
        ghost = None if lane is not None else self.queues.recall(key)
        nodes = self.nodes
        if len(nodes) >= self._most_entries or (self._sizer is not None and self.bytes + size > self._most_bytes):
            self._make_room(key, size, gone)
        if self._measures:
            node: Node = MeasuredNode()
            node.size = size
            node.rank = 0.0
        else:
            node = Node()
        node.key = key
        node.value = value
        node.ttl = ttl
        node.until = until
        node.mark = 0
        node.bucket = None
        node.record = None
        if lane is not None:
            lane.append(node)
        else:
            self.queues.admit(node, ghost)
        self.bytes += size
        nodes[key] = node
        if until is not None:
            self.expiry.note(node)
        return node

    def _read(self, key: str) -> Record | None:
        node = self.nodes.get(key)
        if node is not None:
            self.use(node)
            return node.snapshot()
        return self.own.get(key)

    def _put(self, key: str, record: Record, size: int, value: Any, gone: Gone, *, replaces: bool = True) -> None:
        node = self.nodes.get(key)
        if record.pending or key.startswith("\0"):
            self._remove(key, node, gone)
            self.own[key] = record
            return
        if node is not None:
            self.use(node)  # first of all: it should not be evicted to make room for itself
            if size != node.size:
                self._resize(node, size, gone)
            if replaces and node.lane is not None:
                gone.append((key, Cause.REPLACED, node.value))
        if node is None or node.lane is None:
            node = self.insert(key, value, None, record.ttl, size, gone)
            self.own.pop(key, None)
        else:
            node.value = value
            node.ttl = record.ttl
        node.version = record.version
        plain = record.fresh_until == record.kept_until and not (
            record.tags or record.lease or record.cost or record.token
        )
        node.record = None if plain else record
        # After the value: readers look at this first.
        if record.tags:
            node.until = ASK
        else:
            node.until = None if record.fresh_until == math.inf else record.fresh_until
        self.expiry.note(node)

    def _remove(self, key: str, node: Node | None, gone: Gone) -> None:
        self.own.pop(key, None)
        if node is not None:
            self._take_out(node)
            gone.append((key, Cause.DELETED, node.value))

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
        node.size += grown
        self.bytes += grown
        if node.lane is not None:
            node.lane.bytes += grown

    def _make_room(self, key: str, size: int, gone: Gone) -> None:
        if size > self._most_bytes:
            raise self._too_large(key, size)
        if self.expiry.dues and self._is_due(now := self.now()):
            self._purge(now, _PURGE_ON_WRITE, gone)
        self._evict(self._most_entries - 1, self._most_bytes - size, key, gone)

    def _evict(self, entries: float, size: float, key: str, gone: Gone) -> None:
        """Evict until no more than so many entries and bytes are left, and in a large cache a few more at once."""
        nodes, expiry = self.nodes, self.expiry
        while len(nodes) > entries or self.bytes > size:
            victims = self.queues.evict(self._batch)
            if not victims:
                raise CacheFullError(
                    "the cache is full and its eviction policy lets nothing go", backend="in_memory", key=key
                )
            for victim in victims:
                del nodes[victim.key]
                self.bytes -= victim.size
                if victim.bucket is not None:
                    expiry.forget(victim)
                # Also where nobody listens: the value is held until the lock is free.
                gone.append((victim.key, Cause.CAPACITY, victim.value))
            self._evictions.add(len(victims))

    def _is_due(self, now: float) -> bool:
        return bool(self.expiry.dues) and self.expiry.dues[0] <= now

    def _purge(self, now: float, limit: int, gone: Gone) -> int:
        ended = self.expiry.ended(now, limit)
        for node in ended:
            self._take_out(node)
            gone.append((node.key, Cause.EXPIRED, node.value))
        self._expirations.add(len(ended))
        return len(ended)

    def _take_out(self, node: Node) -> None:
        del self.nodes[node.key]
        self.bytes -= node.size
        self.expiry.forget(node)
        if node.lane is not None:
            node.lane.remove(node)

    def _take_all_out(self) -> None:
        self.nodes.clear()
        self.queues.clear()
        self.expiry.clear()
        self.bytes = 0

    def _heads(self, keys: Iterable[str]) -> dict[str, Record]:
        """Called without the lock."""
        with self.lock:
            found = {key: self.nodes[key].snapshot() for key in keys if key in self.nodes}
            return found | {key: self.own[key] for key in keys if key in self.own}

    def _carried_tags(self) -> Iterable[tuple[str, bytes]]:
        return (tag for node in self.nodes.values() if node.record is not None for tag in node.record.tags)

    def _size(self, record: Record) -> int:
        """Called without the lock: a sizer is the user's code."""
        return 1 if self._sizer is None or record.pending else self._sizer(record.value)

    def _kept_value(self, record: Record) -> Any:
        """Called without the lock: copying runs the user's code."""
        return copy.deepcopy(record.value) if self.options.copy else record.value

    def _report(self, gone: Gone) -> None:
        """Called without the lock."""
        if gone and self.emit is not None:
            self.emit(gone)

    def _too_large(self, key: str, size: int) -> CacheFullError:
        return CacheFullError(
            f"a value of {size:,} bytes is larger than the whole cache, which holds {self._most_bytes:,}",
            backend="in_memory",
            key=key,
        )


_alive: weakref.WeakSet[MemoryBackend] = weakref.WeakSet()
_forking: list[MemoryBackend] = []


def _before_fork() -> None:
    # A child must not inherit a store that another thread was just changing.
    _forking[:] = _alive
    for backend in _forking:
        backend.lock.acquire()


def _after_fork() -> None:
    while _forking:
        _forking.pop().lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
