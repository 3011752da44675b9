"""Every kind of value comes back the same or is refused when it is stored (SPEC 8): none is changed."""

from __future__ import annotations

import array
import decimal
import enum
import math
import struct
import uuid
from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from exactness import read, same, through, written

from codomyrmex.cache import Cache, CacheSerializationError


class Number(enum.IntEnum):
    ONE = 1


class Text(enum.StrEnum):
    A = "A"


class Colour(enum.Enum):
    RED = "s3cr3t"


@dataclass
class Point:
    x: int


class Str(str):
    __slots__ = ()


class Bytes(bytes):
    pass


class Int(int):
    pass


class Float(float):
    pass


class List(list[Any]):
    pass


class Dict(dict[Any, Any]):
    pass


class Tuple(tuple[Any, ...]):
    __slots__ = ()


class Date(date):
    pass


class Moment(datetime):
    pass


class Zone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1)


class Shows:
    def __repr__(self) -> str:
        return "s3cr3t"


Pair = namedtuple("Pair", "a b")

BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN = datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)


def bits(text: str) -> float:
    value: float = struct.unpack(">d", bytes.fromhex(text))[0]
    return value


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def circle() -> list[Any]:
    value: list[Any] = [1]
    value += [value, value]
    return value


def circle_of_dicts() -> dict[str, Any]:
    value: dict[str, Any] = {"s3cr3t": 1}
    value["a"] = (value, value)
    return value


KEPT: dict[str, Any] = {
    "None": None,
    "bools": [True, False],
    "small ints": [0, 1, -1, 127, 128, -32, -33, 255, 256, 65535, 65536, -(2**31), 2**32],
    "the ends of 64 bits": [2**63 - 1, 2**63, 2**64 - 1, -(2**63)],
    "ints beyond 64 bits": [2**64, -(2**63) - 1, 10**30],
    "4,300 digits": [10**4300 - 1, -(10**4300) + 1],
    "int beside a big int": {"a": [1, 2**64, 2]},
    "floats": [0.0, -0.0, 1.0, 0.1, 5e-324, 1.7976931348623157e308],
    "infinities": [math.inf, -math.inf],
    "NaN": math.nan,
    "NaN with a payload": bits("fff8000000000123"),
    "signalling NaN": bits("7ff0000000000001"),
    "text": ["", "a", "\0", "ä", "日本", "🎉", "a" * 40, "a" * 300, "a" * 70_000],
    "text alone": "\ufeffä\r\n",
    "bytes": [b"", b"\xc4\xff", bytes(range(256)), b"x" * 70_000],
    "bytes alone": b"\x00\xff",
    "list": [1, [2, []]],
    "tuple": (1, (2, ()), [(3,)]),
    "empty containers": [[], {}, (), set(), frozenset()],
    "dict": {"b": 1, "a": {"": None}, "ä": []},
    "int keys": {1: "a", -1: "b", 2**70: "c"},
    "bool, None, float keys": {True: 1, None: 2, 1.5: 3, math.inf: 4, -0.0: 5},
    "bool key that 1.0 found": dict.fromkeys([True, 1.0], 2),
    "keys of many types": {"a": 1, 1: 2, b"a": 3, (1, "a"): 4, frozenset({1, (2,)}): 5, date(2024, 1, 1): 6},
    "dict of dicts with int keys": {"a": {1: {2: {"b": 3}}}},
    "NaN keys": {math.nan: 1, bits("fff8000000000123"): 2},
    "set": {1, 2, 3},
    "set of many types": {1.5, "a", b"a", None, (1, frozenset({2}))},
    "frozenset": frozenset({"a", "b"}),
    "nested frozensets": nested(40, lambda value: frozenset({value, "a"})),
    "complex": [1 + 2j, complex(-0.0, math.nan), complex(math.inf, -0.0)],
    "Decimal": [Decimal("1.10"), Decimal("-0"), Decimal("0E-30"), Decimal("1E+1000"), Decimal("1e-999999999")],
    "Decimal specials": [Decimal("NaN"), Decimal("-NaN123"), Decimal("sNaN4"), Decimal("-Infinity")],
    "Decimal of many digits": Decimal("1" * 5000),
    "UUID": [uuid.UUID(int=0), uuid.UUID("12345678123456781234567812345678"), uuid.uuid5(uuid.NAMESPACE_DNS, "a")],
    "UUID that is safe": uuid.UUID(int=5, is_safe=uuid.SafeUUID.safe),
    "date": [date.min, date(2024, 2, 29), date.max],
    "time": [time.min, time.max, time(1, 2), time(1, 2, fold=1)],
    "time with offset": [time(1, 2, 3, 4, UTC), time(1, tzinfo=timezone(timedelta(hours=-5)), fold=1)],
    "time with zone": time(1, 2, tzinfo=BERLIN, fold=1),
    "timedelta": [timedelta.min, timedelta(-1, 1, 1), timedelta(), timedelta.max],
    "naive datetime": [datetime.min, datetime(2024, 2, 29, 1, 2, 3, 4), datetime.max, datetime(2024, 1, 1, fold=1)],
    "UTC": [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC, fold=1)],
    "offsets": [
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=seconds, microseconds=-7)))
        for seconds in (-86_399, -3600, -1, 0, 1, 59, 86_399)
    ],
    "offsets of whole seconds": [
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=seconds))) for seconds in (-86_399, -1, 1, 5400)
    ],
    "named offsets": [
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "UTC")),
    ],
    "zones": [AUTUMN, AUTUMN.replace(fold=1), datetime(2024, 7, 1, tzinfo=ZoneInfo("America/Argentina/Ushuaia"))],
    "zone without cache": datetime(2024, 7, 1, tzinfo=UTC).astimezone(ZoneInfo("UTC")),
    "deep lists": nested(255, lambda value: [value]),
    "deep tuples and dicts": nested(127, lambda value: ({"a": value},)),
}

