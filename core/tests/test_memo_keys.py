"""Keys of memoized functions: whatever differs has another key, whatever is the same has the same one, everywhere."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import functools
import hashlib
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import types
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codomyrmex.cache import CacheConfigError, CacheKeyError, CacheManager
from codomyrmex.cache._memo_keys import MemoKeys
from codomyrmex.cache._memo_values import Unkeyable, write


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Shade(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    ONE = 1


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


@dataclasses.dataclass
class Point:
    x: Any
    y: int = dataclasses.field(default=0, repr=False)

    @functools.cached_property
    def length(self) -> float:
        return math.hypot(self.x, self.y)


@dataclasses.dataclass
class Scaled:
    x: int
    by: dataclasses.InitVar[int]

    def __post_init__(self, by: int) -> None:
        self.scaled = self.x * by


class Pair(NamedTuple):
    x: Any
    y: Any


class Name(str):
    """A text of a type of its own."""


class Stateful(int):
    unit = ""


class User:
    def __init__(self, number: Any) -> None:
        self.number = number

    def __cache_key__(self) -> Any:
        return self.number


class Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class Inheriting(Shown):
    pass


class Plain:
    pass


def plain(a: Any, b: Any = 2, *rest: Any, c: Any = 3, **more: Any) -> None: ...


def other(a: Any, b: Any = 2) -> None: ...


MORE = [0, 1, 2]
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 10**400, -(10**400), 0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 1 + 0j,
    complex(0.0, -0.0), complex(0.0, 0.0), "", "1", "None", "a:b", "a", "1,2", "'", '"', "\\", "\n", "é", "e\u0301",
    "\ud800", "\U0001f600", b"", b"1", bytearray(b"1"), Name("1"), Level.ONE, (), (1,), (1, 2), ((1,), 2), (1, (2,)),
    ("1,2",), [], [1], [1, 2], [[1], 2], {}, {1: 2}, {"1": 2}, {1: "2"}, {True: 2}, {(1, 2): 3}, set(), {1}, {1, 2},
    frozenset(), frozenset({1}), frozenset({frozenset({1})}), Pair(1, 2), Pair(1, "2"), collections.OrderedDict(a=1,
    b=2), collections.OrderedDict(b=2, a=1), {"a": 1, "b": 2}, collections.Counter("ab"), collections.defaultdict(int,
    a=1), collections.defaultdict(list, a=1), collections.deque([1]), collections.deque([1], 5),
    types.MappingProxyType({1: 2}), types.SimpleNamespace(a=1), slice(1, 2), slice(1, None), range(3), range(0, 3, 2),
    ..., date(2020, 1, 1), datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1,
    tzinfo=timezone(timedelta(0), "Z")), datetime(2020, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")), time(1), time(1, tzinfo=UTC),
    timedelta(1), timedelta(seconds=1), timedelta(-1), UTC, ZoneInfo("Europe/Berlin"), Decimal("1"), Decimal("1.0"),
    Decimal("NaN"), Fraction(1, 3), uuid.UUID(int=1), uuid.UUID(int=2), ip_address("127.0.0.1"), ip_address("::1"),
    pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), Path("a"), Path("b"), Color.RED, Color.BLUE, Shade.RED,
    Rights.READ, Rights.WRITE, Rights.READ | Rights.WRITE, Point(1), Point(1, 2), Point("1"), Scaled(1, 2), Scaled(1,
    3), User(1), User("1"), User((1, 2)), Shown("Shown(1)"), Shown("Shown(2)"), int, str, Color, Point, plain, other,
    len, math.sin, functools.partial(plain, 1), functools.partial(plain, a=1), Point(0).__init__, Point(1).__init__,
    re.compile("a"), re.compile("a", re.IGNORECASE), re.compile("x" * 300), re.compile("x" * 301), re.compile(b"a"),
    list[int], list[str], array.array("i", [1]), array.array("q", [1]), numpy.array([1.0]),
    numpy.array([1.0000000001]), numpy.zeros(2000), numpy.ones(2000), numpy.zeros((2, 1000)), numpy.float64(1),
    numpy.int64(1),
]  # fmt: skip
"""No two of them may have one key."""


def test_all_distinct() -> None:
    """Every one of many values has a text of its own, also inside of a list, and one that any store can keep."""
    texts = [write(value) for value in VALUES]
    assert len(texts) == len(set(texts)), [text for text, count in collections.Counter(texts).items() if count > 1]
    assert len({write(["in", value]) for value in VALUES} | set(texts)) == 2 * len(VALUES)
    assert all(text.isascii() and text.isprintable() for text in texts)


def test_equal_values() -> None:
    """What is the same value has the same text: the order of a dict or a set makes no difference."""
    assert write({"a": 1, "b": 2}) == write({"b": 2, "a": 1})
    assert write(set("abcdefgh")) == write(set("hgfedcba"))
    assert write({1: {2: 3, 4: 5}}) == write({1: {4: 5, 2: 3}})
    point = Point(3, 4)
    before = write(point)
    assert point.length == 5.0
    assert before == write(point)


atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.complex_numbers(allow_nan=False), st.decimals(allow_nan=False), st.uuids(), st.datetimes(), st.dates(),
    st.times(), st.timedeltas(),
)  # fmt: skip
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(atoms, inner),
        st.frozensets(atoms),
        st.builds(Pair, inner, inner),
        st.builds(Point, inner),
    ),
    max_leaves=10,
)


def form(value: Any) -> Any:
    """What two values share if, and only if, they are of the same types and equal."""
    if isinstance(value, (list, tuple)):
        return type(value), [form(one) for one in value]
    if isinstance(value, dict):
        return dict, sorted(((repr(form(key)), form(one)) for key, one in value.items()), key=repr)
    if isinstance(value, frozenset):
        return frozenset, sorted(repr(form(one)) for one in value)
    if isinstance(value, Point):
        return Point, form(value.x), value.y
    return type(value), repr(value)


@given(values, values)
def test_distinct_values_and_keys(one: Any, two: Any) -> None:
    """Two values have one text if, and only if, they are the same."""
    assert (form(one) == form(two)) is (write(one) == write(two))


@given(st.lists(values, max_size=3), st.lists(values, max_size=3))
def test_distinct_arguments(one: list[Any], two: list[Any]) -> None:
    """Two calls have one key if, and only if, their arguments are the same; in whatever way they are remembered."""

    def function(*args: Any) -> None: ...

    keys = MemoKeys(function, name="f")
    first = [keys.of(tuple(args), {}) for args in (one, two)]
    assert (form(one) == form(two)) is (first[0] == first[1])
    assert first == [keys.of(tuple(args), {}) for args in (one, two)]


PROGRAM = """
import sys, json
sys.path[:0] = json.loads(sys.argv[1])
import test_memo_keys as tests
from codomyrmex.cache._memo_values import write
more = [write({"a", "b", "c", 1, None}), tests.KEYS.of((1,), {"z": 1, "y": 2})]
print(json.dumps([write(value) for value in tests.VALUES] + more))
"""

KEYS = MemoKeys(plain, name="f")


def test_the_same_in_every_process(tmp_path: Path) -> None:
    """Processes with other seeds for hashes write the same keys."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    paths = json.dumps([str(Path(__file__).parent)])
    printed = {
        subprocess.run(
            [sys.executable, str(program), paths],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    (one,) = printed
    assert len(json.loads(one)) == len(VALUES) + 2


def test_the_same_in_every_version() -> None:
    """Keys are part of what is stored: these are the texts that every Python version must write."""
    assert [
        "f(a=1, b='\\xe9', *rest=(), c=3, **more={})",
        "f(a=1, b=2, *rest=(3,), c=-0.0, **more={'x': None})",
        "f(a=[datetime(2020-01-01T00:00:00 timezone(timedelta(0, 0, 0)))], b={'a': b'b'}, *rest=(), c=3, **more={})",
        "f(a=PurePosixPath('a'), b=Decimal('1.0'), *rest=(), c=set(1, 2), **more={})",
    ] == [
        KEYS.of((1, "é"), {}),
        KEYS.of((1, 2, 3), {"c": -0.0, "x": None}),
        KEYS.of(([datetime(2020, 1, 1, tzinfo=UTC)], {"a": b"b"}), {}),
        KEYS.of((pathlib.PurePosixPath("a"), Decimal("1.0")), {"c": {2, 1}}),
    ]
    assert re.fullmatch(r"f\(~[0-9a-f]{40}\)", KEYS.of(("x" * 1000,), {}))
    texts = [write(value).replace(__name__, "tests") for value in VALUES]
    texts = [text for text in texts if not text.startswith(("numpy", "array"))]  # in the machine's order of bytes
    digest = hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()
    assert digest == "6f316f3cbaeb1d5710c00ad13bd88055"


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {}),
        ((), {"a": 1}),
        ((1, 2), {}),
        ((1,), {"b": 2}),
        ((), {"b": 2, "a": 1}),
        ((1, 2), {"c": 3}),
        ((), {"c": 3, "b": 2, "a": 1}),
    ],
)
def test_one_call_one_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """It makes no difference whether an argument is given by place, by name, or as the default."""
    for _ in range(2):
        assert KEYS.of(args, kwargs) == "f(a=1, b=2, *rest=(), c=3, **more={})"


