"""A value that was being computed when its key was changed is never served: every change, load, place, backend, view.

Values say what they are: 1 is kept from before, 2 is what the load computes from a source that is about to change, and
whoever loads afterwards computes 3. After the change nobody may be served 2, before or after the load has ended.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from elsewhere import Elsewhere
from loading import Call, InRoom, Room, Source, until

from codomyrmex.cache import CacheManager
from codomyrmex.cache._fences import Fences
from codomyrmex.cache._record import Record
from codomyrmex.cache._steps import Steps

KEPT, OUTDATED, ANEW, WRITTEN = 1, 2, 3, 100
BACKENDS = ["in_memory", "file_based", "redis"]
VIEWS = ["sync", "async"]
PLACES = {backend: ["here"] if backend == "in_memory" else ["here", "other process"] for backend in BACKENDS}

CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": lambda cache: cache.set("key", WRITTEN),
    "incr": lambda cache: cache.incr("key", WRITTEN),
    "delete": lambda cache: cache.delete("key"),
    "expire": lambda cache: cache.expire("key"),
    "invalidate_tags": lambda cache: cache.invalidate_tags("tag"),
    "clear": lambda cache: cache.clear(),
}
LOADS: dict[str, dict[str, Any]] = {
    "foreground": {},
    "background": {"soft_timeout": 0},
    "after soft_timeout": {"soft_timeout": 0.01},
    "refresh_ahead": {"refresh_ahead": 1e-9},
}
_numbers = itertools.count()


class Field:
    """The caches of one backend, here and in another process."""

    def __init__(self, manager: CacheManager, room: Room, there: Elsewhere, settings: dict[str, Any]) -> None:
        cache = manager.get_cache(settings["backend"], **settings)
        self.views = {"sync": cache, "async": InRoom(manager.get_async_cache(settings["backend"]), room)}
        self.store = cache._store
        self._there = there
        self._settings = settings

    def here(self, view: str, namespace: str) -> Any:
        """A namespace of the cache of this process."""
        return self.views[view].namespace(namespace)

    def elsewhere(self, view: str, namespace: str) -> Any:
        """The same in the other process."""
        return self._there.cache(self._settings, view, namespace)

    def idle(self) -> bool:
        """Whether no load is under way."""
        return not self.store.flights._by_lease and not self.store.background._running


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory, server: Any) -> Iterator[dict[str, Field]]:
    """All backends, opened once."""
    settings: list[dict[str, Any]] = [
        {"backend": "in_memory"},
        {"backend": "file_based", "path": str(tmp_path_factory.mktemp("files")), "serializer": "json"},
        {"backend": "redis", "url": server.url, "serializer": "json", "timeout": "10s"},
    ]
    room, there = Room(), Elsewhere()
    with CacheManager(environ={}) as manager:
        fields = {one["backend"]: Field(manager, room, there, one) for one in settings}
        yield fields
        there.close()
        for field in fields.values():
            field.views["async"].close()
        room.close()


def expected(change: str, load: str) -> int | None:
    """What is in the cache after the change."""
    if change == "incr" and load == "refresh_ahead":
        return KEPT + WRITTEN
    return WRITTEN if change in ("set", "incr") else None


def fails() -> int:
    """A source that is gone."""
    raise ZeroDivisionError


def check(field: Field, view: str, change: str, load: str, place: str, newcomer: bool) -> None:
    """One cell; with ``newcomer`` somebody loads after the change, before the first load has ended."""
    namespace = f"cell{next(_numbers)}:"
    cache, source = field.here(view, namespace), Source(OUTDATED, held=True)
    both = [cache] if place == "here" else [cache, field.elsewhere(view, namespace)]
    options: dict[str, Any] = {"ttl": 1000, "stale_for": 1000, "tags": ["tag"]}
    if load != "foreground":
        cache.set("key", KEPT, **options)
        if load != "refresh_ahead":
            cache.expire("key")
    caller = Call(cache.get_or_set, "key", source, **options, **LOADS[load])
    try:
        assert source.begun.wait(30)
        if load != "foreground":
            assert caller.result() == KEPT
        CHANGES[change](both[-1])
        left = expected(change, load)
        assert [one.get("key") for one in both] == [left] * len(both)
        if newcomer:
            left = ANEW if left is None else left
            assert cache.get_or_set("key", lambda: ANEW, **options) == left
    finally:
        source.go.set()
    if load == "foreground":
        assert caller.result() == OUTDATED
    until(field.idle, "the end of the load")
    assert [one.get("key") for one in both] == [left] * len(both)
    if left is None and change == "expire" and load != "foreground":
        assert cache.get_or_set("key", fails, **options) == KEPT
    elif left is None:
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("key", fails, **options)
        left = ANEW
    if left is not None:
        assert cache.get_or_set("key", lambda: ANEW, **options) == left
        assert [one.get("key") for one in both] == [left] * len(both)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(("backend", "place"), [(backend, place) for backend in BACKENDS for place in PLACES[backend]])
@pytest.mark.parametrize("view", VIEWS)
def test_a_change_wins(fields: dict[str, Field], view: str, backend: str, place: str, load: str, change: str) -> None:
    """One cell of the table, without and with somebody who comes between the change and the end of the load."""
    for newcomer in (False, True):
        check(fields[backend], view, change, load, place, newcomer)


def store_by_put(self: Any, key: str, storage: str, lease: bytes, record: Record) -> Steps[bool]:
    """No fence: what a load brings is stored whatever has happened."""
    yield self._lookup.driver.put, (storage, self._store.encode(key, storage, record))
    return True


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(("backend", "place"), [(backend, place) for backend in BACKENDS for place in PLACES[backend]])
@pytest.mark.parametrize("view", VIEWS)
def test_it_can_fail(
    fields: dict[str, Field], monkeypatch: pytest.MonkeyPatch, view: str, backend: str, place: str, load: str
) -> None:
    """Without the fence the cells are red."""
    monkeypatch.setattr(Fences, "store", store_by_put)
    with pytest.raises(AssertionError, match=r"assert \[2\b.*== \[None"):
        check(fields[backend], view, "delete", load, place, False)
    with pytest.raises(AssertionError, match=r"assert \[2\b.*== \[100"):
        check(fields[backend], view, "set", load, place, False)
