"""Fences: how a load gets the right to store, and keeps it only as long as nothing has happened to its key.

A load plants a lease in the record before it looks at its source, and stores by a swap on that lease. Every write and
every removal of the key takes the lease out. Tags are kept by the tokens that they had before the load: if one of them
is invalidated meanwhile, what the load stores is dead on arrival.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from enum import Enum, auto
from typing import Any, NamedTuple

from ._lookup import NOTHING, Decision, Found, Lookup, Seen
from ._record import Field, Record, Swap, Tags, Times
from ._steps import Steps
from ._tags import Sequence, check_tags

_PATIENCE = 10
"""Times its lease that a load may take and still store, if nobody has taken over."""
_HAS_VALUE = (Found.FRESH, Found.STALE)
UNSETTLED: Any = object()
"""In place of the tags of a load whose late ones are being looked at: whoever comes now looks again in a moment."""


class Plan(Enum):
    """What a caller who wants a value does with what is there."""

    SERVE = auto()
    """It is fresh."""
    KEPT = auto()
    """The last load failed a moment ago: what was there before is served."""
    WAIT = auto()
    """Somebody is loading it."""
    LEAD = auto()
    """Load it."""


def plan(seen: Seen, now: float) -> Plan:
    """What to do about a key, at ``now`` on the driver's clock."""
    record = seen.record
    if seen.found is Found.FRESH:
        return Plan.SERVE
    if record is None or now >= record.lease_until:
        return Plan.LEAD
    if seen.found is Found.STALE and record.failed:
        return Plan.KEPT
    return Plan.WAIT if record.lease is not None and seen.found in (Found.STALE, Found.PENDING) else Plan.LEAD


def is_free(record: Record, now: float) -> bool:
    """Whether a fresh entry may be loaded ahead of its time: nobody does, and nobody has just failed to."""
    return now >= record.lease_until or (record.lease is None and not record.failed)


class Captured(NamedTuple):
    """What the tags were before a load.

    Late tags are known at the end only. Callers who arrive before they are looked at are safe: an invalidation that was
    over by then is found by looking. Callers who arrive later have to compare their tokens with those of that time.

    Attributes:
        tags: Those that the caller gave, with their tokens.
        until: How long their markers are there at least.
        sequence: How far the cache's sequence of invalidations had come; None if the factory can't add tags.
    """

    tags: Tags = ()
    until: float = math.inf
    sequence: Sequence | None = None

    def has_all(self, tags: Iterable[str]) -> bool:
        """Whether none of ``tags`` is a late one."""
        return {tag for tag, _ in self.tags}.issuperset(tags)


