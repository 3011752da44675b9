"""The bytes themselves: stored values outlive the version that wrote them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from exactness import read, same, written

from codomyrmex.cache.serializers import register


class Colour(Enum):
    RED = 1


@dataclass
class Point:
    x: int
    y: int


class Opaque:
    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and self.text == other.text


register(Colour, "Colour")
register(Point, "Point")
register(Opaque, "Opaque", encode=lambda value: [value.text], decode=lambda state: Opaque(*state))
CET = timezone(timedelta(hours=1), "CET")

GOLDEN: list[tuple[Any, str]] = [
    (b"\x00\xff", "c4 00 ff"),
    ("ä", "d9 c3 a4"),
    (None, "c0"),
    (True, "c3"),
    (-1, "ff"),
    (200, "cc c8"),
    (2**64, "92 c7 00 05 b1 31 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30"),
    (-0.0, "cb 80 00 00 00 00 00 00 00"),
    ([1, "a", b"a"], "93 01 a1 61 c4 01 61"),
    ({"a": {"b": None}}, "81 a1 61 81 a1 62 c0"),
    ((1, ()), "93 c7 00 01 01 91 c7 00 01"),
    ({2, 1}, "93 c7 00 02 01 02"),
    (frozenset({"b", 1}), "93 c7 00 03 01 a1 62"),
    ({1: "a", "b": 2}, "95 c7 00 04 01 a1 61 a1 62 02"),
    (1j, "93 c7 00 06 cb 00 00 00 00 00 00 00 00 cb 3f f0 00 00 00 00 00 00"),
    (Decimal("-1.50"), "92 c7 00 07 a5 2d 31 2e 35 30"),
    (date(1970, 1, 1), "92 c7 00 08 ce 00 0a f9 3b"),
    (datetime(2024, 2, 3, 4, 5, 6, 7), "98 c7 00 09 cd 07 e8 02 03 04 05 06 07"),
    (datetime(1, 2, 3, tzinfo=UTC), "99 c7 00 09 01 02 03 00 00 00 00 00"),
    (datetime(1, 2, 3, tzinfo=timezone(timedelta(hours=-1))), "99 c7 00 09 01 02 03 00 00 00 00 d1 f1 f0"),
    (datetime(1, 2, 3, fold=1), "9a c7 00 0a 01 02 03 00 00 00 00 01 c0"),
    (
        datetime(1, 2, 3, tzinfo=ZoneInfo("Europe/Berlin")),
        "9a c7 00 0a 01 02 03 00 00 00 00 00 ad" + b"Europe/Berlin".hex(),
    ),
    (datetime(1, 2, 3, tzinfo=CET), "9a c7 00 0a 01 02 03 00 00 00 00 00 94 00 cd 0e 10 00 a3 43 45 54"),
    (time(1, 2), "95 c7 00 0b 01 02 00 00"),
    (time(1, 2, tzinfo=UTC), "96 c7 00 0b 01 02 00 00 00"),
    (time(1, 2, tzinfo=CET, fold=1), "97 c7 00 0c 01 02 00 00 01 94 00 cd 0e 10 00 a3 43 45 54"),
    (timedelta(-1, 1, 2), "94 c7 00 0d ff 01 02"),
    (uuid.UUID(int=1), "92 c7 00 0e d9 20" + b"00000000000000000000000000000001".hex()),
    (
        uuid.UUID(int=1, is_safe=uuid.SafeUUID.unsafe),
        "93 c7 00 0e d9 20" + b"00000000000000000000000000000001".hex() + "ff",
    ),
    (Colour.RED, "93 c7 00 0f a6" + b"Colour".hex() + "a3" + b"RED".hex()),
    (Point(1, 2), "93 c7 00 0f a5" + b"Point".hex() + "82 a1 78 01 a1 79 02"),
    (Opaque("a"), "93 c7 00 0f a6" + b"Opaque".hex() + "91 a1 61"),
]


@pytest.mark.parametrize(("value", "data"), GOLDEN, ids=lambda part: None if isinstance(part, str) else repr(part)[:30])
def test_golden(value: Any, data: str) -> None:
    """A value has these bytes, in every release, and these bytes are that value."""
    assert bytes.fromhex(data) == written(value)
    assert same(value, read(bytes.fromhex(data)))
