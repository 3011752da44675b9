"""The check of one cache, end to end: it is made, answers, keeps an entry and removes it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass

from codomyrmex.cache import AsyncCache, CacheError, CacheManager, CacheStats
from codomyrmex.cache.backend import Finding

from ._access import AnyCache, Settle, view

_TTL = 60
"""Seconds; what a doctor that was killed leaves behind is gone soon."""
_ROOM = 1024
"""Bytes that the doctor's entry needs at most."""


class Fault(Exception):
    """Raised when a cache raises nothing, but doesn't do what it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was found out about one cache.

    Attributes:
        cache: Its name.
        backend: Name of its backend; None if it could not be made.
        ok: Whether it works.
        ping_seconds: How long the backend took to answer; None if it didn't.
        detail: What is wrong and what to do about it, or a remark on a cache that works.
        findings: What the backend itself says of its store.
    """

    cache: str
    backend: str | None
    ok: bool
    ping_seconds: float | None = None
    detail: str = ""
    findings: tuple[Finding, ...] = ()


def check(manager: CacheManager, name: str, *, label: str | None = None) -> Check:
    """Check the cache called ``name``; never raises for what is wrong with it.

    Args:
        manager: Makes it.
        name: Its name.
        label: What to call it in the result, if not by its name.
    """
    backend = ping = None
    findings: tuple[Finding, ...] = ()
    try:
        with asyncio.Runner() as runner:
            cache, settle = view(manager, name, runner)
            try:
                findings = tuple(settle(cache.inspect()))  # first: the next step opens the store, and may mend it
                backend = settle(cache.explain(_own_key())).backend
                ping = settle(cache.ping())
                remark = _use(cache, settle, backend)
            finally:
                if isinstance(cache, AsyncCache):
                    runner.run(cache.close())  # while its loop is there; the manager closes the others
    except Exception as error:
        known = isinstance(error, (CacheError, Fault))
        detail = str(error) if known else f"{type(error).__name__}: {error}, which is a fault of the plugin"
        backend = backend or getattr(error, "backend", None)
        return Check(
            cache=label or name, backend=backend, ok=False, ping_seconds=ping, detail=detail, findings=findings
        )
    problems = "; ".join(finding.text for finding in findings if finding.level == "problem")
    return Check(
        cache=label or name,
        backend=backend,
        ok=not problems,
        ping_seconds=ping,
        detail=problems or remark,
        findings=findings,
    )


def _use(cache: AnyCache, settle: Settle, backend: str) -> str:
    """Set, get and delete an entry under a key that nobody else has; returns a remark, or raises."""
    key, value = _own_key(), secrets.token_hex(16)
    if backend == "null":
        return "stores nothing: caching is turned off"
    if _full(cache.stats):
        settle(cache.get(key))
        return "full: nothing was written, because it would have evicted an entry"
    try:
        if not settle(cache.set(key, value, ttl=_TTL)):
            raise Fault("a write failed; on_error = 'degrade' hides why, so check again with 'raise'")
        if settle(cache.get(key)) != value:
            raise Fault(f"a value that was set did not come back: {settle(cache.explain(key)).reason}")
    except Exception:
        with contextlib.suppress(Exception):
            settle(cache.delete(key))
        raise
    if not settle(cache.delete(key)) or settle(cache.exists(key)):
        raise Fault("a delete did not remove the entry that was set")
    return ""


def _full(stats: CacheStats) -> bool:
    return _reached(stats.entries, stats.max_entries, 1) or _reached(stats.bytes, stats.max_bytes, _ROOM)


def _reached(used: int | None, limit: int | None, room: int) -> bool:
    return used is not None and used > 0 and limit is not None and used + room > limit


def _own_key() -> str:
    return f"codomyrmex-cache-doctor:{secrets.token_hex(16)}"
