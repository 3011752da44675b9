"""The read and write path that stands in for `Cache.get` and `Cache.set`: one Python frame from caller to value.

What is served here needs no decision: a key that is there and whose time isn't over, a key that is a proper text and
isn't there, a value without tags under a plain lifetime. All else goes to the port's general path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from codomyrmex.cache.backend import Direct, DirectPort

if TYPE_CHECKING:
    from ._backend import MemoryBackend

_ENDLESS = math.inf


def direct_paths(backend: MemoryBackend, port: DirectPort) -> Direct:
    """``get`` and ``set`` over ``backend``, for one view of its cache."""
    get = (_flagging_get if backend.marks == "use" else _marking_get)(backend, port)
    # Listeners hear of replaced values, and byte limits need the user's sizer: the general path does both.
    plain = backend.emit is None and backend.options.max_bytes is None
    return Direct(get, _set(backend, port) if plain else port.set)


def _flagging_get(backend: MemoryBackend, port: DirectPort) -> Callable[..., Any]:
    """For policies that want to know no more than whether an entry was used."""
    lookup, now = backend.nodes.get, backend.now
    hit, miss, general = port.hits.increment, port.misses.increment, port.get

    def get(key: str, default: Any = None) -> Any:
        try:
            node = lookup(key)
        except TypeError:  # unhashable
            return general(key, default)
        if node is not None:
            until = node.until
            if until is None or now() < until:
                node.mark = hit()  # counts, and is never zero
                return node.value
        elif key.__class__ is str and key and key.isascii() and key[0] != "\0" and not backend.closed:
            miss()
            return default
        return general(key, default)

    return get


def _marking_get(backend: MemoryBackend, port: DirectPort) -> Callable[..., Any]:
    """The same for policies that want to know how often, or in which order."""
    lookup, now, use = backend.nodes.get, backend.now, backend.use
    hit, miss, general = port.hits.increment, port.misses.increment, port.get

    def get(key: str, default: Any = None) -> Any:
        try:
            node = lookup(key)
        except TypeError:
            return general(key, default)
        if node is not None:
            until = node.until
            if until is None or now() < until:
                use(node)
                hit()
                return node.value
        elif key.__class__ is str and key and key.isascii() and key[0] != "\0" and not backend.closed:
            miss()
            return default
        return general(key, default)

    return get


def _set(backend: MemoryBackend, port: DirectPort) -> Callable[..., bool]:
    own, now = backend.own, backend.now
    # A `with` statement over a lock costs twice as much as these two calls.
    acquire, release = backend.lock.acquire, backend.lock.release
    lookup, note, use, insert = backend.nodes.get, backend.expiry.note, backend.use, backend.insert
    stored, general = port.sets.increment, port.set
    default_ttl = port.ttl
    endless = default_ttl == math.inf
    flags = backend.marks == "use"

    def set(key: str, value: Any, ttl: Any = None, *, tags: Iterable[str] = (), stale_for: Any = None) -> bool:
        if tags or stale_for is not None or key.__class__ is not str:
            return general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        if ttl is None:
            ttl = default_ttl
            until = None if endless else now() + ttl
        elif (ttl.__class__ is int or ttl.__class__ is float) and 0 < ttl < _ENDLESS:
            until = now() + ttl
        else:
            return general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        acquire()
        try:
            node = lookup(key)
            if node is not None:
                # The old value is held until the lock is free: its __del__ may use the cache.
                _old, node.value = node.value, value
                if flags:
                    node.mark = 1
                else:
                    use(node)
                node.ttl = ttl
                node.record = None
                node.version = stored()  # counts, and differs with every write
                node.until = until
                if until is not None and ((bucket := node.bucket) is None or bucket.due > until + 1):
                    note(node)
            elif key and key.isascii() and key[0] != "\0" and not backend.closed:
                insert(key, value, until, ttl, 1, []).version = stored()
                if own:
                    own.pop(key, None)
            else:
                return general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        finally:
            release()
        return True

    return set
