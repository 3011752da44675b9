"""Tags: entries that die together when one of their tags is invalidated, however many there are.

Every tag has a marker, a record of the cache's own that holds a random token. A tagged entry keeps the tokens that its
tags had when it was written, and is served only while all of them still stand. Invalidating a tag writes a new token:
one write, whatever carries the tag. A marker that is lost makes its entries misses; tokens are random, so nothing
that is written later can make them live again.

A marker also says at which point of the cache's sequence of invalidations it was written, so that a load
that learns its tags late can tell whether one of them was invalidated while it ran.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ._codec import Unreadable
from ._keys import MARKER, SEQUENCE
from ._record import Field, Record, Tags, Version
from ._steps import Steps
from ._store import Store
from .errors import CacheKeyError

_MARKER_LIFE = 86_400.0
"""Seconds that a marker is kept at least: longer than the longest load."""
_MOST_TAGS = 1000


class Sequence(NamedTuple):
    """A point in a cache's sequence of invalidations; numbers of different epochs can't be compared."""

    epoch: bytes
    number: int


class _Own(NamedTuple):
    """A record of the cache's own as found; no content if it is missing, over or not to be trusted."""

    content: bytes | None
    version: Version | None
    kept_until: float


_NONE = _Own(None, None, 0.0)


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """``tags``, each once.

    Raises:
        CacheKeyError: One is no text, empty or too long, or ``tags`` is a single text.
    """
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise CacheKeyError(f"tags must be several texts, such as ('a', 'b'), got a single {type(tags).__name__}")
    given = tuple(tags)
    if len(given) > _MOST_TAGS:
        raise CacheKeyError(f"an entry may have {_MOST_TAGS} tags, got {len(given)}")
    for tag in given:
        if not isinstance(tag, str) or not tag or len(tag) > _MOST_TAGS:
            raise CacheKeyError(f"a tag must be a text of 1 to {_MOST_TAGS} characters")
        try:
            tag.encode()
        except UnicodeEncodeError:
            raise CacheKeyError("a tag must be encodable as UTF-8, this one has a lone surrogate") from None
    return tuple(dict.fromkeys(given))


def alive(tags: Tags, tokens: Mapping[str, bytes | None]) -> bool:
    """Whether every token of an entry still stands."""
    return all(tokens.get(tag) == token for tag, token in tags)


