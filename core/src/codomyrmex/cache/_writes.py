"""Writing: set, set_many, add, incr, touch, expire.

Whatever depends on what is there reads it, decides, and swaps it by version. A swap that fails means that somebody
was quicker: the operation starts again from what is there now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._guard import degrades, never_silent, no
from ._keys import show
from ._lookup import Decision, Found, Lookup, Seen
from ._reads import Reads
from ._record import Field, Record, Tags, Times
from ._steps import Steps
from ._tags import check_tags
from ._ttl import Ttl
from .errors import CacheKeyError, CacheSerializationError


class Writes:
    """Writing operations of one view.

    Args:
        lookup: Finds, judges and replaces entries.
        reads: The view's reading operations.
    """

    def __init__(self, lookup: Lookup, reads: Reads) -> None:
        self.store = lookup.store
        self._lookup = lookup
        self._reads = reads

    @degrades(no)
    def set(
        self, key: str, value: Any, ttl: Ttl | None = None, *, tags: Iterable[str] = (), stale_for: Ttl | None = None
    ) -> Steps[bool]:
        """Store; True."""
        storage = self._reads.storage(key)
        times = self.store.ttl.times(ttl, stale_for)
        tokens = yield from self._tokens(tags, times)
        yield self._lookup.driver.put, (storage, self._encode(key, storage, value, times, tokens))
        self.store.recorder.sets.increment()
        return True

    @degrades(no)
    def set_many(
        self,
        mapping: Mapping[str, Any],
        ttl: Ttl | None = None,
        *,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
    ) -> Steps[bool]:
        """Store all in one trip; True."""
        if not isinstance(mapping, Mapping):
            raise CacheKeyError(
                f"cache {self.store.name!r}: set_many takes a mapping of keys to values, got a {type(mapping).__name__}"
            )
        times = self.store.ttl.times(ttl, stale_for)
        storages = self._reads.storages(mapping)
        tokens = yield from self._tokens(tags, times)
        records = {
            storage: self._encode(key, storage, mapping[key], times, tokens) for storage, key in storages.items()
        }
        if records:
            yield self._lookup.driver.put_many, (records,)
            self.store.recorder.sets.add(len(records))
        return True

    @degrades(no)
    def add(
        self, key: str, value: Any, ttl: Ttl | None = None, *, tags: Iterable[str] = (), stale_for: Ttl | None = None
    ) -> Steps[bool]:
        """Store only if absent; whether it did."""
        storage = self._reads.storage(key)

        def record() -> Steps[Any]:
            times = self.store.ttl.times(ttl, stale_for)
            tokens = yield from self._tokens(tags, times)
            return self._encode(key, storage, value, times, tokens)

        def decide(seen: Seen) -> Steps[Decision]:
            if self._lookup.value(storage, seen)[0]:
                return Decision(False, swap=False)
            return Decision(True, new=(yield from record()))

        # Most keys that are added are absent: then one call of the driver is enough.
        first = yield from record()
        added: bool = yield self._lookup.driver.swap, (storage, Field.VERSION, None, first)
        if not added:
            added = yield from self._lookup.change(storage, decide)
        if added:
            self.store.recorder.sets.increment()
        return added

    def _not_added(self, key: str, delta: int = 1, *, initial: int = 0, ttl: Ttl | None = None) -> int:
        return False

    @degrades(_not_added)
    def incr(self, key: str, delta: int = 1, *, initial: int = 0, ttl: Ttl | None = None) -> Steps[int]:
        """Add to an int, atomically; the new value (False when degraded)."""
        storage = self._reads.storage(key)
        for number in (delta, initial):
            if type(number) is not int:
                raise CacheSerializationError(
                    f"cache {self.store.name!r}: incr and decr take ints, got a {type(number).__name__}", key=key
                )

        def decide(seen: Seen) -> Steps[Decision]:
            yield from ()
            served, value = self._lookup.value(storage, seen)
            if served and type(value) is not int:
                raise CacheSerializationError(
                    f"cache {self.store.name!r}: {show(key)} holds a {type(value).__name__}, not an int", key=key
                )
            if served and seen.record is not None:
                old = seen.record
                times, tokens = Times(old.fresh_until, old.value_until, old.ttl), old.tags
            else:
                value, times, tokens = initial, self.store.ttl.times(ttl), ()
            total = value + delta
            return Decision(total, new=self._encode(key, storage, total, times, tokens))

        total: int = yield from self._lookup.change(storage, decide)
        self.store.recorder.sets.increment()
        return total

    def decr(self, key: str, delta: int = 1, *, initial: int = 0, ttl: Ttl | None = None) -> Steps[int]:
        """Subtract from an int; see `incr`, which refuses what is no int."""
        return self.incr(key, -delta if type(delta) is int else delta, initial=initial, ttl=ttl)

    @degrades(no)
    def touch(self, key: str, ttl: Ttl | None = None) -> Steps[bool]:
        """A new life; False if absent."""
        storage = self._reads.storage(key)
        _, _, seconds = self.store.ttl.times(ttl)

        def decide(seen: Seen) -> Steps[Decision]:
            if not self._lookup.value(storage, seen)[0] or seen.record is None:
                return Decision(False, swap=False)
            header = yield from self._reads.renewed(storage, seen.record, seconds)
            return Decision(True, new=header, header_only=True)

        touched: bool = yield from self._lookup.change(storage, decide)
        return touched

    @never_silent
    def expire(self, key: str) -> Steps[bool]:
        """End the ttl now, keep the value as a fallback, and let no running load store; False if absent."""
        storage = self._reads.storage(key)

        def decide(seen: Seen) -> Steps[Decision]:
            yield from ()
            record = seen.record
            if record is None or seen.found not in (Found.FRESH, Found.STALE):
                return Decision(False)  # a load that has no value yet loses its lease
            ended = record.with_times(self.store.token(), self.store.ttl.ended(record))
            ended.lease, ended.lease_until, ended.failed, ended.extended = None, 0.0, False, False
            header = self.store.codec.header(storage, ended)
            return Decision(seen.found is Found.FRESH, new=header, header_only=True)

        expired: bool = yield from self._lookup.change(storage, decide)
        return expired

    def _tokens(self, tags: Iterable[str], times: Times) -> Steps[Tags]:
        # A plain `set` has no tags and pays no more than this test for them.
        if not tags:
            return ()
        return (yield from self._lookup.tags.ensure(check_tags(tags), times.kept_until))

    def _encode(self, key: str, storage: str, value: Any, times: Times, tags: Tags) -> Any:
        record = Record(
            value=value,
            version=self.store.token(),
            fresh_until=times.fresh_until,
            kept_until=times.kept_until,
            ttl=times.ttl,
            tags=tags,
        )
        return self.store.encode(key, storage, record)
