"""The contenders: how each is made, filled, read and written. Loops are written out, so that each pays for its own
call only."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TTL = 3600
Loop = Callable[[list[str]], None]


@dataclass(frozen=True)
class Ready:
    """One contender with its loops."""

    fill: Loop
    get: Loop | None
    set: Loop | None


@dataclass(frozen=True)
class Contender:
    """How to make one: without lifetimes, and with if it has them."""

    name: str
    make: Callable[[int], Ready]
    make_ttl: Callable[[int], Ready] | None = None
    bounded: bool = True


def _dict(entries: int) -> Ready:
    store: dict[str, int] = {}

    def get(keys: list[str]) -> None:
        for key in keys:
            store.get(key)

    def set(keys: list[str]) -> None:
        for key in keys:
            store[key] = 1

    return Ready(set, get, set)


def _ours(entries: int, ttl: int | None) -> Ready:
    from codomyrmex.cache import CacheManager

    cache: Any = CacheManager(environ={}).get_cache("bench", max_entries=entries)

    def get(keys: list[str]) -> None:
        for key in keys:
            cache.get(key)

    def set(keys: list[str]) -> None:
        for key in keys:
            cache.set(key, 1)

    def set_ttl(keys: list[str]) -> None:
        for key in keys:
            cache.set(key, 1, ttl)

    write = set if ttl is None else set_ttl
    return Ready(write, get, write)


def _mapping(store: Any) -> Ready:
    def get(keys: list[str]) -> None:
        for key in keys:
            store.get(key)

    def set(keys: list[str]) -> None:
        for key in keys:
            store[key] = 1

    return Ready(set, get, set)


def _locked(store: Any) -> Ready:
    lock = threading.RLock()

    def get(keys: list[str]) -> None:
        for key in keys:
            with lock:
                store.get(key)

    def set(keys: list[str]) -> None:
        for key in keys:
            with lock:
                store[key] = 1

    return Ready(set, get, set)


def _lru_cache(entries: int) -> Ready:
    @functools.lru_cache(maxsize=entries)
    def function(key: str) -> int:
        return 1

    def call(keys: list[str]) -> None:
        for key in keys:
            function(key)

    return Ready(call, call, None)


def _cachetools_lru(entries: int) -> Ready:
    import cachetools

    return _mapping(cachetools.LRUCache(entries))


def _cachetools_ttl(entries: int) -> Ready:
    import cachetools

    return _locked(cachetools.TTLCache(entries, TTL))


def _cachebox_lru(entries: int) -> Ready:
    import cachebox

    return _mapping(cachebox.LRUCache(entries))


def _cachebox_vttl(entries: int) -> Ready:
    import cachebox

    store: Any = cachebox.VTTLCache(entries)

    def get(keys: list[str]) -> None:
        for key in keys:
            store.get(key)

    def set(keys: list[str]) -> None:
        for key in keys:
            store.insert(key, 1, TTL)

    return Ready(set, get, set)


CONTENDERS = [
    Contender("dict", _dict, bounded=False),
    Contender("codomyrmex-cache (sieve, ttl, stats, thread-safe)", lambda n: _ours(n, None), lambda n: _ours(n, TTL)),
    Contender("functools.lru_cache (a call; C)", _lru_cache),
    Contender("cachetools.LRUCache (no lock, ttl, stats)", _cachetools_lru),
    Contender("cachetools.TTLCache + RLock", _cachetools_ttl, _cachetools_ttl),
    Contender("cachebox LRUCache / VTTLCache (Rust)", _cachebox_lru, _cachebox_vttl),
]
