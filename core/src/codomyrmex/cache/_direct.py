"""The short read and write path that stands in for a view's `get` and `set`: the driver's own, or that over its bytes.

It makes no difference but speed. Reading this way needs a cache that doesn't slide; writing, lifetimes that are no more
than now plus ttl. What the short path doesn't serve itself comes back to the general one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ._driver import AnyBackend, Direct, DirectPort
from ._plain import plain_paths
from ._reads import Reads
from ._steps import run
from ._store import Store
from ._ttl import Ttl
from ._writes import Writes

Path = Callable[..., Any]


def direct_paths(
    store: Store, driver: AnyBackend, reads: Reads, writes: Writes, namespace: str
) -> tuple[Path | None, Path | None]:
    """``get`` and ``set`` for one view of a cache; None for each that has to go the general way."""
    if store.ttl.sliding:
        return None, None
    prefix = store.keys.prefix + namespace
    cut = len(prefix)

    def general_get(storage: str, default: Any = None) -> Any:
        return run(reads.get(storage[cut:] if cut else storage, default))

    def general_set(
        storage: str, value: Any, ttl: Ttl | None = None, *, tags: Iterable[str] = (), stale_for: Ttl | None = None
    ) -> bool:
        key = storage[cut:] if cut else storage
        return run(writes.set(key, value, ttl, tags=tags, stale_for=stale_for))

    if not driver.capabilities.direct:

        def view_get(key: str, default: Any = None) -> Any:
            return run(reads.get(key, default))

        def view_set(key: str, value: Any, ttl: Ttl | None = None, **rest: Any) -> bool:
            return run(writes.set(key, value, ttl, **rest))

        def judged(key: str, default: Any, stored: Any) -> Any:
            return run(reads.judged(key, default, stored=stored))

        plain = plain_paths(store, driver, prefix, Direct(view_get, view_set), judged)
        if plain is None:
            return None, None
        return plain.get, plain.set if store.ttl.plain else None
    recorder = store.recorder
    direct = driver.direct(
        DirectPort(general_get, general_set, recorder.hits, recorder.misses, recorder.sets, store.ttl.default)
    )
    if prefix:
        direct = _prefixed(direct, prefix, reads, writes)
    return direct.get, direct.set if store.ttl.plain else None


def _prefixed(direct: Direct, prefix: str, reads: Reads, writes: Writes) -> Direct:
    direct_get, direct_set = direct

    def get(key: str, default: Any = None) -> Any:
        if key.__class__ is str and key:
            return direct_get(prefix + key, default)
        return run(reads.get(key, default))

    def set(
        key: str, value: Any, ttl: Ttl | None = None, *, tags: Iterable[str] = (), stale_for: Ttl | None = None
    ) -> Any:
        if key.__class__ is str and key:
            return direct_set(prefix + key, value, ttl, tags=tags, stale_for=stale_for)
        return run(writes.set(key, value, ttl, tags=tags, stale_for=stale_for))

    return Direct(get, set)
