"""`explain`: where a value lives, or why it is not served."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ._keys import show
from ._lookup import Found, Seen
from ._store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What the cache knows of one key, without its value.

    Attributes:
        key: The user's key.
        cache: Name of the cache.
        backend: Name of its backend.
        storage_key: The key under which the backend keeps it.
        state: fresh, stale, absent, pending (being loaded), expired, invalidated (by a tag), unreadable or unreachable.
        served: Whether `get` returns its value.
        reason: One sentence for people.
        ttl: Seconds until it is stale; inf for never, None if it is not fresh.
        kept_for: Seconds until it is gone; inf for never, None if it is not there.
        tags: Its tags.
        loading: Whether a load holds a lease on it.
        serializer: Names of the pipeline that writes and reads this cache's values; ``none`` for objects.
    """

    key: str
    cache: str
    backend: str
    storage_key: str
    state: str
    served: bool
    reason: str
    ttl: float | None = None
    kept_for: float | None = None
    tags: tuple[str, ...] = ()
    loading: bool = False
    serializer: str = "none"

    def __str__(self) -> str:
        return f"{show(self.key)} in cache {self.cache!r} ({self.backend}): {self.state}; {self.reason}"


_REASONS = {
    Found.ABSENT: "nothing is stored under this key",
    Found.FRESH: "it is served",
    Found.STALE: "its ttl is over; it is kept as a fallback for loads that fail",
    Found.PENDING: "its first load is still running, or its loader died",
    Found.EXPIRED: "its time is over and it waits to be purged",
}


def explanation(store: Store, key: str, storage: str, seen: Seen | None, reason: str) -> Explanation:
    """Put together what `Reads.explain` found; ``seen`` is None if the backend failed."""
    if seen is None:
        return Explanation(
            key=key,
            cache=store.name,
            backend=store.backend,
            storage_key=storage,
            state="unreachable",
            served=False,
            reason=reason,
            serializer=store.codec.name,
        )
    record, now = seen.record, store.ttl.clock()
    fresh = seen.found is Found.FRESH
    return Explanation(
        key=key,
        cache=store.name,
        backend=store.backend,
        storage_key=storage,
        state=seen.found.value,
        served=fresh,
        reason=reason or _REASONS[seen.found],
        ttl=_left(record.fresh_until, now) if record and fresh else None,
        kept_for=_left(record.kept_until, now) if record else None,
        tags=tuple(tag for tag, _ in record.tags) if record else (),
        loading=bool(record and record.lease and now < record.lease_until),
        serializer=store.codec.name,
    )


def _left(until: float, now: float) -> float:
    return math.inf if until == math.inf else max(0.0, until - now)
