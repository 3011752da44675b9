"""`Backend` and `AsyncBackend`: the methods of a storage driver.

A driver keeps records under string keys and compares bytes. It never judges whether an entry is fresh, knows nothing
of tags, namespaces, serializers or statistics, and raises only errors of `codomyrmex.cache.errors`. Many threads
call it at once.

Six methods are required; everything else has a correct default, written once for both classes in `_defaults.py`, that
a driver overrides where it knows better.

Keys that start with NUL are the cache's own records: tag markers, locks. A driver treats them like any other key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar
from zlib import crc32

from . import _defaults
from ._capabilities import Capabilities, Finding, Purged, ScanPage, Usage
from ._clocks import Clock
from ._record import Field, Record, Version
from ._stats import Counter
from ._steps import Steps, run

S = TypeVar("S", bytes, Record)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DirectPort:
    """What the core hands to `Backend.direct`.

    Attributes:
        get: The general path, ``get(key, default)``: for all that the direct one doesn't serve itself.
        set: The general path, ``set(key, value, ttl, tags=..., stale_for=...)``.
        hits: To count one for every value the direct get serves.
        misses: To count one for every absent key that it answers itself.
        sets: To count one for every value that the direct set stores itself.
        ttl: The cache's default ttl in seconds; inf for none.
    """

    get: Callable[..., Any]
    set: Callable[..., Any]
    hits: Counter
    misses: Counter
    sets: Counter
    ttl: float


class Direct(NamedTuple):
    """A driver's own read and write path, bound on the cache in place of its methods.

    Both have the signature of `Cache.get` and `Cache.set`, serve and count the plain cases themselves and hand
    everything else (invalid keys, tags, stale entries) to the port's general path.
    """

    get: Callable[..., Any]
    set: Callable[..., Any]


class _Described:
    """What the two classes of driver share."""

    capabilities: Capabilities
    """Set by the class, or by ``__init__`` where it depends on options."""
    now: Clock
    """The clock by which the records' times are judged, in seconds; the request's injected clock if it has one."""

    crc32: Callable[..., int] = staticmethod(crc32)
    """CRC-32 as zlib counts it, from whatever library does so fastest; large values are checked by it."""

    def usage(self) -> Usage:
        """Entries and bytes as far as the driver knows them already; never waits, in the asynchronous class neither."""
        return Usage()

    def leader_alive(self, lease: bytes) -> bool:
        """False only if the process that planted ``lease`` is known to be dead."""
        return True


class Backend(_Described, ABC, Generic[S]):
    """A synchronous driver. ``S`` is `bytes` or `Record`, as ``capabilities.stores`` says."""

    @abstractmethod
    def get_many(self, keys: Sequence[str]) -> Mapping[str, S]:
        """Whole records of those ``keys`` that are there, in one trip. Expired ones may be returned or not."""

    @abstractmethod
    def put_many(self, records: Mapping[str, S]) -> None:
        """Store every record unconditionally, in place of what was there, any lease included.

        Raises:
            CacheFullError: A limit is reached and nothing may be evicted; what was there for the key is unchanged.
        """

    @abstractmethod
    def remove_many(self, keys: Sequence[str]) -> Mapping[str, S]:
        """Remove ``keys``; heads (or whole records) of what was there. When it returns they are gone."""

    @abstractmethod
    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[S]:
        """A page of about ``limit`` heads (or whole records) under ``prefix``, from ``cursor`` (None: the start).

        Following the cursors to None returns every key that is there throughout, each perhaps more than once; keys that
        come or go meanwhile may be missing. With an empty prefix the keys that start with NUL may be left out.
        """

    @abstractmethod
    def close(self) -> None:
        """Release everything; a second call does nothing."""

    @abstractmethod
    def swap(self, key: str, field: Field, expected: Version | None, new: S | None, header_only: bool = False) -> bool:
        """Replace the record of ``key`` if ``field`` of it equals ``expected``, atomically; whether it did.

        Args:
            key: The record's key.
            field: What is compared.
            expected: None stands for "there is no record".
            new: The record to store, or None to remove it.
            header_only: Only the header of ``new`` is used; annex and payload (value and tags) stay.
        """

    def open(self) -> None:
        """Get ready: called before the first operation of a cache whose `capabilities.clock` is ``"server"``.

        `now` can't ask a server, in an event loop least of all; so a driver measures here how far its clock is off.

        Raises:
            CacheConnectionError: The store doesn't answer; the next operation calls it again.
        """

    def get(self, key: str) -> S | None:
        """`get_many` of one."""
        return self.get_many((key,)).get(key)

    def read(self, key: str, use: Callable[[bytes, Any], T], context: bytes) -> T | None:
        """``use(context, record)`` for the record of ``key``, None if there is none.

        A driver may pass a memoryview in place of a large record, which need not live longer than the call.
        """
        stored = self.get(key)
        return None if stored is None else use(context, stored)

    def put(self, key: str, record: S) -> None:
        """`put_many` of one."""
        self.put_many({key: record})

    def remove(self, key: str) -> S | None:
        """`remove_many` of one."""
        return self.remove_many((key,)).get(key)

    def get_tagged(self, keys: Sequence[str], marker: str) -> tuple[Mapping[str, S], Mapping[str, S]]:
        """Records of ``keys``, and the records ``marker + tag`` of every tag they name, by tag, in one trip."""
        raise NotImplementedError(f"{type(self).__name__} declares one_trip_tags without get_tagged")

    def clear(self, prefix: str) -> int:
        """Remove every record under ``prefix`` (NUL keys only for a prefix of their own); how many there were."""
        return run(_defaults.clear(self, prefix))

    def purge(self, limit: int) -> Purged:
        """Look at about ``limit`` records and remove those past their kept-until; who calls this counts them."""
        return run(_defaults.purge(self, limit))

    def ping(self) -> None:
        """Return if the store answers.

        Raises:
            CacheConnectionError: It doesn't.
        """
        self.get_many(("\0ping",))

    def compact(self) -> int:
        """Give back space that the store no longer needs; how many bytes. Nothing that it holds may be lost by it.

        Raises:
            CacheFullError: There is no room to do so.
        """
        return 0

    def inspect(self) -> Sequence[Finding]:
        """What a person should know of the store: where it is, what it lacks, what was left behind; changes nothing.

        What would keep the store from working may be raised in place of a finding.
        """
        return ()

    def wait(self, key: str, lease: bytes, timeout: float) -> None:
        """Return when ``lease`` may be gone from ``key``'s record, or after ``timeout`` seconds; earlier is allowed."""
        return run(_defaults.wait(timeout))

    def direct(self, port: DirectPort) -> Direct:
        """A read and write path without the core in between; see `Direct`."""
        raise NotImplementedError(f"{type(self).__name__} declares direct without having it")


