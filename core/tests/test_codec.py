"""The record's layout, and stored bytes that are not trusted (SPEC 8)."""

from __future__ import annotations

import math
import struct
from typing import Any
from zlib import crc32

import pytest
from dict_driver import JSON, managed
from hypothesis import example, given
from hypothesis import strategies as st

from codomyrmex.cache import CacheConfigError
from codomyrmex.cache._codec import BytesCodec, Unreadable
from codomyrmex.cache._json import JsonSerializer
from codomyrmex.cache.backend import HEADER_SIZE, Record, head_of, kept_until_of

KEY = "golden:key"


def codec(cache: str = "golden") -> BytesCodec:
    return BytesCodec(cache, ["json"], JsonSerializer(), [])


def fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in Record.__slots__ if name != "value"}


# The record

tokens = st.binary(min_size=8, max_size=8).filter(any)
moments = st.floats(allow_nan=False)
names = st.text(min_size=1, max_size=20)
records = st.builds(
    Record,
    value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5),
    version=tokens,
    fresh_until=moments,
    kept_until=moments,
    ttl=moments,
    lease=st.none() | tokens,
    lease_until=moments,
    tags=st.lists(st.tuples(names, tokens), max_size=4).map(tuple),
    cost=st.floats(0, 2.0**100, width=32),
    token=st.binary(max_size=40),
)


@given(record=records, key=names, cache=names)
@example(Record(None, b"VERSION1"), "key", "cache")
def test_round_trip(record: Record, key: str, cache: str) -> None:
    """Every field of a record and its value come back."""
    stored = codec(cache).encode(key, record)
    read = codec(cache).decode(key, stored)
    assert fields(record) == fields(read)
    assert record.value == codec(cache).value(key, read)
    assert record.kept_until == kept_until_of(stored)
    assert fields(record) == fields(codec(cache).decode(key, head_of(stored)))


@given(record=records)
def test_pending_round_trip(record: Record) -> None:
    """A record that has no value yet is no more than its head."""
    record.pending = True
    stored = codec().encode(KEY, record)
    assert stored == head_of(stored)
    assert fields(record) == fields(codec().decode(KEY, stored))


GOLDEN = bytes.fromhex(
    "010000001a00000056455253494f4e310000000000448f400000000000419f400000000000c072404c454153452d3031"
    "00000000009090400000003f3b901e07"
    "7262d80801000500572f2265220300746167544f4b454e2d3031"
    "28d428794525076b7b2261223a5b312c6e756c6c2c22c3bc225d7d"
)
"""Header, annex and payload, put together by hand from the table in `_record.py`."""
GOLDEN_RECORD = Record(
    value={"a": [1, None, "ü"]},
    version=b"VERSION1",
    fresh_until=1000.5,
    kept_until=2000.25,
    ttl=300.0,
    lease=b"LEASE-01",
    lease_until=1060.0,
    tags=(("tag", b"TOKEN-01"),),
    cost=0.5,
    token=b'W/"e"',
)


def test_golden_bytes() -> None:
    """Format 1 is what it was when it was published: whoever changes a byte of it needs format 2."""
    assert GOLDEN == codec().encode(KEY, GOLDEN_RECORD)
    read = codec().decode(KEY, GOLDEN)
    assert fields(GOLDEN_RECORD) == fields(read)
    assert {"a": [1, None, "ü"]} == codec().value(KEY, read)


def test_golden_pending_bytes() -> None:
    """So is a record without value, and so are times without end."""
    golden = bytes.fromhex(
        "010100000000000056455253494f4e31000000000000f07f000000000000f07f000000000000f07f0000000000000000"
        "000000000000000000000000b64162d7"
    )
    assert golden == codec().encode(KEY, Record(None, b"VERSION1", pending=True))


def reason(stored: bytes, key: str = KEY, by: BytesCodec | None = None) -> str:
    """Why a record is not trusted."""
    by = by or codec()
    with pytest.raises(Unreadable) as caught:
        by.value(key, by.decode(key, stored))
    return caught.value.reason


@pytest.mark.parametrize("number", [0, 2, 255])
def test_unknown_format(number: int) -> None:
    """A record of an unknown version is not read, and can still be replaced by its version."""
    stored = bytes([number]) + GOLDEN[1:]
    assert f"format {number} is unknown to this version, which reads 1" == reason(stored)
    with pytest.raises(Unreadable) as caught:
        codec().decode(KEY, stored)
    assert b"VERSION1" == caught.value.version


def test_cut() -> None:
    """A record cut at any length is not trusted."""
    for length in range(len(GOLDEN)):
        assert reason(GOLDEN[:length])
    assert "the record is cut" == reason(b"")
    assert "the payload is cut" == reason(head_of(GOLDEN))


