"""The read and write path that stands in for `Cache.get` and `Cache.set`: one Python frame from caller to value.

What is served here needs no decision: a key that is there and whose time isn't over, a key that is a proper text and
isn't there, a value without tags under a plain lifetime. All else goes to the port's general path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from codomyrmex.cache.backend import Direct, DirectPort
from codomyrmex.cache.errors import CacheError

from ._entries import Entries

_LONGEST = 1e12
"""Seconds; a ttl beyond that may be one that no float holds."""


def direct_paths(entries: Entries, port: DirectPort, *, writes: bool) -> Direct:
    """``get`` and ``set`` over ``entries``, for one view of their cache; with ``writes`` False, the general `set`."""
    get = (_flagging_get if entries.flags else _marking_get)(entries, port)
    return Direct(get, _set(entries, port) if writes else port.set)


def _flagging_get(entries: Entries, port: DirectPort) -> Callable[..., Any]:
    """For policies that want to know no more than whether an entry was used."""
    lookup, now = entries.nodes.get, entries.now
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
        elif key.__class__ is str and key >= entries.first_key and key.isascii():
            miss()
            return default
        return general(key, default)

    return get


def _marking_get(entries: Entries, port: DirectPort) -> Callable[..., Any]:
    """The same for policies that want to know how often, or in which order."""
    lookup, now, use = entries.nodes.get, entries.now, entries.use
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
        elif key.__class__ is str and key >= entries.first_key and key.isascii():
            miss()
            return default
        return general(key, default)

    return get


def _set(entries: Entries, port: DirectPort) -> Callable[..., bool]:
    own, now = entries.own, entries.now
    # A `with` statement over a lock costs twice as much as these two calls.
    acquire, release = entries.lock.acquire, entries.lock.release
    lookup, note, use, insert = entries.nodes.get, entries.expiry.note, entries.use, entries.insert
    stored, general = port.sets.increment, port.set
    default_ttl = port.ttl
    endless = default_ttl == math.inf
    flags = entries.flags

    def set(key: str, value: Any, ttl: Any = None, *, tags: Iterable[str] = (), stale_for: Any = None) -> bool:
        if tags or stale_for is not None or key.__class__ is not str:
            return general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        if ttl is None:
            ttl = default_ttl
            until = None if endless else now() + ttl
        elif (ttl.__class__ is int or ttl.__class__ is float) and 0 < ttl < _LONGEST:
            until = now() + ttl
        else:
            return general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        try:
            acquire()
            node = lookup(key)
            if node is not None:
                if flags:
                    node.mark = 1
                else:
                    use(node)
                version = stored()  # counts, and differs with every write
                # A signal's handler can raise after a call, so there is none from here to the last of these. The old
                # value is held until the lock is free: its __del__ may use the cache.
                _old, node.value = node.value, value
                node.ttl = ttl
                node.record = None
                node.version = version
                node.until = until
                if until is not None and ((bucket := node.bucket) is None or bucket.due > until + 1):
                    note(node)
            elif key >= entries.first_key and key.isascii():
                insert(key, value, until, ttl, 1, None, 0, []).version = stored()
                if own:
                    own.pop(key, None)
            else:
                return general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        except CacheError:
            raise
        except BaseException:
            entries.mend()
            raise
        finally:
            try:  # noqa: SIM105 - suppress() costs two frames
                release()
            except RuntimeError:  # a signal's handler raised while this waited for the lock
                pass
        return True

    return set