def test_names_in_any_order() -> None:
    assert KEYS.of((1,), {"x": 1, "y": 2}) == KEYS.of((1,), {"y": 2, "x": 1})
    assert KEYS.of((1,), {"x": 1}) != KEYS.of((1,), {"y": 1})


def test_what_is_remembered_stays_typed() -> None:
    """Calls whose keys are remembered are told apart as well as all others."""
    keys = MemoKeys(other, name="f")
    given: list[Any] = [0, False, 0.0, -0.0, "0", b"0", None, 1, True, 1.0, "1"]
    found = [keys.of((value,), {}) for _ in range(3) for value in given]
    assert len(given) == len(set(found))
    assert found == found[: len(given)] * 3
    assert found[: len(given)] == [keys.of((), {"a": value}) for value in given]


def test_what_is_remembered_is_bounded() -> None:
    keys = MemoKeys(other, name="f")
    for number in range(5000):
        keys.of((number,), {})
        keys.of(("x" * 1000 + str(number),), {})
    assert len(keys.known) <= 512
    assert max(map(len, keys.known.values())) < 300


def test_a_default_that_changes() -> None:
    """A default is part of the key as it is when the function is called."""
    default = [1]

    def function(a: int, b: list[int] = default) -> None: ...

    keys = MemoKeys(function, name="f")
    before = keys.of((1,), {})
    default.append(2)
    assert before != keys.of((1,), {})