class Fences:
    """Steps of the driver that a load takes around its factory.

    Args:
        lookup: Finds, judges and replaces entries.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._store = lookup.store

    def plant(self, storage: str, seen: Seen, lease: bytes, life: float) -> Steps[bool]:
        """Put ``lease`` where ``seen`` was, for ``life`` seconds; False if somebody was quicker."""
        swap = self.planting(storage, seen, lease, life)
        return (yield from self._lookup.replace(storage, seen, swap.new, swap.header_only))

    def planting(self, storage: str, seen: Seen, lease: bytes, life: float) -> Swap:
        """The swap that puts ``lease`` where ``seen`` was."""
        now = self._store.ttl.clock()
        until, kept = now + life, now + life * _PATIENCE
        record, codec, version = seen.record, self._store.codec, self._store.token()
        if record is None or seen.found not in _HAS_VALUE:
            pending = Record(None, version, kept, kept, kept - now, lease, until, pending=True)
            return Swap(storage, Field.VERSION, seen.version, codec.encode(storage, pending))
        leased = replace(record, version=version, lease=lease, lease_until=until, failed=False)
        if leased.value_until == leased.fresh_until < kept:
            # Without a fallback the record would go with its value, and the lease with the record.
            leased.kept_until, leased.extended = kept, True
        return Swap(storage, Field.VERSION, seen.version, codec.header(storage, leased), True)

    def capture(self, tags: tuple[str, ...], until: float, *, late: bool) -> Steps[Captured]:
        """What the tags are now; ``late`` if more may be added at the end."""
        tokens = (yield from self._lookup.tags.ensure(tags, until)) if tags else ()
        sequence = (yield from self._lookup.tags.sequence()) if late else None
        return Captured(tokens, until, sequence)

    def still(self, captured: Tags) -> Steps[bool]:
        """Whether none of the tags has been invalidated since."""
        if not captured:
            return True
        tokens = yield from self._lookup.tags.tokens(tag for tag, _ in captured)
        return all(tokens[tag] == token for tag, token in captured)

    def tokens(self, captured: Captured, tags: Iterable[str], until: float) -> Steps[Tags | None]:
        """The tokens to store with a value kept ``until`` then; None if one of its tags has been invalidated.

        Args:
            captured: What the tags were before the load.
            tags: What they are to be, some perhaps chosen late.
            until: Time on the driver's clock.

        Raises:
            CacheKeyError: One of them is no tag.
        """
        known = dict(captured.tags)
        chosen = check_tags(tags)
        early = tuple(tag for tag in chosen if tag in known)
        found: dict[str, bytes] = {tag: known[tag] for tag in early}
        if early and until > captured.until:
            prolonged = yield from self._lookup.tags.ensure(early, until)
            if dict(prolonged) != found:
                return None
        late = tuple(tag for tag in chosen if tag not in known)
        if late:
            tokens = yield from self._lookup.tags.not_after(captured.sequence, late, until)
            if tokens is None:
                return None
            found |= dict(tokens)
        return tuple(found.items())

    def prolonged(self, captured: Captured, tags: Tags, until: float) -> Steps[None]:
        """Let the markers of a kept value's ``tags`` live as long as it does from now on."""
        known = dict(captured.tags)
        others = tuple(tag for tag, _ in tags if tag not in known or until > captured.until)
        if others:
            yield from self._lookup.tags.ensure(others, until)

    def store(self, key: str, storage: str, lease: bytes, record: Record) -> Steps[bool]:
        """Store ``record`` if ``lease`` is still there."""
        stored: bool = yield self._lookup.driver.swap, tuple(self.storing(key, storage, lease, record))
        return stored

    def storing(self, key: str, storage: str, lease: bytes, record: Record) -> Swap:
        """The swap that stores ``record`` if ``lease`` is still there; raises `CacheSerializationError`."""
        return Swap(storage, Field.LEASE, lease, self._store.encode(key, storage, record))

    def renew(self, storage: str, lease: bytes, record: Record, times: Times) -> Steps[bool]:
        """Let the time of the value in ``record`` begin anew if ``lease`` is still there."""
        header = self._store.codec.header(storage, _freed(record, self._store.token(), times))
        stored: bool = yield self._lookup.driver.swap, (storage, Field.LEASE, lease, header, True)
        return stored

    def give_up(self, storage: str, lease: bytes, retry_after: float = 0.0) -> Steps[Seen]:
        """Take ``lease`` out; what is left of the entry, absent if the lease was gone.

        Args:
            storage: The storage key.
            lease: The load's own.
            retry_after: Seconds for which nobody is to try again, if there is a value to be served meanwhile.
        """

        def decide(seen: Seen) -> Steps[Decision]:
            yield from ()
            record = seen.record
            if record is None or record.lease != lease:
                return Decision(NOTHING, swap=False)
            if seen.found not in _HAS_VALUE:
                return Decision(NOTHING)
            free = _freed(record, self._store.token(), Times(record.fresh_until, record.value_until, record.ttl))
            if retry_after:
                free.failed, free.lease_until = True, self._store.ttl.clock() + retry_after
            return Decision(seen, new=self._store.codec.header(storage, free), header_only=True)

        left: Seen = yield from self._lookup.change(storage, decide)
        return left


def _freed(record: Record, version: bytes, times: Times) -> Record:
    free = record.with_times(version, times)
    free.lease, free.lease_until, free.failed, free.extended = None, 0.0, False, False
    return free
