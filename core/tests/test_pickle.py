"""The serializer ``pickle``: nothing is unpickled that was not signed (SPEC 8)."""

from __future__ import annotations

import enum
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from dict_driver import managed

from codomyrmex.cache import Cache, CacheConfigError, CacheSerializationError
from codomyrmex.cache._codec import BytesCodec
from codomyrmex.cache._pickle import PickleSerializer
from codomyrmex.cache.backend import Record
from codomyrmex.cache.serializers import Serializer

SIGNING_KEY = "0123456789abcdef"


def pickling(**stage: Any) -> dict[str, Any]:
    return {"defaults": {"backend": "dict", "serializer": {"name": "pickle", "key": SIGNING_KEY, **stage}}}


class Boom:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


class Number(enum.IntEnum):
    ONE = 1


KEPT = {
    "tuple": (1, b"2", {3}),
    "enum": Number.ONE,
    "infinity": math.inf,
    "None": None,
    "range": range(3),
    "lone surrogate": "\ud800",
    "digits": 10**5000,
}


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT)
def test_what_pickle_keeps(value: Any) -> None:
    """Whatever can be pickled comes back with its type."""
    with managed(pickling()) as manager:
        cache = manager.get_cache("app")
        cache.set("key", value)
        assert cache["key"] == value
        assert type(cache["key"]) is type(value)


class Unpicklable:
    def __reduce__(self) -> str:
        raise ValueError("s3cr3t")


class Shows:
    def __repr__(self) -> str:
        return "s3cr3t"


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def local() -> Any:
    return type("Local", (Shows,), {})()


def function() -> Any:
    return lambda: "s3cr3t"


