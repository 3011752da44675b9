"""`Cache` and `NamespacedCache`: the synchronous view.

Every method hands the steps of an operation to `run`. What an operation does stands in `_reads.py`, `_writes.py` and
`_removals.py`; what one item goes through, in `Reads.get`. If the driver has a read and write path of its own, it
takes the place of `get` and `set` (`_direct.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar, Unpack, cast, overload

from ._bulk_loads import BulkLoads
from ._capabilities import Capabilities, Finding
from ._direct import direct_paths
from ._driver import AnyBackend
from ._explain import Explanation
from ._keys import check_namespace
from ._load_context import LoadArguments, LoadContext, ManyArguments, load_options
from ._loads import Loads
from ._locks import Lock, LockSteps
from ._lookup import Lookup
from ._memoizing import _Memoizing
from ._quick_loads import quick_load
from ._reads import Reads
from ._removals import Removals
from ._shells import ThreadShell
from ._stats import CacheStats
from ._steps import run
from ._store import Store
from ._ttl import Ttl, TTLManager
from ._writes import Writes

V = TypeVar("V")
D = TypeVar("D")


class Cache(_Memoizing, Generic[V]):
    """One cache, as ``get_cache`` or a `CacheManager` returns it; safe to use from many threads.

    Keys are non-empty texts. A ttl is given in seconds, as a ``timedelta`` or as text (``"5m"``); None means the
    cache's default, inf no expiry. Every method raises `CacheKeyError` for an unusable key and, unless the cache
    degrades, `CacheConnectionError` if the backend fails.
    """

    def __init__(self, store: Store, driver: AnyBackend, namespace: str = "") -> None:
        self._store = store
        self._driver = driver
        self._namespace = namespace
        lookup = Lookup(store, driver)
        self._lookup = lookup
        self._reads = Reads(lookup, namespace)
        self._writes = Writes(lookup, self._reads)
        self._removals = Removals(lookup, self._reads, namespace)
        self._loads = Loads(lookup, self._reads, ThreadShell(store.background))
        # A subclass that overrides a method keeps its own.
        mine, base = cast(Any, type(self)), cast(Any, Cache)
        get, set_ = direct_paths(store, driver, self._reads, self._writes, namespace)
        if get is not None and mine.get is base.get:
            vars(self)["get"] = get
        if set_ is not None and mine.set is base.set:
            vars(self)["set"] = set_
        self._get_or_set = quick_load(self._loads, self.get)
        if mine.get_or_set is base.get_or_set:
            vars(self)["get_or_set"] = self._get_or_set

    @property
    def name(self) -> str:
        """The cache's name."""
        return self._store.name

    @property
    def capabilities(self) -> Capabilities:
        """What the cache's backend can do."""
        return self._driver.capabilities

    @property
    def stats(self) -> CacheStats:
        """What this process did with the cache, and the size of its store, now."""
        usage = self._driver.usage()
        return CacheStats(**self._store.recorder.counts(), **usage._asdict(), backend=self._store.backend)

    @property
    def ttl_manager(self) -> TTLManager:
        """The cache's lifetimes."""
        return self._store.ttl

    @overload
    def get(self, key: str, default: None = None) -> V | None: ...
    @overload
    def get(self, key: str, default: D) -> V | D: ...
    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, or ``default``; a stored None is a hit."""
        return run(self._reads.get(key, default))

    def get_or_set(
        self,
        key: str,
        factory: Callable[[], V] | Callable[[LoadContext[V]], V],
        ttl: Ttl | None = None,
        **options: Unpack[LoadArguments],
    ) -> V:
        """Return the value of ``key``, or compute and store it; one load at a time, wherever its callers are.

        Whatever changes or invalidates the key while the factory runs wins: then its callers get what it returns, and
        nobody else ever does.

        Args:
            key: Its key.
            factory: Computes the value. It may take one argument, a `LoadContext`. None is a value like any other.
            ttl: How long the value is served; None for the cache's default, inf for ever.
            options: By name, each optional, as listed below.

        Options:
            tags: Texts by which `invalidate_tags` finds it.
            stale_for: How long it is kept as a fallback after its ttl; None for the cache's default.
            ttl_for: Chooses the ttl by the value; None from it means ``ttl``.
            soft_timeout: With a kept value, wait no longer than this for a new one; it comes in the background.
            hard_timeout: Wait no longer than this for any.
            refresh_ahead: Part of the ttl, such as 0.8, after which a read has the value loaded in the background.
            early_refresh: Have it loaded ahead of time at random, the sooner the longer it takes: 1.0 is a good
                start, more is earlier (XFetch).
            retry_after: How long a kept value is served after a failed load before the next; None for the cache's.
            lease: How long the load may take before somebody else begins one as well; None for the cache's.

        Raises:
            TimeoutError: ``hard_timeout`` is over.
            CacheSerializationError: The value would not come back the same.
            CacheConfigError: An option is unusable.
            Exception: What the factory raises, if no kept value can be served in its place.
        """
        return cast(V, self._get_or_set(key, factory, ttl, **options))

    def get_or_set_many(
        self,
        keys: Iterable[str],
        factory: Callable[[list[str]], Mapping[str, V]] | Callable[[list[str], LoadContext[V]], Mapping[str, V]],
        ttl: Ttl | None = None,
        *,
        return_exceptions: bool = False,
        **options: Unpack[ManyArguments],
    ) -> dict[str, V]:
        """Return the values of ``keys``; those that are missing are computed by one call of ``factory``, and stored.

        Keys that somebody else is loading are waited for. See `get_or_set` for what all loads have in common.

        Args:
            keys: Their keys.
            factory: Takes a list of the missing keys, perhaps a `LoadContext` that holds for all of them, and returns
                a mapping of values. Keys that it leaves out are left out of the result; an exception in place of a
                value is that key's failure.
            ttl: How long their values are served; None for the cache's default.
            return_exceptions: Return a key's exception as its value. Otherwise the first one is raised, once all
                other values have been stored.
            options: ``tags``, ``stale_for``, ``ttl_for``, ``retry_after`` and ``lease`` of `get_or_set`.

        Raises:
            Exception: What the factory raises, or the first failure of a key without a kept value.
        """
        checked = load_options(self._store.lease, self._store.retry_after, ttl, **options)
        loads = BulkLoads(self._lookup, self._reads, self._loads)
        return run(loads.get_or_set_many(loads.job(keys, factory, checked), errors=return_exceptions))

    def get_many(self, keys: Iterable[str]) -> dict[str, V]:
        """Return those of ``keys`` that are found, in one round trip."""
        return run(self._reads.get_many(keys))

    def set(
        self,
        key: str,
        value: V,
        ttl: Ttl | None = None,
        *,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
    ) -> bool:
        """Store ``value``.

        Args:
            key: Its key.
            value: Anything the cache's serializer keeps exactly; any object in memory.
            ttl: How long it is served; None for the cache's default, inf for ever.
            tags: Texts by which `invalidate_tags` finds it.
            stale_for: How long it is kept as a fallback after its ttl; None for the cache's default.

        Returns:
            True; False only from a cache that degrades, and then the outcome is unknown.

        Raises:
            CacheFullError: A limit is reached and nothing may be evicted.
            CacheSerializationError: The value would not come back the same.
            CacheConfigError: A duration is zero, negative, NaN or unreadable.
        """
        return run(self._writes.set(key, value, ttl, tags=tags, stale_for=stale_for))

    def set_many(
        self,
        mapping: Mapping[str, V],
        ttl: Ttl | None = None,
        *,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
    ) -> bool:
        """Store every value of ``mapping``, in one round trip; see `set`."""
        return run(self._writes.set_many(mapping, ttl, tags=tags, stale_for=stale_for))

    def add(
        self,
        key: str,
        value: V,
        ttl: Ttl | None = None,
        *,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
    ) -> bool:
        """Store ``value`` only if ``key`` is absent, atomically; whether it was stored. See `set`."""
        return run(self._writes.add(key, value, ttl, tags=tags, stale_for=stale_for))

    def incr(self, key: str, delta: int = 1, *, initial: int = 0, ttl: Ttl | None = None) -> int:
        """Add ``delta`` to the int under ``key``, atomically, and return the sum; False from a cache that degrades.

        Args:
            key: Its key.
            delta: What to add; may be negative.
            initial: What to start from if the key is absent.
            ttl: How long a counter that is created here lives; one that exists keeps its time.

        Raises:
            CacheSerializationError: The value is no int.
        """
        return run(self._writes.incr(key, delta, initial=initial, ttl=ttl))

    def decr(self, key: str, delta: int = 1, *, initial: int = 0, ttl: Ttl | None = None) -> int:
        """Subtract ``delta``; see `incr`."""
        return run(self._writes.decr(key, delta, initial=initial, ttl=ttl))

    def touch(self, key: str, ttl: Ttl | None = None) -> bool:
        """Give the entry a new life of ``ttl`` from now; False if it is absent."""
        return run(self._writes.touch(key, ttl))

    def expire(self, key: str) -> bool:
        """End the entry's ttl now; it is kept as a fallback as long as it would have been. False if it is absent.

        Raises:
            CacheInvalidationError: It may not have reached the backend.
        """
        return run(self._writes.expire(key))

    def delete(self, key: str) -> bool:
        """Remove the entry; whether it was there.

        Raises:
            CacheInvalidationError: It may not have reached the backend.
        """
        return run(self._removals.delete(key))

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove the entries of ``keys``, in one round trip; how many were there. See `delete`."""
        return run(self._removals.delete_many(keys))

    def delete_pattern(self, glob: str) -> int:
        """Remove the entries of this cache or namespace whose key matches ``glob``; how many there were.

        In a glob ``*``, ``?``, ``[abc]`` and ``[!abc]`` are special; it has to match the whole key. See `delete`.
        """
        return run(self._removals.delete_pattern(glob))

    @overload
    def pop(self, key: str, default: None = None) -> V | None: ...
    @overload
    def pop(self, key: str, default: D) -> V | D: ...
    def pop(self, key: str, default: Any = None) -> Any:
        """Remove the entry and return its value, atomically; ``default`` if it is absent. See `delete`."""
        return run(self._removals.pop(key, default))

    def invalidate_tags(self, *tags: str) -> None:
        """Make every entry that carries one of ``tags`` absent, in constant time; namespaces make no difference.

        Raises:
            CacheInvalidationError: It may not have reached the backend.
        """
        run(self._removals.invalidate_tags(*tags))

    def clear(self) -> None:
        """Remove all entries of this cache or namespace, and nobody else's.

        Raises:
            CacheInvalidationError: It may not have reached all of them.
        """
        run(self._removals.clear())

    def exists(self, key: str) -> bool:
        """Whether `get` would find ``key``; counts nothing."""
        return run(self._reads.exists(key))

    def ttl(self, key: str) -> float | None:
        """Seconds that the entry is still served; None if it is absent, inf if it never ends."""
        return run(self._reads.ttl(key))

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of all entries that begin with ``prefix``, in no particular order."""
        return run(self._reads.keys(prefix))

    def explain(self, key: str) -> Explanation:
        """Where the value of ``key`` lives, or why it is not served; counts nothing."""
        return run(self._reads.explain(key))

    def lock(self, name: str, ttl: Ttl, wait: Ttl | None = None) -> Lock:
        """A lock that every user of this cache's store sees, for a ``with`` statement.

        Args:
            name: Its name; locks and keys don't meet.
            ttl: When it ends by itself unless renewed.
            wait: How long to wait for it; 0 to try once, None without bound.

        Raises:
            TimeoutError: On entering, if it was not free in time.
            CacheError: On leaving, if it was lost meanwhile.
        """
        return Lock(LockSteps(self._lookup, self._namespace, name, ttl, wait))

    def ping(self) -> float:
        """How many seconds the backend takes to answer; raises `CacheConnectionError` if it doesn't."""
        self._store.check_open()
        start = time.perf_counter()
        self._driver.ping()
        return time.perf_counter() - start

    def compact(self) -> int:
        """Let the backend give back space that its store no longer needs; how many bytes. Others may wait meanwhile."""
        self._store.check_open()
        return self._driver.compact()

    def inspect(self) -> list[Finding]:
        """What the backend finds worth telling a person about its store."""
        self._store.check_open()
        return list(self._driver.inspect())

    def namespace(self, prefix: str) -> NamespacedCache[V]:
        """This cache's entries under ``prefix``; see `NamespacedCache`."""
        return NamespacedCache(self, prefix)

    def close(self) -> None:
        """Release the backend; the cache can't be used afterwards, a second call does nothing."""
        self._store.close()

    def __getitem__(self, key: str) -> V:
        """The value of ``key``.

        Raises:
            CacheExpiredError: It is held, but past its ttl.
            CacheKeyError: It is absent.
        """
        return run(self._reads.getitem(key))  # type: ignore[no-any-return]

    def __setitem__(self, key: str, value: V) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.delete(key):
            raise self._reads.missing(key)

    def __contains__(self, key: object) -> bool:
        return run(self._reads.exists(key))  # type: ignore[arg-type]

    def __enter__(self) -> Cache[V]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        namespace = f", namespace={self._namespace!r}" if self._namespace else ""
        return f"<{type(self).__name__} {self.name!r} on {self._store.backend}{namespace}>"


class NamespacedCache(Cache[V]):
    """The entries of ``cache`` whose keys begin with ``namespace``, under their shorter keys.

    Store, settings, statistics and tags are the cache's own; namespaces inside namespaces put their prefixes together.

    Args:
        cache: The cache, or another namespace of it.
        namespace: The prefix; a missing ``:`` at its end is added.

    Raises:
        CacheKeyError: The prefix could not begin a key.
    """

    def __init__(self, cache: Cache[V], namespace: str) -> None:
        super().__init__(cache._store, cache._driver, cache._namespace + check_namespace(namespace))
