"""Bytes of strangers: refused with one error, within bounds of memory, stack and time (RELIABILITY 3, 7, 10)."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from exactness import read, written

from codomyrmex.cache import Cache, CacheSerializationError

M = bytes.fromhex("c700")  # begins a mark
ZONED = b"\x9a" + M + b"\x0a\x01\x02\x03\x00\x00\x00\x00"
HOSTILE = {
    "nothing": b"",
    "cut array": b"\x92\x01",
    "array of 4 billion": b"\xdd\xff\xff\xff\xff",
    "arrays of 16 million, nested": b"\xdd\x00\xff\xff\xff" * 200,
    "map of 4 billion": b"\xdf\xff\xff\xff\xff",
    "text of 4 GB": b"\x91\xdb\xff\xff\xff\xff",
    "bytes of 4 GB": b"\x91\xc6\xff\xff\xff\xff",
    "extension of 4 GB": b"\x91\xc9\xff\xff\xff\xff\x01",
    "lists 100,000 deep": b"\x91" * 100_000 + b"\xc0",
    "lists 1,000 deep": b"\x91" * 1000 + b"\xc0",
    "lists 256 deep": b"\x91" * 256 + b"\xc0",
    "maps 100,000 deep": b"\x81\xa1a" * 100_000 + b"\xc0",
    "tuples 100,000 deep": (b"\x92" + M + b"\x01") * 100_000 + b"\xc0",
    "tuples 256 deep": (b"\x92" + M + b"\x01") * 256 + b"\xc0",
    "100,000 digits": b"\x92" + M + b"\x05\xdb" + (83_049).to_bytes(4, "big") + b"f" * 83_049,
    "4,301 digits": b"\x92" + M + b"\x05\xda" + (3572).to_bytes(2, "big") + b"f" * 3572,
    "Decimal with a huge exponent": b"\x92" + M + b"\x07\xb51E9999999999999999999",
    "reserved byte": b"\xc1",
    "bytes behind the end": b"\xc0\xc0",
    "text that is no UTF-8": b"\xa2\xff\xff",
    "lone surrogate": b"\x91\xa3\xed\xa0\x80",
    "lone surrogate alone": b"\xd9\xed\xa0\x80",
    "text written as other values": b"\xa1a",
    "bytes written as other values": b"\xc5\x00\x01a",
    "number longer than needed": b"\xcd\x00\x01",
    "short float": b"\xca\x00\x00\x00\x00",
    "array longer than needed": b"\xdc\x00\x01\xc0",
    "duplicate keys": b"\x82\xa1a\x01\xa1a\x02",
    "keys that are no text": b"\x81\x01\x02",
    "mark alone": M + b"\x01",
    "mark in a map": b"\x81\xa1a" + M + b"\x01",
    "mark that is not the first": b"\x92\x01" + M + b"\x01",
    "mark behind a mark": b"\x92" + M + b"\x01" + M + b"\x01",
    "mark with content": b"\x91\xd4\x01\x01",
    "unknown mark": b"\x91" + M + b"\x10",
    "negative mark": b"\x91" + M + b"\xff",
    "timestamp": b"\xd6\xff\x00\x00\x00\x00",
    "duplicate keys behind a mark": b"\x95" + M + b"\x04\x01\x02\x01\x02",
    "equal keys of other types": b"\x95" + M + b"\x04\x01\x02\xc3\x02",
    "key without value": b"\x92" + M + b"\x04\x01",
    "text keys behind a mark": b"\x93" + M + b"\x04\xa1a\x01",
    "no keys behind a mark": b"\x91" + M + b"\x04",
    "list as a key": b"\x93" + M + b"\x04\x90\x01",
    "duplicate members": b"\x93" + M + b"\x02\x01\x01",
    "equal members of other types": b"\x93" + M + b"\x02\x01\xc3",
    "members in another order": b"\x93" + M + b"\x02\x02\x01",
    "list as a member": b"\x92" + M + b"\x03\x90",
    "int that needs no mark": b"\x92" + M + b"\x05\xa15",
    "int with spaces": b"\x92" + M + b"\x05\xb3 1" + b"0" * 17,
    "int that is no text": b"\x92" + M + b"\x05\x05",
    "complex of ints": b"\x93" + M + b"\x06\x01\x01",
    "complex of one": b"\x92" + M + b"\x06\xcb" + bytes(8),
    "Decimal that is none": b"\x92" + M + b"\x07\xa1x",
    "Decimal with an underscore": b"\x92" + M + b"\x07\xa31_0",
    "date of year 0": b"\x92" + M + b"\x08\x00",
    "date of a bool": b"\x92" + M + b"\x08\xc3",
    "February 30": b"\x98" + M + b"\x09\x01\x02\x1e\x00\x00\x00\x00",
    "datetime of six": b"\x97" + M + b"\x09\x01\x02\x03\x00\x00\x00",
    "datetime of nine": b"\x9a" + M + b"\x09\x01\x02\x03\x00\x00\x00\x00\x00\x00",
    "datetime with a bool": b"\x98" + M + b"\x09\x01\x02\x03\x00\x00\x00\xc2",
    "offset of a day": b"\x99" + M + b"\x09\x01\x02\x03\x00\x00\x00\x00\xce\x00\x01\x51\x80",
    "time of the 25th hour": b"\x95" + M + b"\x0b\x18\x00\x00\x00",
    "fold of 2": ZONED + b"\x02\xc0",
    "fold of a bool": ZONED + b"\xc3\xc0",
    "no fold and no zone": ZONED + b"\x00\xc0",
    "zone outside of the directory": ZONED + b"\x00\xad../etc/passwd",
    "zone that does not exist": ZONED + b"\x00\xa6Europe",
    "directory of zones": ZONED + b"\x00\xa7America",
    "zone of a number": ZONED + b"\x00\x05",
    "offset of two days": ZONED + b"\x00\x93\x02\x00\x00",
    "offset that needs no mark of its own": ZONED + b"\x00\x93\x00\x01\x00",
    "offset that is not in order": ZONED + b"\x00\x93\x00\xce\x00\x01\x51\x80\x01",
    "name that is no text": ZONED + b"\x00\x94\x00\x01\x00\x01",
    "time without a fold": b"\x92" + M + b"\x0c\x01",
    "minutes as seconds": b"\x94" + M + b"\x0d\x00\xce\x00\x01\x51\x80\x00",
    "UUID in braces": b"\x92" + M + b"\x0e\xd9\x22{" + b"0" * 32 + b"}",
    "UUID of no safety": b"\x93" + M + b"\x0e\xd9\x20" + b"0" * 32 + b"\xc0",
    "UUID of a bool": b"\x93" + M + b"\x0e\xd9\x20" + b"0" * 32 + b"\xc2",
    "UUID of unknown safety": b"\x93" + M + b"\x0e\xd9\x20" + b"0" * 32 + b"\x05",
    "unregistered type": b"\x93" + M + b"\x0f\xa7os:name\xc0",
    "unregistered function": b"\x93" + M + b"\x0f\xa9os:system\xa4true",
    "type without a state": b"\x92" + M + b"\x0f\xa7os:name",
    "type named by a number": b"\x93" + M + b"\x0f\x01\xc0",
    "type named by a list": b"\x93" + M + b"\x0f\x90\xc0",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refused(name: str) -> None:
    """What no writer gave is an error, always the same one."""
    with pytest.raises(CacheSerializationError) as caught:
        read(HOSTILE[name])
    assert caught.value.__cause__ is None


def test_within_bounds() -> None:
    """Refusing takes no memory for what is not there, also in a thread with little stack."""
    program = (
        "import resource, sys, threading\n"
        "from codomyrmex_cache_msgpack import MsgpackSerializer\n"
        "from codomyrmex.cache import CacheSerializationError\n"
        "data = [bytes.fromhex(line) for line in sys.stdin]\n"
        "used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "def refuse():\n"
        "    for one in data:\n"
        "        try:\n"
        "            MsgpackSerializer().loads(one, b'')\n"
        "        except CacheSerializationError:\n"
        "            continue\n"
        "        print('read', one[:20])\n"
        "threading.stack_size(2**21)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))\n"
        "thread = threading.Thread(target=refuse)\n"
        "thread.start(); thread.join()\n"
        "print('grown', (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) // 2**10)\n"
    )
    text = "\n".join(data.hex() for data in HOSTILE.values())
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    word, grown = done.stdout.split()
    assert "grown" == word
    assert int(grown) < 64 or sys.platform == "darwin"  # which counts in other units


def test_cut_and_flipped() -> None:
    """Cut at every length it is refused, and with any bit flipped refused or another value of the very same bytes."""
    value = {"a": [1, (2.5, None), {3: b"x"}], "b": {"text", 2**70}}
    good = written(value)
    for length in range(len(good)):
        with pytest.raises(CacheSerializationError):
            read(good[:length])
    for at in range(len(good)):
        for bit in range(8):
            changed = good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :]
            try:
                found = read(changed)
            except CacheSerializationError:
                continue
            assert changed == written(found)


def test_explained_miss(open_cache: Callable[..., Cache[Any]]) -> None:
    """In a cache, what can't be read is a miss, counted and explained."""
    cache = open_cache()

    class Forger:
        def dumps(self, value: Any, context: bytes) -> bytes:
            assert isinstance(value, bytes)
            return value

    codec: Any = cache._store.codec
    codec._serializer, serializer = Forger(), codec._serializer
    cache.set_many({"type": HOSTILE["unregistered function"], "deep": HOSTILE["lists 100,000 deep"]})
    codec._serializer = serializer
    assert cache.get_many(["type", "deep"]) == {}
    assert cache.stats.unreadable == 2
    assert cache.explain("type").state == "unreadable"
    assert "a value of the type 'os:system', which is not registered here" in cache.explain("type").reason
    assert "no value that msgpack can read" in cache.explain("deep").reason


def test_changed_by_another_thread() -> None:
    """A value that another thread changes while it is written is written as it was at some time, or refused."""
    shared: list[Any] = []
    mapping: dict[Any, Any] = {}
    stop = threading.Event()
    refusals: set[str] = set()

    def change() -> None:
        while not stop.is_set():
            shared.extend([(1, [2]), {"a": (3,)}] * 50)
            mapping.update({number: (number,) for number in range(50)})
            shared.clear()
            mapping.clear()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            try:
                found = read(written([shared, mapping]))
            except CacheSerializationError as error:
                refusals.add(error.message)
            else:
                assert all(isinstance(part, (tuple, dict)) for part in found[0])
    finally:
        stop.set()
        thread.join()
    assert refusals <= {"msgpack can't keep a value that changes while it is written"}