class TagOperations:
    """Steps that read and write markers.

    Args:
        store: The cache's shared parts.
        driver: Its synchronous or asynchronous driver.
    """

    def __init__(self, store: Store, driver: Any) -> None:
        self._store = store
        self._driver = driver

    def tokens(self, tags: Iterable[str]) -> Steps[dict[str, bytes | None]]:
        """The current token of every tag; None where there is no marker."""
        keys = {tag: self._store.keys.own(MARKER, tag) for tag in tags}
        stored = yield self._driver.get_many, (tuple(keys.values()),)
        return {tag: self.token_of(tag, stored.get(key)) for tag, key in keys.items()}

    def token_of(self, tag: str, stored: Any) -> bytes | None:
        """The token in a marker as stored."""
        content = self._read(self._store.keys.own(MARKER, tag), stored).content
        return None if content is None else content[:8]

    def ensure(self, tags: Iterable[str], until: float) -> Steps[Tags]:
        """Tags with their current tokens, for an entry kept until then; markers that are missing are made."""
        self._store.tagged = True
        found: dict[str, bytes] = {}
        missing = {tag: self._store.keys.own(MARKER, tag) for tag in tags}
        while missing:
            stored = yield self._driver.get_many, (tuple(missing.values()),)
            for tag, key in list(missing.items()):
                marker = self._read(key, stored.get(key))
                content = marker.content
                if content is None or marker.kept_until < until:
                    if content is None:
                        content = self._store.token() + _pack((yield from self.sequence()))
                    record = self._record(tag, content, until)
                    if not (yield from self._replace(key, stored.get(key), marker.version, record)):
                        continue
                found[tag] = content[:8]
                del missing[tag]
        return tuple(found.items())

    def invalidate(self, tags: Iterable[str]) -> Steps[None]:
        """Give every tag a new token; all of them are acknowledged when it returns."""
        self._store.tagged = True
        sequence = yield from self._advance()
        until = self._store.ttl.clock() + _MARKER_LIFE
        markers = {}
        for tag in tags:
            key = self._store.keys.own(MARKER, tag)
            content = self._store.token() + _pack(sequence)
            markers[key] = self._store.codec.raw(key, self._record(tag, content, until))
        if markers:
            yield self._driver.put_many, (markers,)

    def sequence(self) -> Steps[Sequence]:
        """The point that the cache's sequence of invalidations has reached."""
        key = self._store.keys.own(SEQUENCE)
        stored = yield self._driver.get, (key,)
        found = self._read(key, stored)
        return _point(found.content) if found.content is not None else (yield from self._advance())

    def not_after(self, start: Sequence | None, tags: Iterable[str], until: float) -> Steps[Tags | None]:
        """Tags that nobody has invalidated since ``start``, with their tokens; None if one of them may have been.

        A marker says how far the sequence had come when it was written. One that is made here for want of another says
        how far it has come now: then nothing at all may have been invalidated since ``start``.

        Args:
            start: What `sequence` was then; None refuses.
            tags: Texts.
            until: How long the markers have to stay at least.
        """
        tokens = yield from self.ensure(tags, until)
        keys = {tag: self._store.keys.own(MARKER, tag) for tag, _ in tokens}
        stored = yield self._driver.get_many, (tuple(keys.values()),)
        for tag, token in tokens:
            content = self._read(keys[tag], stored.get(keys[tag])).content
            if start is None or content is None or content[:8] != token:
                return None
            epoch, number = _point(content[8:])
            if epoch != start.epoch or number > start.number:
                return None
        return tokens

    def _advance(self) -> Steps[Sequence]:
        key = self._store.keys.own(SEQUENCE)
        while True:
            stored = yield self._driver.get, (key,)
            found = self._read(key, stored)
            if found.content is None:
                point = Sequence(self._store.token(), 1)
            else:
                epoch, number = _point(found.content)
                point = Sequence(epoch, number + 1)
            record = Record(value=_pack(point), version=self._store.token())
            swapped = yield from self._replace(key, stored, found.version, record)
            if swapped:
                return point

    def _replace(self, key: str, stored: Any, version: Version | None, record: Record) -> Steps[bool]:
        if version is None and stored is not None:  # too short to have a version: no swap could compare it
            yield self._driver.remove, (key,)
        new = self._store.codec.raw(key, record)
        swapped: bool = yield self._driver.swap, (key, Field.VERSION, version, new)
        return swapped

    def _record(self, tag: str, content: bytes, until: float) -> Record:
        # Twice the time that is asked for: else every later entry would have to prolong its markers.
        now = self._store.ttl.clock()
        kept = now + max(2 * (until - now), _MARKER_LIFE)
        # A marker names itself as its tag, so that a driver can tell which markers its entries still need.
        return Record(
            value=content,
            version=self._store.token(),
            fresh_until=kept,
            kept_until=kept,
            tags=((tag, content[:8]),),
        )

    def _read(self, key: str, stored: Any) -> _Own:
        if stored is None:
            return _NONE
        codec = self._store.codec
        try:
            record = codec.decode(key, stored)
            value = codec.raw_value(key, record)
        except Unreadable as error:
            return _Own(None, error.version, 0.0)
        over = self._store.ttl.clock() >= record.kept_until
        return _Own(None if over else value, record.version, record.kept_until)


def _pack(point: Sequence) -> bytes:
    return point.epoch + point.number.to_bytes(8, "little")


def _point(content: bytes) -> Sequence:
    return Sequence(content[:8], int.from_bytes(content[8:16], "little"))
