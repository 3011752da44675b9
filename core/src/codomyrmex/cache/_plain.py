"""The short way to a driver of bytes: one Python frame between the caller and the driver, for plain entries.

Plain is a fresh value without tags; writing, one with a plain lifetime. Whatever is not plain, or not in order, is
left to the general path, which says what it is. So this makes no difference but speed: the steps
are those of `Reads.get` and `Writes.set`, written out for the case that nearly every call is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from ._codec import BytesCodec
from ._driver import AnyAsyncBackend, AnyBackend, Backend, Direct
from ._store import Store
from .errors import CacheConnectionError, CacheError, CacheSerializationError

_LOWEST = "\1"
"""Of all keys: an empty text and whatever begins with NUL come before it."""
_COPIES: Any = cast(Any, Backend).read
"""The default, which hands out bytes."""
_LONGEST = 1e12
"""Seconds; a ttl beyond that may be one that no float holds."""


def plain_get(
    store: Store,
    driver: AnyBackend,
    codec: BytesCodec,
    prefix: str,
    general: Callable[..., Any],
    judged: Callable[..., Any],
) -> Callable[..., Any]:
    """A `get` for one view of a cache.

    Args:
        store: The cache's shared parts.
        driver: Holds bytes.
        codec: The cache's codec.
        prefix: What stands in front of the user's key in the store.
        general: The view's `get` for keys that are not plain.
        judged: Its `get` for records that are not plain, which have been fetched already.
    """
    read, base = codec.plain_reader(store.ttl.clock), codec.context
    look: Callable[..., Any] = driver.read if codec.takes_views else partial(_COPIES, driver)
    hit, miss = store.recorder.hits.increment, store.recorder.misses.increment
    # A driver with tags in one trip is asked for them at once, as soon as this process has met one.
    tags_at_once = driver.capabilities.one_trip_tags

    def get(key: str, default: Any = None) -> Any:
        if key.__class__ is not str or key < _LOWEST or store.closed or (tags_at_once and store.tagged):
            return general(key, default)
        storage = prefix + key
        try:
            context = base + storage.encode()
            found = look(storage, read, context)
        except UnicodeEncodeError:
            return general(key, default)
        except CacheError as error:
            store.locate(error, key)
            if isinstance(error, CacheConnectionError):
                store.failed(error)
                if store.on_error == "degrade":
                    miss()
                    return default
            raise
        if store.down:
            store.answered()
        if found is None:
            miss()
            return default
        plain, value = found
        if plain:
            hit()
            return value
        return judged(key, default, value)

    return get


def plain_set(
    store: Store, driver: AnyBackend, codec: BytesCodec, prefix: str, general: Callable[..., Any]
) -> Callable[..., bool]:
    """A `set` for one view of a cache whose lifetimes are plain; see `plain_get`."""
    put, write, base, token = driver.put, codec.plain_writer(), codec.context, store.token
    stored, now, default_ttl = store.recorder.sets.increment, store.ttl.clock, store.ttl.default

    def set(key: str, value: Any, ttl: Any = None, *, tags: Iterable[str] = (), stale_for: Any = None) -> bool:
        if (
            tags
            or stale_for is not None
            or key.__class__ is not str
            or key < _LOWEST
            or store.closed
            or not store.ready
        ):
            return general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        if ttl is None:
            ttl = default_ttl
        elif (ttl.__class__ is not int and ttl.__class__ is not float) or not 0 < ttl < _LONGEST:
            return general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        storage = prefix + key
        try:
            record = write(base + storage.encode(), value, token(), now() + ttl, ttl)
        except (UnicodeEncodeError, CacheSerializationError):
            return general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        try:
            put(storage, record)
        except CacheError as error:
            store.locate(error, key)
            if isinstance(error, CacheConnectionError):
                store.failed(error)
                if store.on_error == "degrade":
                    return False
            raise
        if store.down:
            store.answered()
        stored()
        return True

    return set


def async_plain_get(
    store: Store,
    driver: AnyAsyncBackend,
    codec: BytesCodec,
    prefix: str,
    general: Callable[..., Any],
    judged: Callable[..., Any],
) -> Callable[..., Any]:
    """The twin of `plain_get`, for a driver that is awaited."""
    read, base = codec.plain_reader(store.ttl.clock), codec.context
    fetch = driver.get
    hit, miss = store.recorder.hits.increment, store.recorder.misses.increment
    tags_at_once = driver.capabilities.one_trip_tags

    async def get(key: str, default: Any = None) -> Any:
        if key.__class__ is not str or key < _LOWEST or store.closed or (tags_at_once and store.tagged):
            return await general(key, default)
        storage = prefix + key
        try:
            context = base + storage.encode()
            stored = await fetch(storage)
        except UnicodeEncodeError:
            return await general(key, default)
        except CacheError as error:
            store.locate(error, key)
            if isinstance(error, CacheConnectionError):
                store.failed(error)
                if store.on_error == "degrade":
                    miss()
                    return default
            raise
        if store.down:
            store.answered()
        if stored is None:
            miss()
            return default
        plain, value = read(context, stored)
        if plain:
            hit()
            return value
        return await judged(key, default, value)

    return get


def async_plain_set(
    store: Store, driver: AnyAsyncBackend, codec: BytesCodec, prefix: str, general: Callable[..., Any]
) -> Callable[..., Any]:
    """The twin of `plain_set`, for a driver that is awaited."""
    put, write, base, token = driver.put, codec.plain_writer(), codec.context, store.token
    stored, now, default_ttl = store.recorder.sets.increment, store.ttl.clock, store.ttl.default

    async def set(key: str, value: Any, ttl: Any = None, *, tags: Iterable[str] = (), stale_for: Any = None) -> bool:
        if (
            tags
            or stale_for is not None
            or key.__class__ is not str
            or key < _LOWEST
            or store.closed
            or not store.ready
            or not (ttl is None or ((ttl.__class__ is int or ttl.__class__ is float) and 0 < ttl < _LONGEST))
        ):
            return await general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        seconds = default_ttl if ttl is None else ttl
        storage = prefix + key
        try:
            record = write(base + storage.encode(), value, token(), now() + seconds, seconds)
        except (UnicodeEncodeError, CacheSerializationError):
            return await general(key, value, ttl, tags=tags, stale_for=stale_for)  # type: ignore[no-any-return]
        try:
            await put(storage, record)
        except CacheError as error:
            store.locate(error, key)
            if isinstance(error, CacheConnectionError):
                store.failed(error)
                if store.on_error == "degrade":
                    return False
            raise
        if store.down:
            store.answered()
        stored()
        return True

    return set


def plain_paths(
    store: Store,
    driver: AnyBackend,
    prefix: str,
    general: Direct,
    judged: Callable[..., Any],
) -> Direct | None:
    """Both for one view of a cache; None if its driver holds no bytes."""
    codec = store.codec
    if not isinstance(codec, BytesCodec):
        return None
    return Direct(
        plain_get(store, driver, codec, prefix, general.get, judged),
        plain_set(store, driver, codec, prefix, general.set),
    )
