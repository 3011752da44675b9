"""The short way over a driver of bytes makes no difference but speed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
from dict_driver import DictDriver, FailingDriver, managed
from hypothesis import given
from hypothesis import strategies as st

from codomyrmex.cache import Cache, CacheError, CacheManager, hookimpl
from codomyrmex.cache._steps import run
from codomyrmex.cache.serializers import PluginRequest, Serializer
from codomyrmex.cache.testing import ManualClock


class General(Cache[Any]):
    """Overrides both methods, and so keeps the general path."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, default)

    def set(self, *args: Any, **options: Any) -> bool:
        return super().set(*args, **options)


def outcome(call: Callable[[], Any]) -> Any:
    """A result, or an error with all that it says."""
    try:
        return call()
    except CacheError as error:
        return type(error), error.message, error.cache, error.backend, error.key
    except TypeError as error:
        return TypeError, str(error)


def both(manager: CacheManager) -> tuple[Cache[Any], Cache[Any]]:
    """Two views of one cache: the short way and the general one."""
    short = manager.get_cache("app")
    assert "get" in vars(short)
    general = General(short._store, short._driver)
    assert "get" not in vars(general)
    return short, general


def counted(cache: Cache[Any], call: Callable[[], Any]) -> tuple[Any, list[int]]:
    """An outcome, and by how much it changed the counters."""
    before = cache._store.recorder.counts()
    result = outcome(call)
    return result, [
        after - old for after, old in zip(cache._store.recorder.counts().values(), before.values(), strict=True)
    ]


WRITES = {
    "plain": lambda cache: cache.set("key", "value"),
    "none": lambda cache: cache.set("key", None),
    "ttl": lambda cache: cache.set("key", "value", 10),
    "ttl as text": lambda cache: cache.set("key", "value", "10s"),
    "float": lambda cache: cache.set("key", "value", 10.5),
    "inf": lambda cache: cache.set("key", "value", float("inf")),
    "tags": lambda cache: cache.set("key", "value", 10, tags=["tag"]),
    "stale": lambda cache: cache.set("key", "value", 10, stale_for=50),
    "large": lambda cache: cache.set("key", "x" * 10_000, 10),
}


@pytest.mark.parametrize("after", [0, 5, 10, 30, 100])
@pytest.mark.parametrize("write", WRITES)
def test_reads(manager: CacheManager, clock: ManualClock, write: str, after: float) -> None:
    """Both ways read the same, whatever was written and however long ago, and count the same."""
    short, general = both(manager)
    WRITES[write](general)
    clock.advance(after)
    assert counted(general, lambda: general.get("key", "default")) == counted(
        short, lambda: short.get("key", "default")
    )


@pytest.mark.parametrize("write", WRITES)
def test_writes(manager: CacheManager, clock: ManualClock, write: str) -> None:
    """Both ways write the same record, but for its version, and count the same."""
    short, general = both(manager)
    assert counted(general, lambda: WRITES[write](general)) == counted(short, lambda: WRITES[write](short))
    written = []
    for view in (short, general):
        short._store._random_bits = lambda: 5
        WRITES[write](view)
        written.append(short._driver.get("app:key"))
    assert written[0] == written[1]


BAD: dict[str, Callable[[Cache[Any]], Any]] = {
    "no text": lambda cache: cache.get(5),  # type: ignore[arg-type]
    "empty": lambda cache: cache.get(""),
    "NUL": lambda cache: cache.get("\0key"),
    "surrogate": lambda cache: cache.get("key\ud800"),
    "set no text": lambda cache: cache.set(None, 1),  # type: ignore[arg-type]
    "set surrogate": lambda cache: cache.set("\ud800", 1),
    "no ttl": lambda cache: cache.set("key", 1, 0),
    "NaN": lambda cache: cache.set("key", 1, float("nan")),
    "bool": lambda cache: cache.set("key", 1, True),
    "huge": lambda cache: cache.set("key", 1, 10**400),
    "wrong ttl": lambda cache: cache.set("key", 1, "soon"),
    "value": lambda cache: cache.set("key", {1}),
    "tag": lambda cache: cache.set("key", 1, tags="tag"),
}


@pytest.mark.parametrize("call", BAD)
def test_refusals(manager: CacheManager, call: str) -> None:
    """Both ways refuse the same, in the same words."""
    short, general = both(manager)
    refused = outcome(lambda: BAD[call](general))
    assert isinstance(refused, tuple)
    assert refused == outcome(lambda: BAD[call](short))


