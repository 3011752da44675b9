"""Reading and looking: get, get_many, exists, ttl, keys, explain.

`Reads.get` is the way of one item from top to bottom: key, backend, codec, lifetime, tags (all in `Lookup.see`),
value, statistics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ._codec import BytesCodec, Unreadable
from ._defaults import PAGE
from ._explain import Explanation, explanation
from ._guard import degrades, no
from ._keys import show
from ._lookup import ASK, Found, Lookup, Seen, Unserved
from ._record import Record
from ._steps import Steps
from .errors import CacheError, CacheExpiredError, CacheKeyError

_LOWEST = "\1"
"""Of all keys: an empty text and whatever begins with NUL come before it."""


class Reads:
    """Reading operations of one view.

    Args:
        lookup: Finds and judges entries.
        namespace: Put in front of every key; empty, or with its separator at the end.
    """

    def __init__(self, lookup: Lookup, namespace: str) -> None:
        self.store = lookup.store
        self._lookup = lookup
        self._namespace = namespace

    def storage(self, key: object) -> str:
        """Where the user's ``key`` is kept; raises `CacheKeyError`."""
        keys = self.store.keys
        return keys.prefix + keys.check(key, self._namespace)

    def storages(self, keys: Iterable[str]) -> dict[str, str]:
        """The user's keys by storage key, each once; raises `CacheKeyError`."""
        start = self.store.keys.prefix + self._namespace
        # What is surely a key needs no closer look, and nearly every key is one.
        return {
            start + key if key.__class__ is str and key >= _LOWEST and key.isascii() else self.storage(key): key
            for key in self.store.keys.several(keys)
        }

    def _missed(self, key: str, default: Any = None, *, stored: Any = None) -> Any:
        self.store.recorder.misses.increment()
        return default

    def _missed_all(self, wanted: Mapping[str, str]) -> dict[str, Any]:
        self.store.recorder.misses.add(len(wanted))
        return {}

    @degrades(_missed)
    def get(self, key: str, default: Any = None) -> Steps[Any]:
        """Value or default; counted."""
        storage = self.storage(key)
        seen = yield from self._lookup.see(storage)
        return (yield from self._served(storage, seen, default))

    @degrades(_missed)
    def judged(self, key: str, default: Any = None, *, stored: Any = None) -> Steps[Any]:
        """`get`, of what has been fetched already."""
        storage = self.storage(key)
        seen = yield from self._lookup.judge(storage, stored)
        return (yield from self._served(storage, seen, default))

    def _served(self, storage: str, seen: Seen, default: Any) -> Steps[Any]:
        served, value = self._lookup.value(storage, seen)
        if not served:
            self.store.recorder.misses.increment()
            if default is ASK and seen.stored:
                raise Unserved(seen)
            return default
        self.store.recorder.hits.increment()
        yield from self.slide(storage, seen)
        return value

    def get_many(self, keys: Iterable[str]) -> Steps[dict[str, Any]]:
        """Those found; counted."""
        self.store.check_open()
        return self._get_all(self.storages(keys))  # ``keys`` may be an iterator: nobody can go through it twice

    @degrades(_missed_all)
    def _get_all(self, wanted: Mapping[str, str]) -> Steps[dict[str, Any]]:
        store, lookup = self.store, self._lookup
        values: dict[str, Any] = {}
        if isinstance(store.codec, BytesCodec) and not store.ttl.sliding and not lookup.tags_at_once:
            stored = yield lookup.driver.get_many, (tuple(wanted),)
            values, others = self._plain(store.codec, wanted, stored)
            if not others:
                store.recorder.hits.add(len(values))
                store.recorder.misses.add(len(wanted) - len(values))
                return values
            seen = yield from lookup.judge_many(others)
        else:
            seen = yield from lookup.see_many(tuple(wanted))
        for storage, key in wanted.items():
            served, value = lookup.value(storage, seen[storage]) if storage in seen else (False, None)
            if served:
                values[key] = value
                yield from self.slide(storage, seen[storage])
        store.recorder.hits.add(len(values))
        store.recorder.misses.add(len(wanted) - len(values))
        return values

    def _plain(
        self, codec: BytesCodec, wanted: Mapping[str, str], stored: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Values of the plain records among ``stored`` by the user's key, and all other records; see `_plain.py`."""
        now = self.store.ttl.clock()
        read, base = codec.plain_reader(lambda: now), codec.context
        values: dict[str, Any] = {}
        others: dict[str, bytes] = {}
        for storage, data in stored.items():
            plain, value = read(base + storage.encode(), data)
            if plain:
                values[wanted[storage]] = value
            else:
                others[storage] = value
        return values, others

    def missing(self, key: str) -> CacheKeyError:
        """The error for a key that must be there and isn't."""
        return CacheKeyError(f"cache {self.store.name!r} has no {show(key)}", cache=self.store.name, key=key)

    def _raise_missing(self, key: str) -> Any:
        self.store.recorder.misses.increment()
        raise self.missing(key)

    @degrades(_raise_missing)
    def getitem(self, key: str) -> Steps[Any]:
        """Value, or why there is none as an error; counted."""
        storage = self.storage(key)
        seen = yield from self._lookup.see(storage)
        served, value = self._lookup.value(storage, seen)
        if served:
            self.store.recorder.hits.increment()
            yield from self.slide(storage, seen)
            return value
        self.store.recorder.misses.increment()
        if seen.found is not Found.STALE:
            raise self.missing(key)
        raise CacheExpiredError(
            f"cache {self.store.name!r}: {show(key)} is past its ttl", cache=self.store.name, key=key
        )

    def _unknown(self, key: str) -> float | None:
        return None

    def _none_seen(self, prefix: str = "") -> list[str]:
        return []

    @degrades(no)
    def exists(self, key: str) -> Steps[bool]:
        """Whether `get` would find it; not counted."""
        storage = self.storage(key)
        seen = yield from self._lookup.see(storage)
        return self._lookup.value(storage, seen)[0]

    @degrades(_unknown)
    def ttl(self, key: str) -> Steps[float | None]:
        """Seconds left; None if absent, inf for no expiry."""
        seen = yield from self._lookup.see(self.storage(key))
        if seen.found is not Found.FRESH or seen.record is None:
            return None
        until = seen.record.fresh_until
        return math.inf if until == math.inf else max(0.0, until - self.store.ttl.clock())

    @degrades(_none_seen)
    def keys(self, prefix: str = "") -> Steps[list[str]]:
        """The user's keys of all fresh entries under ``prefix``."""
        start = self.store.keys.prefix + self._namespace
        found: dict[str, None] = {}
        cursor = None
        while True:
            page = yield self._lookup.driver.scan, (start + prefix, cursor, PAGE)
            heads = {key: head for key, head in page.heads.items() if not key.startswith("\0")}
            seen = yield from self._lookup.judge_many(heads)
            found |= dict.fromkeys(key[len(start) :] for key, one in seen.items() if one.found is Found.FRESH)
            cursor = page.cursor
            if cursor is None:
                return list(found)

    def explain(self, key: str) -> Steps[Explanation]:
        """Where the value lives, or why it is not served; not counted."""
        self.store.check_open()
        storage = self.storage(key)
        try:
            seen = yield from self._lookup.see(storage)
        except CacheError as error:
            return explanation(self.store, key, storage, None, f"the backend fails: {error.message}")
        reason = seen.reason
        if seen.found is Found.FRESH and seen.record is not None:
            try:
                self.store.codec.value(storage, seen.record)
            except Unreadable as error:
                seen, reason = Seen(Found.UNREADABLE, seen.record, seen.version, True), error.reason
        return explanation(self.store, key, storage, seen, reason)

    def slide(self, storage: str, seen: Seen) -> Steps[None]:
        """Renew an entry of a sliding cache after a hit; a failure only means that it isn't renewed."""
        record, ttl = seen.record, self.store.ttl
        if record is None or not ttl.sliding or not ttl.due(record, ttl.clock()):
            return
        with suppress(CacheError):
            header = yield from self.renewed(storage, record, record.ttl)
            yield from self._lookup.replace(storage, seen, header, True)

    def renewed(self, storage: str, record: Record, seconds: float) -> Steps[Any]:
        """A header that gives ``record`` ``seconds`` from now and keeps its lease; its tags' markers live as long."""
        store = self.store
        times = store.ttl.renewed(record, seconds, store.ttl.clock())
        if record.tags and times.kept_until > record.kept_until:
            yield from self._lookup.tags.ensure((tag for tag, _ in record.tags), times.kept_until)
        return store.codec.header(storage, record.with_times(store.token(), times))