def recursive() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def doubled() -> list[Any]:
    value: list[Any] = [1]
    for _ in range(60):
        value = [value, value]
    return value


def stateful() -> Stateful:
    value = Stateful(1)
    value.unit = "m"
    return value


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Plain, "no repr of its own"),
        (lambda: Shown("<Plain object at 0x7f0000000000>"), "memory address"),
        (lambda: Shown("Plain(0x7f0000000000)"), "memory address"),
        (lambda: Shown("<User: Ada>"), "only describes"),
        (lambda: Shown("Table([1, 2, ...])"), "leaves out"),
        (lambda: Shown("Secret('**********')"), "leaves out"),
        (lambda: Inheriting("Shown(1)"), "no repr of its own"),
        (lambda: Shown(1), "repr fails"),  # type: ignore[arg-type]
        (lambda: [Plain()], "no repr"),
        (lambda: {"a": Plain()}, "no repr"),
        (lambda: {Plain(): 1}, "no repr"),
        (lambda: User(Plain()), "no repr"),
        (lambda: Point(Plain()), "no repr"),
        (lambda: lambda: 1, "lambda"),
        (recursive, "contains itself"),
        (deep, "too deep"),
        (doubled, "more than 1,000,000"),
        (stateful, "more to it"),
        (lambda: (number for number in [1]), "address"),
        (lambda: sys.__stdout__, "only describes"),
        (lambda: numpy.array([object()]), "may leave out"),
        (lambda: numpy.ma.masked_array([1], [True]), "may leave out"),
        (lambda: [].append, "address"),
        (lambda: iter([1]), "no repr"),
    ],
)
def test_refused(make: Callable[[], Any], words: str) -> None:
    """What can't be told from another value is refused, with the parameter, the type and what to do."""
    value = make()
    with pytest.raises(CacheKeyError, match=words) as caught:
        MemoKeys(other, name="f").of((1, value), {})
    assert "f(): argument 'b'" in str(caught.value)
    assert "Ada" not in str(caught.value)


