"""Finding an entry and judging it: what every read, write and removal begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from ._codec import Unreadable
from ._keys import MARKER
from ._record import Field, Record, Version
from ._steps import Steps, before
from ._store import Store
from ._tags import TagOperations, alive
from ._ttl import State, judge
from .errors import CacheConnectionError, CacheFullError


class Found(Enum):
    """What a key turns out to be, all things considered."""

    ABSENT = "absent"
    FRESH = "fresh"
    STALE = "stale"
    PENDING = "pending"
    EXPIRED = "expired"
    INVALIDATED = "invalidated"
    UNREADABLE = "unreadable"


_BY_STATE = {State.FRESH: Found.FRESH, State.STALE: Found.STALE, State.PENDING: Found.PENDING}
_BY_STATE[State.EXPIRED] = Found.EXPIRED


class Seen(NamedTuple):
    """A key as found in the store.

    Attributes:
        found: What a caller may do with it.
        record: The record with its value as stored; None where there is none that can be read.
        version: What a swap may compare; None if there is no record, or one too short to have a version.
        stored: Whether there is anything under the key.
        reason: For people, where `found` needs one.
    """

    found: Found
    record: Record | None = None
    version: Version | None = None
    stored: bool = False
    reason: str = ""


NOTHING = Seen(Found.ABSENT)
ASK: Any = object()
"""A default for a read that is to be followed by a load: where there is a record, `Unserved` is raised in its place."""


class Unserved(Exception):
    """What was seen where no value can be served, so that a load needs no second look.

    An exception, because a hit must not pay for it.
    """

    def __init__(self, seen: Seen) -> None:
        super().__init__(seen.found.value)
        self.seen = seen


NOT_SERVED = (Unserved, CacheConnectionError, CacheFullError)
"""What a read may raise that a load answers."""


class Decision(NamedTuple):
    """What is to be done with an entry, and what the caller is told once it is done.

    Attributes:
        result: For the caller.
        swap: Whether the entry changes at all.
        new: What replaces it, as the driver stores it; None for nothing.
        header_only: Only the header of ``new`` counts.
    """

    result: Any
    swap: bool = True
    new: Any = None
    header_only: bool = False


class Lookup:
    """Steps that read entries and say what they are.

    Args:
        store: The cache's shared parts.
        driver: Its synchronous or asynchronous driver.
    """

    def __init__(self, store: Store, driver: Any) -> None:
        self.store = store
        self.driver = driver
        self.tags = TagOperations(store, driver)
        self._one_trip: bool = driver.capabilities.one_trip_tags

    def open(self) -> Steps[None]:
        """Let the driver get ready."""
        yield self.driver.open, ()
        self.store.ready = True

    @property
    def tags_at_once(self) -> bool:
        """Whether the driver is to be asked for records and their tags together."""
        return self._one_trip and self.store.tagged

    def see(self, key: str) -> Steps[Seen]:
        """What is under one storage key."""
        if self.tags_at_once:
            return (yield from self.see_many((key,))).get(key, NOTHING)
        return (yield from self.judge(key, (yield self.driver.get, (key,))))

    def judge(self, key: str, stored: Any) -> Steps[Seen]:
        """What a record already fetched is."""
        if stored is None:
            return NOTHING
        seen = self._decode(key, stored)
        if seen.record is None or not seen.record.tags:
            return seen
        self.store.tagged = True
        return self._with_tokens(seen, (yield from self.tags.tokens(tag for tag, _ in seen.record.tags)))

    def see_many(self, keys: Sequence[str]) -> Steps[dict[str, Seen]]:
        """What is under several storage keys; absent ones are not in the result."""
        if self.tags_at_once:
            stored, markers = yield self.driver.get_tagged, (keys, self.store.keys.own(MARKER))
            tokens = {tag: self.tags.token_of(tag, marker) for tag, marker in markers.items()}
            decoded = {key: self._decode(key, data) for key, data in stored.items()}
            return {key: self._with_tokens(seen, tokens) for key, seen in decoded.items()}
        stored = yield self.driver.get_many, (keys,)
        return (yield from self.judge_many(stored))

    def judge_many(self, stored: Mapping[str, Any]) -> Steps[dict[str, Seen]]:
        """What records (or heads) already fetched are."""
        decoded = {key: self._decode(key, data) for key, data in stored.items()}
        tags = {tag for seen in decoded.values() if seen.record for tag, _ in seen.record.tags}
        if not tags:
            return decoded
        self.store.tagged = True
        tokens = yield from self.tags.tokens(tags)
        return {key: self._with_tokens(seen, tokens) for key, seen in decoded.items()}

    def value(self, key: str, seen: Seen) -> tuple[bool, Any]:
        """Whether a fresh entry's value can be served, and the value."""
        if seen.found is not Found.FRESH or seen.record is None:
            return False, None
        try:
            return True, self.store.codec.value(key, seen.record)
        except Unreadable:
            self.store.recorder.unreadable.increment()
            return False, None

    def change(self, key: str, decide: Callable[[Seen], Steps[Decision]]) -> Steps[Any]:
        """Read, decide and swap until nobody else has changed the entry in between; the decision's result.

        Args:
            key: The storage key.
            decide: Asked anew whenever somebody was quicker.
        """
        attempt = 0
        while True:
            yield from before(attempt)
            attempt += 1
            seen = yield from self.see(key)
            decision = yield from decide(seen)
            if not decision.swap or (yield from self.replace(key, seen, decision.new, decision.header_only)):
                return decision.result

    def replace(self, key: str, seen: Seen, new: Any, header_only: bool = False) -> Steps[bool]:
        """Put ``new`` (None: nothing) where ``seen`` was; False if it has changed meanwhile."""
        if seen.stored and seen.version is None:  # too short to have a version: no swap could compare it
            yield self.driver.remove, (key,)
        if seen.version is None and new is None:
            return True
        swapped: bool = yield self.driver.swap, (key, Field.VERSION, seen.version, new, header_only)
        return swapped

    def _decode(self, key: str, stored: Any) -> Seen:
        try:
            record = self.store.codec.decode(key, stored)
        except Unreadable as error:
            self.store.recorder.unreadable.increment()
            return Seen(Found.UNREADABLE, None, error.version, True, error.reason)
        state = judge(record, self.store.ttl.clock())
        return Seen(_BY_STATE[state], record, record.version, True)

    @staticmethod
    def _with_tokens(seen: Seen, tokens: Mapping[str, bytes | None]) -> Seen:
        if seen.record is None or alive(seen.record.tags, tokens):
            return seen
        if seen.found is not Found.FRESH and seen.found is not Found.STALE:
            return seen
        dead = [tag for tag, token in seen.record.tags if tokens.get(tag) != token]
        return seen._replace(found=Found.INVALIDATED, reason=f"invalidated by tag {dead[0]!r}")
