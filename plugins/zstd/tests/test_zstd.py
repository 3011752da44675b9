"""Compression: what goes in comes out, smaller where that pays, and nothing opens without bounds (RELIABILITY 7, 9)."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from codomyrmex.cache import Cache, CacheConfigError, CacheSerializationError
from codomyrmex_cache_zstd import ZstdTransform

TEXT = b"the quick brown fox jumps over the lazy dog. " * 200
RANDOM = random.Random(1).randbytes(5000)


def stage(threshold: int = 1024, level: int = 1, max_size: int = 2**20) -> ZstdTransform:
    return ZstdTransform(threshold=threshold, level=level, max_size=max_size)


@given(st.binary() | st.binary(min_size=1, max_size=3).map(lambda data: data * 1000), st.integers(1, 2000))
def test_round_trip(data: bytes, threshold: int) -> None:
    """What goes in comes out, and takes at most one byte more."""
    packed = stage(threshold).encode(data, b"")
    assert data == stage().decode(packed, b"")
    assert len(packed) <= len(data) + 1


@pytest.mark.parametrize("level", range(1, 23))
def test_levels(level: int) -> None:
    """What any level wrote, any other reads."""
    for size in (1024, len(TEXT)):
        packed = stage(level=level, max_size=size).encode(TEXT[:size], b"")
        assert len(packed) < 200
        assert TEXT[:size] == stage(max_size=size).decode(packed, b"")


def test_golden() -> None:
    """The first byte says whether a frame follows; stored values outlive the version that wrote them."""
    assert b"\x00ab" == stage().encode(b"ab", b"")
    frame = bytes.fromhex("01 28 b5 2f fd 60 e8 02 4d 00 00 10 61 61 01 00 e3 2b 80 05")
    assert b"a" * 1000 == stage().decode(frame, b"")


def test_threshold() -> None:
    """Smaller than the threshold, and what doesn't shrink, stays as it is."""
    assert TEXT[:1023] in stage().encode(TEXT[:1023], b"")
    assert TEXT[:1024] not in stage().encode(TEXT[:1024], b"")
    assert b"\x00" + RANDOM == stage().encode(RANDOM, b"")
    assert b"\x00" == stage(threshold=1).encode(b"", b"")


def test_more_than_max_size_is_not_compressed() -> None:
    """What would not be opened again is not compressed: a value is never stored in vain."""
    small = stage(max_size=2000)
    for size in (2000, 2001):
        assert TEXT[:size] == small.decode(small.encode(TEXT[:size], b""), b"")


def frame(data: bytes, **options: Any) -> bytes:
    return b"\x01" + zstandard.ZstdCompressor(**options).compress(data)


def skippable(size: int) -> bytes:
    return bytes.fromhex("502a4d18") + size.to_bytes(4, "little") + bytes(size)