class AsyncBackend(_Described, ABC, Generic[S]):
    """An asynchronous driver: the methods of `Backend`, awaited, with the same meaning."""

    @abstractmethod
    async def get_many(self, keys: Sequence[str]) -> Mapping[str, S]:
        """See `Backend.get_many`."""

    @abstractmethod
    async def put_many(self, records: Mapping[str, S]) -> None:
        """See `Backend.put_many`."""

    @abstractmethod
    async def remove_many(self, keys: Sequence[str]) -> Mapping[str, S]:
        """See `Backend.remove_many`."""

    @abstractmethod
    async def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[S]:
        """See `Backend.scan`."""

    @abstractmethod
    async def close(self) -> None:
        """See `Backend.close`."""

    @abstractmethod
    async def swap(
        self, key: str, field: Field, expected: Version | None, new: S | None, header_only: bool = False
    ) -> bool:
        """See `Backend.swap`."""

    async def open(self) -> None:
        """See `Backend.open`."""

    async def get(self, key: str) -> S | None:
        """See `Backend.get`."""
        return (await self.get_many((key,))).get(key)

    async def put(self, key: str, record: S) -> None:
        """See `Backend.put`."""
        await self.put_many({key: record})

    async def remove(self, key: str) -> S | None:
        """See `Backend.remove`."""
        return (await self.remove_many((key,))).get(key)

    async def get_tagged(self, keys: Sequence[str], marker: str) -> tuple[Mapping[str, S], Mapping[str, S]]:
        """See `Backend.get_tagged`."""
        raise NotImplementedError(f"{type(self).__name__} declares one_trip_tags without get_tagged")

    async def clear(self, prefix: str) -> int:
        """See `Backend.clear`."""
        return await _arun(_defaults.clear(self, prefix))

    async def purge(self, limit: int) -> Purged:
        """See `Backend.purge`."""
        return await _arun(_defaults.purge(self, limit))

    async def ping(self) -> None:
        """See `Backend.ping`."""
        await self.get_many(("\0ping",))

    async def compact(self) -> int:
        """See `Backend.compact`."""
        return 0

    async def inspect(self) -> Sequence[Finding]:
        """See `Backend.inspect`."""
        return ()

    async def wait(self, key: str, lease: bytes, timeout: float) -> None:
        """See `Backend.wait`."""
        return await _arun(_defaults.wait(timeout))


async def _arun(steps: Steps[T]) -> T:
    from ._async_steps import arun, native

    return await arun(steps, native)


AnyBackend: TypeAlias = Backend[Any]
AnyAsyncBackend: TypeAlias = AsyncBackend[Any]