@pytest.mark.parametrize("on_error", ["raise", "degrade"])
@pytest.mark.parametrize("call", ["get", "set"])
def test_failures(on_error: str, call: str) -> None:
    """Both ways fail and degrade the same, and count the same."""
    settings = {"backend": "dict", "serializer": "json", "on_error": on_error}
    with managed({"caches": {"app": settings}}, driver=FailingDriver) as manager:
        short, general = both(manager)
        short._driver.down = True
        calls = [
            counted(view, lambda view=view: view.get("key", 5) if call == "get" else view.set("key", 5))  # type: ignore[misc]
            for view in (general, short)
        ]
        assert calls[0] == calls[1]
        assert short._store.down
        short._driver.down = False
        assert short.get("key") is None
        assert not short._store.down


def test_closed(manager: CacheManager) -> None:
    """Both ways are closed with the cache."""
    short, general = both(manager)
    short.close()
    for call in (lambda view: view.get("key"), lambda view: view.set("key", 1)):
        assert outcome(lambda call=call: call(general)) == outcome(lambda call=call: call(short))  # type: ignore[misc]
        assert CacheError is outcome(lambda call=call: call(short))[0]  # type: ignore[misc]


@given(st.binary(max_size=3), st.data())
def test_changed_bytes(extra: bytes, data: st.DataObject) -> None:
    """Both ways see the same in bytes that were cut, flipped, prolonged or moved."""
    with managed() as manager:
        short, general = both(manager)
        short.set("key", ["value"], 10)
        stored = bytearray(short._driver.get("app:key"))
        position = data.draw(st.integers(0, len(stored) - 1))
        stored[position] ^= data.draw(st.integers(0, 255))
        end = data.draw(st.integers(position, len(stored)))
        key = data.draw(st.sampled_from(["key", "other"]))
        short._driver.put(f"app:{key}", bytes(stored[:end]) + extra)
        expected = counted(general, lambda: run(general._reads.get(key)))
        assert expected == counted(short, lambda: short.get(key))


def test_namespaces(manager: CacheManager) -> None:
    """A namespace has a short way of its own, to the same entries."""
    short, general = both(manager)
    inside = short.namespace("ns")
    assert "get" in vars(inside)
    inside.set("ä", 1, 5)
    assert 1 == inside.get("ä") == general.get("ns:ä")


class Views(DictDriver):
    """Hands out views of its memory."""

    def read(self, key: str, use: Callable[[bytes, Any], Any], context: bytes) -> Any:
        stored = self.get(key)
        if stored is None:
            return None
        with memoryview(bytearray(stored)) as view:
            return use(context, view)


class Text(Serializer):
    """Text alone, and what it was read from."""

    views = True

    def __init__(self) -> None:
        self.read: list[type] = []

    def dumps(self, value: Any, context: bytes) -> bytes:
        return str(value).encode()

    def loads(self, data: bytes | memoryview, context: bytes) -> Any:
        self.read.append(type(data))
        return str(data, "utf-8")


class OnlyBytes(Text):
    """The same of a serializer that takes no views."""

    views = False


@pytest.mark.parametrize("serializer", [Text(), OnlyBytes()], ids=["views", "bytes"])
@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_views(serializer: Text, size: int) -> None:
    """A view reaches only a serializer that takes views, and nothing of it is left behind."""

    class Plugin:
        @hookimpl
        def create_serializer(self, request: PluginRequest) -> Serializer:
            return serializer

    serializer.read.clear()
    with managed({"defaults": {"backend": "dict", "serializer": "text"}}, driver=Views) as manager:
        manager.register(Plugin(), "text")
        cache = manager.get_cache("app")
        cache.set("key", "x" * size, 10)
        assert "x" * size == cache.get("key")
        cache.set("tagged", "x" * size, 10, tags=["tag"])
        assert "x" * size == cache.get("tagged")
    assert serializer.read == [memoryview if serializer.views else bytes, bytes]


def test_a_checksum_of_the_driver(manager: CacheManager) -> None:
    """A driver's own CRC-32 takes the place of zlib's for values, on both ways."""
    counted: list[int] = []

    class Counting(DictDriver):
        @staticmethod
        def crc32(data: bytes, start: int = 0) -> int:
            counted.append(len(data))
            return zlib.crc32(data, start)

    with managed(driver=Counting) as manager:
        short, general = both(manager)
        for view in (short, general):
            counted.clear()
            view.set("key", "x" * 5000)
            assert max(counted) >= 5000
            counted.clear()
            assert "x" * 5000 == view.get("key")
            assert max(counted) >= 5000
