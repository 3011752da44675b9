"""Locks that every user of the store sees: a record of the cache's own, held for a time.

Like every lease it ends by itself: a holder that was away for too long may find that somebody else has taken over.
The holder is told at the end, and may ask before.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ._keys import LOCK, key_problem
from ._lookup import Found, Lookup
from ._record import Record
from ._steps import Steps, pause, run
from ._ttl import Ttl, stale_seconds
from .errors import CacheError, CacheKeyError

if TYPE_CHECKING:
    from ._async_steps import Perform

T = TypeVar("T")

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.05


class LockSteps:
    """Steps that take, prolong and give back one lock.

    Args:
        lookup: Reads and replaces the lock's record.
        namespace: The view's namespace.
        name: Name of the lock within it.
        ttl: How long it is held unless renewed; seconds or text.
        wait: How long to wait for it, in seconds or as text; 0 to try once, None without bound.

    Raises:
        CacheKeyError: The name is no usable text.
        CacheConfigError: A duration is unreadable.
    """

    def __init__(self, lookup: Lookup, namespace: str, name: str, ttl: Ttl, wait: Ttl | None) -> None:
        if key_problem(name) is not None:
            raise CacheKeyError(f"cache {lookup.store.name!r}: no name for a lock: {key_problem(name)}")
        self.name = name
        self._store = lookup.store
        self._lookup = lookup
        self._key = lookup.store.keys.own(LOCK, namespace + name)
        self._life = lookup.store.ttl.lease(ttl)
        self._wait = None if wait is None else stale_seconds(wait)
        self._token: bytes | None = None

    def acquire(self) -> Steps[None]:
        """Take the lock; raises `TimeoutError` if it is not free in time."""
        self._store.check_open()
        deadline = None if self._wait is None else time.monotonic() + self._wait
        delay = _FIRST_PAUSE
        while True:
            seen = yield from self._lookup.see(self._key)
            if seen.found is not Found.FRESH:
                token = self._store.token()
                if (yield from self._lookup.replace(self._key, seen, self._record(token))):
                    self._token = token
                    return
            if deadline is not None and time.monotonic() + delay >= deadline:
                raise TimeoutError(f"cache {self._store.name!r}: the lock {self.name!r} was not free in time")
            yield pause, (delay,)
            delay = min(delay * 2, _LONGEST_PAUSE)

    def held(self) -> Steps[bool]:
        """Whether the lock is still this holder's."""
        seen = yield from self._lookup.see(self._key)
        return self._token is not None and seen.found is Found.FRESH and seen.version == self._token

    def renew(self) -> Steps[None]:
        """Start the lock's time again; raises `CacheError` if it is lost."""
        seen = yield from self._lookup.see(self._key)
        token = self._store.token()
        if seen.version != self._token or not (yield from self._lookup.replace(self._key, seen, self._record(token))):
            raise self._lost()
        self._token = token

    def release(self, quiet: bool) -> Steps[None]:
        """Give the lock back; raises `CacheError` if it was lost, unless ``quiet``."""
        seen = yield from self._lookup.see(self._key)
        token, self._token = self._token, None
        mine = seen.found is Found.FRESH and seen.version == token
        if not (mine and (yield from self._lookup.replace(self._key, seen, None))) and not quiet:
            raise self._lost()

    def _lost(self) -> CacheError:
        return CacheError(
            f"cache {self._store.name!r}: the lock {self.name!r} was lost: its time was over before it was renewed",
            cache=self._store.name,
            backend=self._store.backend,
        )

    def _record(self, token: bytes) -> Any:
        until = self._store.ttl.clock() + self._life
        record = Record(value=b"", version=token, fresh_until=until, kept_until=until, ttl=self._life)
        return self._store.codec.raw(self._key, record)


class Lock:
    """A held lock, as ``with cache.lock(...) as lock`` gives it.

    Leaving the block gives it back, and raises `CacheError` if it was lost meanwhile and the block itself raised
    nothing.
    """

    def __init__(self, steps: LockSteps) -> None:
        self._steps = steps

    def held(self) -> bool:
        """Whether the lock is still this holder's."""
        return run(self._steps.held())

    def renew(self) -> None:
        """Start its time again.

        Raises:
            CacheError: It is lost.
        """
        run(self._steps.renew())

    def __enter__(self) -> Lock:
        run(self._steps.acquire())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run(self._steps.release(quiet=error is not None))


class AsyncLock:
    """`Lock`, awaited."""

    def __init__(self, steps: LockSteps, perform: Perform) -> None:
        self._steps = steps
        self._perform = perform

    async def held(self) -> bool:
        """See `Lock.held`."""
        return await self._run(self._steps.held())

    async def renew(self) -> None:
        """See `Lock.renew`."""
        await self._run(self._steps.renew())

    async def __aenter__(self) -> AsyncLock:
        await self._run(self._steps.acquire())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._run(self._steps.release(quiet=error is not None))

    async def _run(self, steps: Steps[T]) -> T:
        from ._async_steps import arun

        return await arun(steps, self._perform)