def test_flipped() -> None:
    """A record with any bit flipped is not trusted."""
    for at in range(len(GOLDEN)):
        for bit in range(8):
            assert reason(GOLDEN[:at] + bytes([GOLDEN[at] ^ 1 << bit]) + GOLDEN[at + 1 :])


@pytest.mark.parametrize("stored", [GOLDEN + b"x", GOLDEN * 2], ids=["longer", "twice"])
def test_longer(stored: bytes) -> None:
    """A record with something behind it is not trusted."""
    assert reason(stored)


@given(record=records, other=names)
def test_moved(record: Record, other: str) -> None:
    """A record under another key or in another cache is not trusted, nor is a part of it spliced into another."""
    stored = codec("one").encode("key", record)
    if other not in ("key", "one"):
        assert "belongs to another key" in reason(stored, other, codec("one"))
        assert "belongs to another key" in reason(stored, "key", codec(other))
    there = codec("one").encode("there", record)
    head = len(head_of(stored))
    assert "belongs to another key" in reason(there[:head] + stored[head:], "there", codec("one"))


def test_another_serializer() -> None:
    """What another serializer wrote is an explained miss; this one does not try."""

    class Never(JsonSerializer):
        def loads(self, data: bytes, context: bytes) -> Any:
            pytest.fail("tried another decoder")

    other = BytesCodec("golden", ["other"], Never(), [])
    assert "it was written by another serializer than other" == reason(GOLDEN, by=other)


def resealed(annex_body: bytes, **header: float) -> bytes:
    """A record whose checksums are right and whose content is not: checksums are no secret."""
    context = crc32(f"golden\0{KEY}".encode())
    annex = struct.pack("<I", crc32(annex_body, context)) + annex_body if annex_body else b""
    times = {"fresh": math.inf, "kept": math.inf, "ttl": math.inf, **header}
    head = struct.pack("<BBHI8sddd8sdf", 1, 0, 0, len(annex), b"VERSION1", *times.values(), bytes(8), 0.0, 0.0)
    return head + struct.pack("<I", crc32(head, context)) + annex


@pytest.mark.parametrize(
    "stored",
    [
        resealed(b"", fresh=math.nan),
        resealed(b"", kept=math.nan),
        resealed(b"", ttl=math.nan),
        resealed(b"\xff\xff\0\0"),
        resealed(b"\1\0\0\0" + b"\xff\xff" + b"tag"),
        resealed(b"\1\0\0\0" + b"\3\0" + b"tag" + b"short"),
        resealed(b"\1\0\0\0" + b"\2\0" + b"\xff\xfe" + b"TOKEN-01"),
        resealed(b"\0\0\xff\xff" + b"e"),
        resealed(b"\0\0\0\0" + b"left over"),
    ],
    ids=["fresh", "kept", "ttl", "no tags", "tag cut", "marker cut", "tag no text", "token cut", "left over"],
)
def test_right_checksums_and_wrong_content(stored: bytes) -> None:
    """A head that was made up, with checksums that are right, is a miss in every operation and crashes none."""
    with managed() as manager:
        cache = manager.get_cache("golden")
        for look in (cache.get, cache.exists, cache.touch, cache.pop):
            cache._driver.put(KEY, stored)
            assert not look("key")
        cache._driver.put(KEY, stored)
        assert cache.explain("key").served is False
        cache._driver.put(KEY, stored)
        assert cache.keys() in ([], ["key"])  # a scan sees heads only
        assert cache.add("key", "new") is True
        assert cache.get("key") == "new"


@pytest.mark.parametrize(
    ("serializer", "said"),
    [
        (["json", "json"], "json, json has more than one serializer"),
        (["json", {"name": "pickle", "key": "0123456789abcdef"}], "json, pickle has more than one serializer"),
    ],
    ids=str,
)
def test_pipelines_that_are_none(serializer: Any, said: str) -> None:
    """A pipeline has one serializer, at its beginning."""
    config = {"defaults": {**JSON, "serializer": serializer}}
    with managed(config) as manager, pytest.raises(CacheConfigError, match=said):
        manager.get_cache("app")


def test_sizes() -> None:
    """The header is 64 bytes, whatever is in it, so that a swap may replace it alone."""
    headers = {
        "plain": codec().header(KEY, Record(1, b"VERSION1")),
        "all": codec().header(KEY, GOLDEN_RECORD),
    }
    assert {"plain": 64, "all": 64} == {name: len(header) for name, header in headers.items()}
    assert HEADER_SIZE == 64
    assert GOLDEN[:64] == headers["all"]
