"""Arrays and scalars of numpy, once registered: type, shape, order and bits come back (SPEC 8)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from exactness import read, through, written

from codomyrmex.cache import Cache, CacheSerializationError
from codomyrmex.cache.serializers import register

register(np.ndarray)
register(np.generic)

RECORD = np.dtype([("a", "<i4"), (("title", "b"), ">f8"), ("c", "S3", (2, 3)), ("d", [("e", "<M8[ns]")])])
ARRAYS: dict[str, Any] = {
    **{f"dtype {kind}": np.arange(6).astype(kind).reshape(2, 3) for kind in "?bBhHiIlLefdFD"},
    "big endian": np.arange(6, dtype=">i4"),
    "NaN with payload": np.array([0x7FF8000000000123], dtype="<u8").view("<f8"),
    "bytes": np.array([b"a", b"abc"]),
    "text": np.array(["ä", "日本語"]),
    "void": np.array([b"ab", b"cd"], dtype="V2"),
    "datetime": np.array(["2024-01-01", "NaT"], dtype="M8[ns]"),
    "timedelta": np.array([1, 2], dtype="m8[25s]"),
    "structured": np.zeros(3, RECORD),
    "padded": np.zeros(2, np.dtype({"names": ["a", "b"], "formats": ["u1", "<f8"], "offsets": [0, 8], "itemsize": 24})),
    "fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "no dimension": np.array(5),
    "empty": np.zeros((0, 3)),
    "empty fortran": np.zeros((3, 0, 2), order="F"),
    "many dimensions": np.zeros((1,) * 20),
    "not contiguous": np.arange(20).reshape(4, 5)[::2, ::-1],
    "read only": np.frombuffer(b"abcdefgh", dtype="<u4"),
}
SCALARS: list[Any] = [
    np.bool_(True),
    np.int8(-1),
    np.uint64(2**64 - 1),
    np.float16(0.5),
    np.float64("nan"),
    np.complex64(1j),
    np.str_("ä"),
    np.bytes_(b"a"),
    np.datetime64("2024-01-01"),
    np.timedelta64(5, "s"),
    np.zeros(1, RECORD)[0],
]


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str) -> None:
    """The array that comes back has the same type, shape, order and bytes, and can be written to."""
    array = ARRAYS[name]
    for found in (through(array), through([array])[0], through({"a": (1, array)})["a"][1]):
        assert type(found) is np.ndarray
        assert (array.dtype, array.shape, array.tobytes()) == (found.dtype, found.shape, found.tobytes())
        assert repr(array.dtype) == repr(found.dtype)
        assert array.flags.f_contiguous <= found.flags.f_contiguous
        assert found.flags.c_contiguous or array.flags.f_contiguous
        assert found.flags.writeable
        found[...] = array
        assert written(found) == written(array)


@pytest.mark.parametrize("value", SCALARS, ids=lambda value: type(value).__name__)
def test_scalars(value: Any) -> None:
    """So has a scalar; it is neither confused with a plain number nor with text."""
    for found in (through(value), through({"a": [value]})["a"][0]):
        assert type(found) is type(value)
        assert (found.dtype, found.tobytes()) == (value.dtype, value.tobytes())


def refused() -> Iterator[Any]:
    yield np.array([object()])
    yield np.array([{"a": 1}], dtype=object)
    yield np.zeros(2, [("a", object)])
    yield np.zeros(2, np.dtype([("a", "u1"), ("b", "<f8")], align=True))
    yield np.zeros(2, np.dtype("<f8", metadata={"a": 1}))
    yield np.zeros(2, np.longlong if np.dtype("q").char != np.dtype("<i8").char else np.dtype("O"))
    yield np.zeros(2, np.dtype([]))
    yield np.ma.array([1, 2])
    yield np.zeros(2).view(np.recarray)
    yield np.longlong(5)
    yield np.str_("")
    yield np.dtype("f8")
    yield np
    if hasattr(np.dtypes, "StringDType"):
        yield np.array(["a"], dtype=np.dtypes.StringDType())


@pytest.mark.parametrize("value", [*refused()], ids=lambda value: type(value).__name__)
def test_refused(value: Any) -> None:
    """Python objects as elements, subclasses of arrays and what would come back as another type are refused."""
    with pytest.raises(CacheSerializationError):
        written([value])


class Carrier:
    """An instance of it is written as any state, under the name of an array."""

    def __init__(self, state: Any) -> None:
        self.state = state


register(Carrier, "NUMPY:NDARRAY", encode=lambda value: value.state, decode=Carrier)


@pytest.mark.parametrize(
    "state",
    [
        ["<f8", [2], "C", b"x" * 15],
        ["<f8", [3], "C", b"x" * 16],
        ["<f8", [-1], "C", b"x" * 16],
        ["<f8", [1, -1], "C", b"x" * 16],
        ["<f8", [2.0], "C", b"x" * 16],
        ["<f8", [True, 2], "C", b"x" * 16],
        ["<f8", [2], "K", b"x" * 16],
        ["<f8", [2], "C", "x" * 16],
        ["<f8", 2, "C", b"x" * 16],
        ["<f8", [10**9] * 3, "C", b""],
        ["<f8", [0, 2**62, 2**62], "C", b""],
        ["<f8", [0] * 100, "C", b""],
        ["|O", [2], "C", b"x" * 16],
        ["O", [2], "C", b"x" * 16],
        ["f8", [2], "C", b"x" * 16],
        ["<f8,<f8", [1], "C", b"x" * 16],
        ["<f3", [1], "C", b"x" * 3],
        ["|S0", [10**12], "C", b""],
        ["|S999999999", [0, 1], "C", b"x"],
        ["<M8[x]", [1], "C", b"x" * 8],
        [[["a", "|O"]], [1], "C", b"x" * 8],
        [[["a", "<f8"], ["a", "<f8"]], [1], "C", b"x" * 16],
        [[["a", "<f8", [-1]]], [1], "C", b"x" * 8],
        [[["a", "<f8", [10**9, 10**9]]], [1], "C", b"x" * 8],
        [[["a", "<f8", "x"]], [1], "C", b"x" * 8],
        [[], [10**12], "C", b""],
        ["|f8", [2], "C", b"x" * 16],
        ["|b1", [2], "C", b"\0\2"],
        [{"names": ["a"]}, [1], "C", b"x"],
        [None, [1], "C", b"x" * 8],
        ["<f8", [1], "C"],
        [],
        None,
        b"x",
    ],
    ids=str,
)
def test_hostile(state: Any) -> None:
    """A stored array whose parts don't fit each other is refused, and no memory is taken for it."""
    with pytest.raises(CacheSerializationError):
        read(written(Carrier(state)).replace(b"NUMPY:NDARRAY", b"numpy:ndarray"))


def test_forged_arrays_can_be_right() -> None:
    """The test above forges well: a right state is read."""
    data = written(Carrier(["<f8", [2], "C", bytes(16)])).replace(b"NUMPY:NDARRAY", b"numpy:ndarray")
    assert [0, 0] == read(data).tolist()


def test_numpy_is_not_imported() -> None:
    """The serializer works without numpy, and imports it for nobody who has not named it."""
    program = (
        "import sys\n"
        "from codomyrmex_cache_msgpack import MsgpackSerializer\n"
        "s = MsgpackSerializer()\n"
        "s.loads(s.dumps([(1, 2), {3: 4}], b''), b'')\n"
        "try:\n"
        "    s.dumps(object(), b'')\n"
        "except ValueError:\n"
        "    print('numpy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "False\n" == done.stdout, done.stderr[-500:]


def test_by_name(open_cache: Callable[..., Cache[Any]]) -> None:
    """A config names the types as text."""
    cache = open_cache(serializer={"name": "msgpack", "types": ["numpy:ndarray", "numpy:generic"]})
    cache.set("key", {"data": np.arange(3), "mean": np.float32(1)})
    found = cache["key"]
    assert [0, 1, 2] == found["data"].tolist()
    assert type(found["mean"]) is np.float32