@pytest.mark.parametrize("make", [Unpicklable, local, function, lambda: nested(100_000)])
def test_what_pickle_refuses(make: Any) -> None:
    """What can't be pickled is refused; the error doesn't show it."""
    with managed(pickling()) as manager:
        with pytest.raises(CacheSerializationError, match="pickle can't keep this") as caught:
            manager.get_cache("app").set("key", make())
        assert "s3cr3t" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"name": "pickle"}, "option 'key' is required"),
        ({"name": "pickle", "key": ""}, "a value that is not shown"),
        ({"name": "pickle", "key": 1234567890123456}, "a value that is not shown"),
        ({"name": "pickle", "key": "fifteen letters"}, "at least 16 characters"),
        ({"name": "pickle", "key": b"fifteen letters"}, "at least 16 characters"),
        ({"name": "pickle", "key": SIGNING_KEY, "old_key": "short"}, "at least 16 characters"),
        ({"name": "pickle", "key": "env:CODOMYRMEX_TEST_UNSET"}, "'env:NAME'"),
        ({"name": "pickle", "key": "env:CODOMYRMEX_TEST_SHORT"}, "at least 16 characters"),
        ({"name": "pickle", "kee": SIGNING_KEY}, "mean 'key'"),
        ("pickle", "option 'key' is required"),
    ],
    ids=str,
)
def test_bad_signing_keys(stage: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickle needs a key, and one that can't be guessed; the error doesn't show it."""
    monkeypatch.setenv("CODOMYRMEX_TEST_SHORT", "fifteen letters")
    with managed({"defaults": {"backend": "dict", "serializer": stage}}) as manager:
        with pytest.raises(CacheConfigError) as caught:
            manager.get_cache("app")
        assert said in str(caught.value)
        assert "fifteen letters" not in str(caught.value)


def test_signing_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """'env:NAME' reads the key from a variable: what one of them signs the other reads."""
    monkeypatch.setenv("CODOMYRMEX_TEST_KEY", SIGNING_KEY)
    with managed(pickling(key="env:CODOMYRMEX_TEST_KEY")) as one, managed(pickling()) as two:
        carried(one.get_cache("app"), two.get_cache("app"), "value")
        assert "value" == two.get_cache("app").get("key")


def carried(source: Cache[Any], target: Cache[Any], value: Any, to: str = "key") -> None:
    """Store a value in one cache and copy its bytes to another."""
    source.set("key", value)
    target._driver.put(f"{target.name}:{to}", source._driver.get(f"{source.name}:key"))


def assert_never_loaded(cache: Cache[Any], key: str, marker: Path, why: str) -> None:
    """A read is an explained, counted miss, and nothing has run."""
    before = cache.stats.unreadable
    assert "nothing" == cache.get(key, "nothing")
    assert {} == cache.get_many([key])
    assert before + 2 == cache.stats.unreadable
    explanation = cache.explain(key)
    assert ("unreadable", False) == (explanation.state, explanation.served)
    assert why in explanation.reason
    assert not marker.exists()


class Unsigned(Serializer):
    """What an attacker who can write to the store would use."""

    def dumps(self, value: Any, context: bytes) -> bytes:
        return pickle.dumps(value)

    def loads(self, data: bytes, context: bytes) -> Any:
        pytest.fail("never asked")


@pytest.mark.parametrize(
    "forger",
    [
        Unsigned(),
        PickleSerializer(b"another key, not this one"),
        PickleSerializer(b""),
        type("Zeros", (Unsigned,), {"dumps": lambda self, value, context: bytes(32) + pickle.dumps(value)})(),
    ],
    ids=["unsigned", "another key", "empty key", "zeros"],
)
def test_planted_pickle(tmp_path: Path, forger: Serializer) -> None:
    """A pickle that was planted in the store is never executed: it is a miss with a reason."""
    marker = tmp_path / "executed"
    with managed(pickling()) as manager:
        cache = manager.get_cache("app")
        forged = BytesCodec("app", ["pickle"], forger, []).encode("app:key", Record(Boom(marker), b"VERSION1"))
        cache._driver.put("app:key", forged)
        assert_never_loaded(cache, "key", marker, "the signature does not verify")
    pickle.loads(pickle.dumps(Boom(marker)))
    assert marker.exists(), "this pickle is harmless, the test shows nothing"


def test_tampered_pickle(tmp_path: Path) -> None:
    """A signed pickle that was changed is not executed, although its checksum was made right again."""
    marker = tmp_path / "executed"
    signed = PickleSerializer(SIGNING_KEY.encode())
    good = signed.dumps(Boom(marker), b"app\0app:key")
    for at in (0, 31, 32, len(good) - 1):
        changed = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        with pytest.raises(CacheSerializationError, match="does not verify"):
            signed.loads(changed, b"app\0app:key")
    for length in (0, 31, 32, len(good) - 1):
        with pytest.raises(CacheSerializationError, match="does not verify"):
            signed.loads(good[:length], b"app\0app:key")
    assert not marker.exists()


def test_moved_pickle(tmp_path: Path) -> None:
    """A signed pickle belongs to its cache and key, also where checksums were made right again."""
    marker = tmp_path / "executed"
    signed = PickleSerializer(SIGNING_KEY.encode())
    good = signed.dumps(Boom(marker), b"app\0app:key")
    for context in (b"app\0app:other", b"other\0app:key", b"app\0app:ke", b"", b"app\0app:key" + good[32:33]):
        with pytest.raises(CacheSerializationError, match="does not verify"):
            signed.loads(good, context)
    with managed(pickling()) as manager:
        cache = manager.get_cache("app")
        carried(cache, cache, Boom(marker), to="moved")
        assert_never_loaded(cache, "moved", marker, "belongs to another key")
        carried(cache, other := manager.get_cache("other"), Boom(marker))
        assert_never_loaded(other, "key", marker, "belongs to another key")


def test_signing_keys_rotate(tmp_path: Path) -> None:
    """With new and old key reads go on and writes use the new one; without the old one what it signed is a miss."""
    new = "fedcba9876543210"
    with (
        managed(pickling()) as before,
        managed(pickling(key=new, old_key=SIGNING_KEY)) as between,
        managed(pickling(key=new)) as after,
    ):
        first, second, third = (manager.get_cache("app") for manager in (before, between, after))
        carried(first, second, "old")
        assert "old" == second.get("key")
        carried(first, third, Boom(tmp_path / "executed"))
        assert_never_loaded(third, "key", tmp_path / "executed", "the signature does not verify")
        carried(second, third, "new")
        assert "new" == third.get("key")
        carried(second, first, "new")
        assert None is first.get("key")


def test_a_pickle_that_can_t_be_loaded() -> None:
    """What is signed and can't be unpickled, such as a class that is gone, is a miss with a reason."""
    with managed(pickling()) as manager:
        cache = manager.get_cache("app")
        gone = type("Gone", (), {"__module__": __name__, "__qualname__": "Gone"})
        globals()["Gone"] = gone
        try:
            cache.set("key", gone())
        finally:
            del globals()["Gone"]
        assert None is cache.get("key")
        assert "the pickle can't be loaded: AttributeError" == cache.explain("key").reason
