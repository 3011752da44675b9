"""The serializer ``json``: what it keeps exactly, and what it refuses (SPEC 8)."""

from __future__ import annotations

import enum
import math
import subprocess
import sys
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import pytest
from dict_driver import JSON, managed
from hypothesis import example, given
from hypothesis import strategies as st

from codomyrmex.cache import CacheConfigError, CacheManager, CacheSerializationError
from codomyrmex.cache._json import JsonSerializer

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=20,
)


def through_json(value: Any) -> Any:
    return JsonSerializer().loads(JsonSerializer().dumps(value, b""), b"")


@given(json_values)
@example(-0.0)
@example(math.inf)
@example(-math.inf)
@example(5e-324)
@example(1.0)
@example(10**4299)
@example(True)
@example({"": {"z": 1, "a": 2}})
@example("\0\x7f\u2028\uffff🎉")
def test_what_json_keeps(value: Any) -> None:
    """None, bool, int, float, str, and lists and dicts of these come back with the same types and order."""
    assert repr(value) == repr(through_json(value))


def test_nan() -> None:
    """NaN comes back as NaN, also inside something else."""
    assert math.isnan(through_json(math.nan))
    assert math.isnan(through_json({"a": [math.nan]})["a"][0])


class Number(enum.IntEnum):
    ONE = 1


class Text(enum.StrEnum):
    A = "A"


Point = namedtuple("Point", "x")


def deep(levels: int, make: Callable[[Any], Any]) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = make(value)
    return value


class Secret:
    def __repr__(self) -> str:
        return "s3cr3t"


REFUSED: dict[str, Any] = {
    "tuple": ("s3cr3t",),
    "namedtuple": Point("s3cr3t"),
    "bytes": b"s3cr3t",
    "bytearray": bytearray(b"s3cr3t"),
    "set": {"s3cr3t"},
    "frozenset": frozenset({"s3cr3t"}),
    "IntEnum": Number.ONE,
    "StrEnum": Text.A,
    "OrderedDict": OrderedDict(s3cr3t=1),
    "list subclass": type("Some", (list,), {})(["s3cr3t"]),
    "float subclass": type("Some", (float,), {})(1.0),
    "complex": 1j,
    "object": Secret(),
    "function": test_nan,
    "int key": {1: "s3cr3t"},
    "bool key": {True: "s3cr3t"},
    "None key": {None: "s3cr3t"},
    "str subclass key": {Text.A: "s3cr3t"},
    "int and str key": {1: "s3cr3t", "1": 2},
    "deeply inside": [{"a": [{"b": ("s3cr3t",)}]}],
    "lone surrogate": "s3cr3t\ud800",
    "lone surrogate in a key": {"s3cr3t\udfff": 1},
    "lists 100,000 deep": deep(100_000, lambda value: [value, "s3cr3t"]),
    "dicts 100,000 deep": deep(100_000, lambda value: {"s3cr3t": value}),
    "100,000 digits": 10**100_000,
    "-100,000 digits inside": {"s3cr3t": [-(10**100_000)]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_json_refuses(manager: CacheManager, name: str) -> None:
    """What would not come back the same is refused when it is stored, whole; the error doesn't show it."""
    cache = manager.get_cache("app")
    for store in (cache.set, cache.add, lambda key, value: cache.set_many({"other": 1, key: value})):
        with pytest.raises(CacheSerializationError) as caught:
            store("key", REFUSED[name])
        assert "s3cr3t" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
        assert ("app", "dict", "key") == (caught.value.cache, caught.value.backend, caught.value.key)
    assert [] == cache.keys()


def test_just_deep_enough() -> None:
    """There is room for every value that people write by hand."""
    value = deep(75, lambda value: [{"a": value}])
    assert value == through_json(value)


def test_a_value_that_holds_itself() -> None:
    """A circle is refused, with a bound on time and memory."""
    program = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))\n"
        "from codomyrmex.cache._json import JsonSerializer\n"
        "from codomyrmex.cache import CacheSerializationError\n"
        "for circle in ([], [1]):\n"
        "    circle += [circle, circle]\n"
        "    try:\n"
        "        JsonSerializer().dumps(circle, b'')\n"
        "    except CacheSerializationError:\n"
        "        print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert "refused\nrefused\n" == done.stdout, done.stderr[-500:]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"[" * 100_000 + b"]" * 100_000, b"9" * 100_000, b"1 2"],
    ids=["nothing", "cut", "no text", "deep", "digits", "two"],
)
def test_what_json_does_not_read(data: bytes) -> None:
    """Bytes that are no JSON are one error, however they are wrong."""
    with pytest.raises(CacheSerializationError, match="no JSON that can be read"):
        JsonSerializer().loads(data, b"")


def test_json_has_no_options() -> None:
    """An option that json doesn't have is an error."""
    config = {"defaults": {**JSON, "serializer": {"name": "json", "indent": 2}}}
    with managed(config) as manager, pytest.raises(CacheConfigError, match=r"'app' \(json\).*'indent'"):
        manager.get_cache("app")