def test_local_classes_and_functions() -> None:
    """A class or function inside of a function may have others of its name."""

    @dataclasses.dataclass
    class Local:
        x: int

    def local() -> None: ...

    for value in (Local, Local(1), local):
        with pytest.raises(Unkeyable, match="others may have that name"):
            write(value)


def test_names() -> None:
    """Keys begin with module and qualified name; who shares it with others has to choose one."""

    def local() -> None: ...

    assert MemoKeys(plain).name == f"{plain.__module__}.plain"
    for function in (local, lambda: 1, functools.partial(plain, 1)):
        with pytest.raises(CacheConfigError, match="name="):
            MemoKeys(function)
        assert MemoKeys(function, name="mine").name == "mine"
    for name in ("", "a(b", "a#1", "\0a", 5, "x" * 1000):
        with pytest.raises(CacheConfigError, match="name"):
            MemoKeys(plain, name=name)  # type: ignore[arg-type]


def test_a_programs_own_module(tmp_path: Path) -> None:
    """Functions of two programs have other names, though the module of both is `__main__`."""
    program = "from codomyrmex.cache._memo_keys import MemoKeys\ndef f(): ...\nprint(MemoKeys(f).of((), {}))"
    printed = []
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(program)
        printed.append(subprocess.check_output([sys.executable, str(tmp_path / name)], text=True).strip())
    assert [f"{tmp_path}/a.py.f()", f"{tmp_path}/b.py.f()"] == printed
    done = subprocess.run([sys.executable, "-m", "a"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "a.f()"


def test_versions() -> None:
    """Another version makes other keys; a text and a number are two."""
    versions: list[Any] = [None, 1, 2, "1", "2", "v", ""]
    assert len(versions) == len({MemoKeys(plain, version=version).of((1,), {}) for version in versions})
    for version in (True, 1.0, [1]):
        with pytest.raises(CacheConfigError, match="version"):
            MemoKeys(plain, version=version)  # type: ignore[arg-type]


def test_ignoring() -> None:
    """An ignored parameter makes no difference and may be anything; others do."""
    keys = MemoKeys(plain, name="f", ignore=["b", "debug"])
    assert keys.of((1, Plain()), {"debug": Plain(), "x": 1}) == keys.of((1, 5), {"x": 1})
    assert keys.of((1,), {"x": 1}) != keys.of((1,), {"x": 2})
    with pytest.raises(CacheConfigError, match="'z'"):
        MemoKeys(other, ignore=["z"])
    with pytest.raises(CacheConfigError, match="several names"):
        MemoKeys(other, ignore="a")


def test_a_key_of_ones_own() -> None:
    """`key` takes the same arguments; what it returns is written like an argument, and belongs to the function."""
    keys = MemoKeys(other, name="f", key=lambda a, b=2: a.number)
    assert keys.of((User("x"),), {}) == "f('x')"
    assert keys.of((User(1),), {"b": Plain()}) == "f(1)"
    with pytest.raises(CacheKeyError, match="`key` returns"):
        keys.of((User(Plain()),), {})
    with pytest.raises(CacheConfigError, match="key"):
        MemoKeys(other, key="a")  # type: ignore[arg-type]


def test_calls_that_can_not_be() -> None:
    with pytest.raises(TypeError, match=r"f\(\)"):
        MemoKeys(other, name="f").of((), {})
    with pytest.raises(TypeError, match="z"):
        MemoKeys(other, name="f").of((1,), {"z": 1})


def test_reliability_4() -> None:
    """The pairs of RELIABILITY: none of them shares a key, whatever is remembered."""
    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("app")
        function = cache.memoize(name="f")(lambda a, b=None: (type(a), a, b))
        for args in [("a:b", "c"), ("a", "b:c"), (1,), (True,), (1.0,), ("1",)] * 2:
            assert function(*args) == (type(args[0]), args[0], (*args, None)[1])
        assert cache.stats.loads == 6