REFUSED: dict[str, Any] = {
    "bytearray": bytearray(b"s3cr3t"),
    "bytearray inside": {"a": [1, {"b": bytearray(b"s3cr3t")}]},
    "bytearray in a tuple": (bytearray(b"s3cr3t"),),
    "memoryview": memoryview(b"s3cr3t"),
    "memoryview inside": [memoryview(b"s3cr3t")],
    "memoryview as a key": {memoryview(b"s3cr3t"): 1},
    "array": array.array("d", [1.0]),
    "IntEnum": Number.ONE,
    "IntEnum inside": [{"a": Number.ONE}],
    "StrEnum": Text.A,
    "Enum": Colour.RED,
    "IntEnum key": {Number.ONE: 1},
    "StrEnum key": {Text.A: 1},
    "StrEnum in a set": {Text.A},
    "str subclass": Str("s3cr3t"),
    "str subclass key": {"a": 1, Str("s3cr3t"): 2},
    "bytes subclass": Bytes(b"s3cr3t"),
    "int subclass": Int(1),
    "big int subclass": [Int(2**70)],
    "float subclass": Float(1.0),
    "list subclass": List(["s3cr3t"]),
    "dict subclass": Dict(a="s3cr3t"),
    "tuple subclass": Tuple(["s3cr3t"]),
    "namedtuple": Pair("s3cr3t", 1),
    "OrderedDict": OrderedDict(a="s3cr3t"),
    "defaultdict": defaultdict(list, a="s3cr3t"),
    "Counter": Counter("s3cr3t"),
    "UserDict": UserDict(a="s3cr3t"),
    "deque": deque(["s3cr3t"]),
    "mapping proxy": MappingProxyType({"a": "s3cr3t"}),
    "range": range(3),
    "Fraction": Fraction(1, 3),
    "path": PurePosixPath("s3cr3t"),
    "real path": Path("s3cr3t"),
    "address": ip_address("127.0.0.1"),
    "namespace": SimpleNamespace(a="s3cr3t"),
    "object": Shows(),
    "object inside": [{"a": (Shows(),)}],
    "object as a key": {Shows(): 1},
    "dataclass": Point(1),
    "class": Point,
    "function": nested,
    "ellipsis": ...,
    "date subclass": Date(2024, 1, 1),
    "datetime subclass": Moment(2024, 1, 1),
    "foreign tzinfo": datetime(2024, 1, 1, tzinfo=Zone()),
    "lone surrogate": "s3cr3t\ud800",
    "lone surrogate inside": ["s3cr3t\udfff"],
    "lone surrogate in a key": {"s3cr3t\udfff": 1},
    "lone surrogate beside a tuple": [(1,), "s3cr3t\udfff"],
    "4,301 digits": 10**4300,
    "100,000 digits": {"s3cr3t": [-(10**100_000)]},
    "lists 256 deep": nested(256, lambda value: [value]),
    "tuples 256 deep": nested(256, lambda value: (value,)),
    "lists 100,000 deep": nested(100_000, lambda value: [value, "s3cr3t"]),
    "dicts 100,000 deep": nested(100_000, lambda value: {"s3cr3t": value}),
    "tuples 100,000 deep": nested(100_000, lambda value: (value, "s3cr3t")),
    "circle": circle(),
    "circle of dicts and tuples": circle_of_dicts(),
}