GOOD = frame(TEXT)
REFUSED = {
    "nothing": b"",
    "unknown kind": b"\x02" + GOOD[1:],
    "no frame": b"\x01",
    "no zstd": b"\x01" + RANDOM,
    "cut": GOOD[:-1],
    "cut in the header": GOOD[:5],
    "bytes behind the end": GOOD + b"\x00",
    "two frames": GOOD + GOOD[1:],
    "a frame without content": frame(b""),
    "a frame without content and more": frame(b"") + GOOD[1:],
    "a skippable frame": b"\x01" + skippable(10),
    "a skippable frame in front": b"\x01" + skippable(10) + GOOD[1:],
    "a frame that does not say its size": frame(TEXT, write_content_size=False),
    "more than max_size": frame(bytes(2**20 + 1)),
    "made with a dictionary": frame(
        TEXT, dict_data=zstandard.ZstdCompressionDict(TEXT * 2, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """What this stage never wrote is an error, always the same one."""
    with pytest.raises(CacheSerializationError):
        stage().decode(REFUSED[name], b"")


def test_cut_and_flipped() -> None:
    """Cut anywhere it is an error; with any byte changed an error, or some bytes within max_size."""
    small = stage(max_size=len(TEXT))
    for length in range(len(GOOD)):
        with pytest.raises(CacheSerializationError):
            small.decode(GOOD[:length], b"")
    for at in range(len(GOOD)):
        for bit in range(8):
            changed = GOOD[:at] + bytes([GOOD[at] ^ 1 << bit]) + GOOD[at + 1 :]
            try:
                found = small.decode(changed, b"")
            except CacheSerializationError:
                continue
            assert len(found) <= len(TEXT)


@given(st.binary())
def test_random_bytes(data: bytes) -> None:
    """Bytes of strangers are an error or some bytes within max_size, never anything else."""
    for one in (data, b"\x01" + data, b"\x01\x28\xb5\x2f\xfd" + data):
        try:
            found = stage().decode(one, b"")
        except CacheSerializationError:
            continue
        assert one[:1] == b"\x00" or len(found) <= 2**20


BOMBS = """
import resource, sys
import zstandard
from codomyrmex.cache import CacheSerializationError
from codomyrmex_cache_zstd import ZstdTransform

MANY = 100 * 2**20
def frame(data, **options):
    return zstandard.ZstdCompressor(level=1, **options).compress(data)
def without_size(total):
    compressing = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join(compressing.compress(bytes(2**20)) for _ in range(total // 2**20)) + compressing.flush()
def lying(honest, claim):
    # A frame header without single segment: magic, descriptor with eight bytes of size, window of 1 KiB.
    return honest[:4] + b"\\xc0\\x00" + claim.to_bytes(8, "little") + honest[6:]
unsized = without_size(MANY)
bombs = {
    "with its size": frame(bytes(MANY)),
    "without its size": unsized,
    "twice compressed": frame(frame(bytes(MANY))),
    "twice, without sizes": without_size(0) + frame(unsized),
    "claims less": lying(unsized, 1000),
    "claims max_size": lying(unsized, 2**20),
    "claims 2**63": lying(unsized, 2**63),
    "window of 128 MiB": b"\\x28\\xb5\\x2f\\xfd" + b"\\x80\\x88" + (2**20).to_bytes(4, "little") + unsized[6:],
}
assert all(len(bomb) < 100_000 for bomb in bombs.values())
before = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (before + 32 * 2**20,) * 2)
stage = ZstdTransform(threshold=1024, level=1, max_size=2**20)
for name, bomb in bombs.items():
    try:
        opened = b"\\x01" + bomb
        for _ in range(2):
            opened = b"\\x01" + stage.decode(opened, b"")
    except CacheSerializationError:
        print("refused")
    else:
        print(name, len(opened))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and elsewhere nobody heeds the limit")
def test_bombs() -> None:
    """100 kB that open to 100 MiB are refused within 32 MiB: with or without their size, lying about it, or twice."""
    done = subprocess.run([sys.executable, "-c", BOMBS], capture_output=True, text=True, timeout=60, check=False)
    assert ["refused"] * 8 == done.stdout.splitlines(), done.stderr[-500:]


def test_threads() -> None:
    """Threads that compress and open at the same time don't disturb each other."""
    shared = stage(threshold=1)
    barrier, wrong = threading.Barrier(8), []

    def work(number: int) -> None:
        data = [bytes([number]) * size + TEXT[:size] for size in range(1, 4000, 100)]
        barrier.wait()
        for _ in range(20):
            wrong.extend(one for one in data if shared.decode(shared.encode(one, b""), b"") != one)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong


def in_child(shared: ZstdTransform, packed: bytes) -> None:
    os._exit(0 if shared.decode(packed, b"") == TEXT and shared.encode(TEXT, b"") == packed else 1)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork() -> None:
    """A child that was forked while other threads were compressing goes on."""
    shared = stage()
    packed = shared.encode(TEXT, b"")
    stop = threading.Event()

    def compress() -> None:
        while not stop.is_set():
            shared.encode(TEXT, b"")

    threads = [threading.Thread(target=compress) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            child = multiprocessing.get_context("fork").Process(target=in_child, args=(shared, packed))
            child.start()
            child.join(30)
            assert child.exitcode == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_in_a_cache(open_cache: Callable[..., Cache[Any]]) -> None:
    """A cache stores less and gives back the same; its explanation names the pipeline."""
    cache = open_cache()
    value = [{"name": "Ada", "number": number} for number in range(200)]
    cache.set_many({"long": value, "short": [1]})
    assert {"long": value, "short": [1]} == cache.get_many(["long", "short"])
    assert "json+zstd" == cache.explain("long").serializer
    assert len(str(value)) > 4 * len(cache._driver.get("app:long"))


def test_explained_miss(open_cache: Callable[..., Cache[Any]]) -> None:
    """A stored bomb is a miss, counted and explained."""
    cache = open_cache(serializer=["json", {"name": "zstd", "max_size": "2KiB"}])
    codec: Any = cache._store.codec
    (ours,) = codec._transforms
    codec._transforms = (stage(),)
    cache.set_many({"key": "a" * 5000})
    codec._transforms = (ours,)
    assert cache.get("key") is None
    assert cache.stats.unreadable == 1
    assert "would open to 5,002 bytes; max_size is 2,048" in cache.explain("key").reason


@pytest.mark.skipif(find_spec("codomyrmex_cache_msgpack") is None, reason="msgpack is not installed")
def test_behind_msgpack(open_cache: Callable[..., Cache[Any]]) -> None:
    """The pipeline that the documentation recommends, and one that compresses twice."""
    for name, stages in {"one": ["msgpack", "zstd"], "two": ["msgpack", "zstd", "zstd"]}.items():
        cache = open_cache(name, serializer=stages)
        value = {"bytes": bytes(10_000), "pair": (1, {2}), "text": "a" * 10_000}
        cache.set("key", value)
        assert value == cache["key"]
        cache.set("key", TEXT)
        assert TEXT == cache["key"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": 23}, "'level': got 23; expected a whole number from 1 to 22"),
        ({"level": 0}, "'level': got 0"),
        ({"level": "fast"}, "'level': got 'fast'"),
        ({"threshold": 0}, "'threshold': got 0"),
        ({"max_size": "lots"}, "'max_size': got 'lots'"),
        ({"treshold": 5}, "mean 'threshold'"),
    ],
    ids=str,
)
def test_wrong_options(options: dict[str, Any], said: str, open_cache: Callable[..., Cache[Any]]) -> None:
    """An option that is wrong is an error of the config, before anything starts."""
    with pytest.raises(CacheConfigError, match=r"'app' \(zstd\)") as caught:
        open_cache(serializer=["json", {"name": "zstd", **options}])
    assert said in str(caught.value)


def test_alone(open_cache: Callable[..., Cache[Any]]) -> None:
    """It is no serializer: in front of it there must be one."""
    with pytest.raises(CacheConfigError, match="'zstd' only changes bytes"):
        open_cache(serializer="zstd")
