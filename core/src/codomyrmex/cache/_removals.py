"""Removing: delete, delete_many, delete_pattern, pop, invalidate_tags, clear.

Each of them takes the whole record away, lease included, so that a load which was running stores nothing. A failure is
never silent: it is raised as `CacheInvalidationError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ._defaults import PAGE
from ._guard import never_silent
from ._keys import glob_pattern, glob_prefix, key_problem
from ._lookup import Decision, Found, Lookup, Seen
from ._reads import Reads
from ._steps import Steps
from ._tags import check_tags
from .errors import CacheKeyError

_HELD = (Found.FRESH, Found.STALE)


class Removals:
    """Removing operations of one view.

    Args:
        lookup: Finds, judges and replaces entries.
        reads: The view's reading operations.
        namespace: Put in front of every key; empty, or with its separator at the end.
    """

    def __init__(self, lookup: Lookup, reads: Reads, namespace: str) -> None:
        self.store = lookup.store
        self._lookup = lookup
        self._reads = reads
        self._prefix = lookup.store.keys.prefix + namespace

    @never_silent
    def delete(self, key: str) -> Steps[bool]:
        """Whether it was there, fresh or stale."""
        storage = self._reads.storage(key)
        seen = yield from self._lookup.judge(storage, (yield self._lookup.driver.remove, (storage,)))
        if seen.found not in _HELD:
            return False
        self.store.recorder.deletes.increment()
        return True

    @never_silent
    def delete_many(self, keys: Iterable[str]) -> Steps[int]:
        """How many were there."""
        return (yield from self._remove(tuple(self._reads.storages(keys))))

    @never_silent
    def delete_pattern(self, glob: str) -> Steps[int]:
        """Delete the keys that match; how many there were."""
        if key_problem(glob) is not None:
            raise CacheKeyError(f"cache {self.store.name!r}: no pattern: {key_problem(glob)}", cache=self.store.name)
        matches = glob_pattern(glob).match
        deleted = 0
        cursor = None
        while True:
            page = yield self._lookup.driver.scan, (self._prefix + glob_prefix(glob), cursor, PAGE)
            keys = [key for key in page.heads if not key.startswith("\0") and matches(key[len(self._prefix) :])]
            deleted += yield from self._remove(keys)
            cursor = page.cursor
            if cursor is None:
                return deleted

    @never_silent
    def pop(self, key: str, default: Any = None) -> Steps[Any]:
        """The value of a fresh entry, which is removed, or the default."""
        storage = self._reads.storage(key)

        def decide(seen: Seen) -> Steps[Decision]:
            yield from ()
            return Decision(self._lookup.value(storage, seen))

        served, value = yield from self._lookup.change(storage, decide)
        self.store.recorder.deletes.add(served)
        return value if served else default

    @never_silent
    def invalidate_tags(self, *tags: str) -> Steps[None]:
        """Make every entry that carries one of ``tags`` absent, at the cost of one write."""
        yield from self._lookup.tags.invalidate(check_tags(tags))

    @never_silent
    def clear(self) -> Steps[None]:
        """Remove all that is under this view's prefix."""
        yield self._lookup.driver.clear, (self._prefix,)

    def _remove(self, keys: Sequence[str]) -> Steps[int]:
        if not keys:
            return 0
        heads = yield self._lookup.driver.remove_many, (keys,)
        seen = yield from self._lookup.judge_many(heads)
        deleted = sum(one.found in _HELD for one in seen.values())
        self.store.recorder.deletes.add(deleted)
        return deleted