@pytest.mark.parametrize("name", KEPT)
def test_kept(name: str) -> None:
    """It comes back of the same type and with the same content, and is written to the same bytes again."""
    value = KEPT[name]
    assert same(value, through(value))
    if "deep" not in name:
        assert same([value], through([value]))
        assert same({"a": 1, "b": (value,)}, through({"a": 1, "b": (value,)}))
    assert written(value) == written(read(written(value)))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, open_cache: Callable[..., Cache[Any]]) -> None:
    """It is refused when it is stored, whole; the error doesn't show it."""
    cache = open_cache()
    for store in (cache.set, cache.add, lambda key, value: cache.set_many({"other": 1, key: value})):
        with pytest.raises(CacheSerializationError) as caught:
            store("key", REFUSED[name])
        assert "s3cr3t" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
        assert ("app", "dict", "key") == (caught.value.cache, caught.value.backend, caught.value.key)
    assert [] == cache.keys()


def test_number_of_kinds() -> None:
    """Forty-four kinds at least are in the tables above."""
    assert len(KEPT) >= 44
    assert len(REFUSED) >= 44


@pytest.mark.parametrize("name", [name for name in KEPT if "deep" not in name and "nested" not in name])
def test_kept_by_a_cache(name: str, open_cache: Callable[..., Cache[Any]]) -> None:
    """A cache on a backend of bytes gives it back as well; this serializer is its default one."""
    cache = open_cache()
    assert "msgpack" == cache.explain("nothing").serializer
    cache.set("key", KEPT[name])
    assert same(KEPT[name], cache["key"])
    assert {"key"} == set(cache.get_many(["key"]))


def test_zone_that_is_not_of_the_system(tmp_path: Path) -> None:
    """A ZoneInfo that was read from a file is refused, whatever key it claims."""
    source = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 3600, 0, 0) + b"XYZ\0"
    path = tmp_path / "zone"
    path.write_bytes(source)
    for key in ("Europe/Berlin", None, "../s3cr3t"):
        with path.open("rb") as file:
            zone = ZoneInfo.from_file(file, key=key)
        with pytest.raises(CacheSerializationError, match="ZoneInfo that was not made by its key"):
            written(datetime(2024, 1, 1, tzinfo=zone))


def test_zone_outside_of_the_cache() -> None:
    """A ZoneInfo that is not the one in zoneinfo's own cache is stored by its key as well."""
    zone = ZoneInfo.no_cache("Europe/Berlin")
    found = through(datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zone))
    assert ("Europe/Berlin", 1) == (found.tzinfo.key, found.fold)


def test_decimal_context() -> None:
    """The decimal context of the thread changes nothing, neither when writing nor when reading."""
    value = [Decimal("1E+5"), Decimal("1.23456789"), Decimal("sNaN")]
    plain = written(value)
    with decimal.localcontext() as context:
        context.capitals, context.prec, context.clamp = 0, 3, 1
        assert plain == written(value)
        assert same(value, read(plain))


def test_big_set() -> None:
    """The order in which a set was filled doesn't show in its bytes."""
    names = [f"name {number}" for number in range(1000)]
    assert written(set(names)) == written({*reversed(names)})
    mixed: list[Any] = [*names, *range(100), *((number,) for number in range(100))]
    assert written(set(mixed)) == written({*reversed(mixed)})


def test_value_is_not_changed() -> None:
    """Storing leaves the value alone, and what is read shares nothing with it."""
    inner: list[Any] = [(1, 2), 2**70]
    value = {"a": inner, "b": {1: inner}, "c": {3: {4}}}
    copy = {"a": [(1, 2), 2**70], "b": {1: [(1, 2), 2**70]}, "c": {3: {4}}}
    found = through(value)
    found["a"].append(3)
    assert copy == value
