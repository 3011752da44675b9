"""Any value comes back the same; any bytes are a value's or an error, and never another one."""

from __future__ import annotations

import zoneinfo
from datetime import timedelta, timezone
from typing import Any

from exactness import read, same, through, written
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codomyrmex.cache import CacheSerializationError

offsets = st.timedeltas(min_value=timedelta(days=-1, microseconds=1), max_value=timedelta(days=1, microseconds=-1))
zones = (
    st.none()
    | st.builds(timezone, offsets)
    | st.builds(timezone, offsets, st.text(max_size=5))
    | st.builds(zoneinfo.ZoneInfo, st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia", "Africa/Monrovia"]))
)
atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.decimals()
    | st.uuids()
    | st.dates()
    | st.timedeltas()
    | st.times(timezones=zones)
    | st.datetimes(timezones=zones, allow_imaginary=True)
    | st.datetimes(timezones=zones).map(lambda moment: moment.replace(fold=1))
)
keys = st.recursive(
    atoms.filter(lambda value: not (hasattr(value, "is_snan") and value.is_snan())),
    lambda below: st.lists(below, max_size=3).map(tuple) | st.frozensets(below, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    atoms | keys,
    lambda below: (
        st.lists(below)
        | st.lists(below).map(tuple)
        | st.dictionaries(st.text(), below)
        | st.dictionaries(keys, below)
        | st.sets(keys)
    ),
    max_leaves=15,
)


@settings(max_examples=400)
@given(values)
def test_round_trip(value: Any) -> None:
    """It comes back with the same types and content, and is written to the same bytes again."""
    data = written(value)
    found = read(data)
    assert same(value, found)
    assert data == written(found)


def check_bytes(data: bytes) -> None:
    try:
        value = read(data)
    except CacheSerializationError:
        return
    assert data == written(value)
    assert same(value, through(value))


@settings(max_examples=500)
@given(st.binary())
@example(b"")
@example(b"\xc4")
@example(b"\xd9")
@example(b"\xc7\x00\x01")
@example(b"\x91\xc7\x00\x01")
@example(b"\x91\xc7\x00\x0d")
@example(b"\x93\xc7\x00\x0f\xa1a\xc0")
def test_random_bytes(data: bytes) -> None:
    """Bytes are an error, or they are just what is written for the value that they give."""
    check_bytes(data)


@settings(max_examples=800)
@given(values, st.data())
def test_changed_bytes(value: Any, data: st.DataObject) -> None:
    """So are bytes of a value that were flipped, cut, doubled or put together from two."""
    good = written([value])
    at = data.draw(st.integers(0, len(good) - 1))
    to = data.draw(st.integers(at, len(good)))
    for changed in (
        good[:at],
        good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :],
        good[:at] + good[to:],
        good[:to] + good[at:],
        good + good,
        b"\xc7" + good,
    ):
        check_bytes(changed)


@settings(max_examples=500)
@given(
    st.lists(
        st.sampled_from(
            [
                *(bytes([0xC7, 0, number]) for number in range(1, 18)),
                *(bytes([byte]) for byte in range(0x90, 0x96)),
                *(bytes([byte]) for byte in (0xC0, 0xC2, 0xC3, 0x00, 0x01, 0x02, 0xFF, 0x80, 0x81, 0x82)),
                b"\xa1a",
                b"\xa1b",
                b"\xc4\x01a",
                b"\xcb" + bytes(8),
                b"\xa3UTC",
                b"\xaa2024-01-01",
                b"\x01\x02\x03",
                b"\x00\x00\x00\x00",
                b"\xb110000000000000000",
                b"\xd9\x20" + b"0" * 32,
            ]
        ),
        max_size=12,
    )
)
def test_pieces(pieces: list[bytes]) -> None:
    """So are the pieces of the format in any order: marks without what belongs to them, equal keys, lists as keys."""
    check_bytes(b"".join(pieces))
