"""Types that a program has registered come back the same; nothing but them can be made by reading (SPEC 8)."""

from __future__ import annotations

import enum
import subprocess
import sys
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from functools import cached_property
from typing import Any, ClassVar

import pytest
from exactness import read, through, written
from ormsgpack import packb

from codomyrmex.cache import Cache, CacheConfigError, CacheSerializationError
from codomyrmex.cache.serializers import register, registered_type
from codomyrmex_cache_msgpack import MsgpackSerializer

ran: list[str] = []


@register
@dataclass
class Plain:
    x: int
    y: Any = None
    shared: ClassVar[int] = 5


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    a: str
    b: tuple[int, ...] = ()


@register
@dataclass
class Counting:
    x: int
    twice: int = field(init=False)
    hidden: int = field(default=0, repr=False, compare=False)

    def __post_init__(self) -> None:
        ran.append("__post_init__")
        self.twice = 2 * self.x


@register
@dataclass(order=True)
class Child(Plain):
    z: float = 0.0

    @cached_property
    def costly(self) -> int:
        return 1


@dataclass
class SlotsBase:
    __slots__ = ("x",)
    x: int


@register
@dataclass
class SlotsChild(SlotsBase):
    y: int


@register
class Colour(enum.Enum):
    RED = object()
    CRIMSON = RED
    BLUE = 2


@register
class Level(enum.IntEnum):
    LOW = 1


@register
class Permission(enum.Flag):
    R = 4
    W = 2
    X = 1
    ALL = 7


@register
class Mode(enum.IntFlag):
    A = 1
    B = 2


Pair = namedtuple("Pair", "a b")
register(Pair, "Pair", encode=tuple, decode=lambda state: Pair(*state))


class Ordered(OrderedDict[Any, Any]):
    pass


class Queue(deque[Any]):
    pass


class Buffer(bytearray):
    pass


register(Ordered, encode=dict, decode=Ordered)
register(Queue, "queue", encode=lambda value: [value.maxlen, [*value]], decode=lambda state: Queue(state[1], state[0]))
register(Buffer, encode=bytes, decode=Buffer)

VALUES: list[Any] = [
    Plain(1),
    Plain(1, Plain(2, [Plain(3)])),
    Plain(2**70, {1: (Plain(1),)}),
    Frozen(a="a", b=(1, 2)),
    Counting(3),
    Child(1, 2, 3.5),
    SlotsChild(1, 2),
    Colour.RED,
    [Colour.CRIMSON, {Colour.BLUE: Colour.RED}, {Colour.RED, Colour.BLUE}],
    Level.LOW,
    {Level.LOW: 1, 1.5: 2},
    Permission.R | Permission.X,
    Permission(0),
    Permission.ALL,
    Mode.A | Mode.B,
    Mode(0),
    Pair(1, Pair(2, {3})),
    Ordered(b=1, a=Ordered()),
    Queue([1, (2,)], maxlen=5),
    Buffer(b"a"),
    [1, Buffer(b"a"), b"a"],
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_kept(value: Any) -> None:
    """It comes back as an instance of its class, with the same content, anywhere in a value."""
    for one in (value, [value], {"a": (value, 1)}):
        found = through(one)
        assert one == found
        assert written(one) == written(found)
    assert type(value) is type(through(value))


def test_builtin_types() -> None:
    """Builtin types that are refused can be registered like others; those that are kept stay as they are."""
    program = (
        "from codomyrmex.cache.serializers import register\n"
        "from codomyrmex_cache_msgpack import MsgpackSerializer\n"
        "register(bytearray, encode=bytes, decode=bytearray)\n"
        "register(list, encode=str, decode=str)\n"
        "s = MsgpackSerializer()\n"
        "print([s.loads(s.dumps(v, b''), b'') for v in (bytearray(b'a'), [1, {'a': bytearray(b'b')}, b'c'])])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "[bytearray(b'a'), [1, {'a': bytearray(b'b')}, b'c']]\n" == done.stdout, done.stderr[-500:]


def test_fields_as_they_were() -> None:
    """A dataclass gets its fields as they were; neither ``__init__`` nor ``__post_init__`` runs."""
    value = Counting(3)
    value.twice, value.hidden = 7, 5
    data = written(value)
    ran.clear()
    found = read(data)
    assert (3, 7, 5) == (found.x, found.twice, found.hidden)
    assert [] == ran
    with pytest.raises(AttributeError):
        through(Frozen(a="a")).a = "b"


def test_enum_members_are_the_members() -> None:
    """A member comes back as itself."""
    assert through(Colour.RED) is Colour.RED
    assert through(Permission.R | Permission.W) is Permission.R | Permission.W


def extra() -> Any:
    value = Plain(1)
    value.more = "s3cr3t"  # type: ignore[attr-defined]
    return value


def cached() -> Any:
    value = Child(1)
    assert value.costly == 1
    return value


def unset() -> Any:
    value = Plain.__new__(Plain)
    value.y = "s3cr3t"
    return value


class Subclass(Plain):
    pass


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (extra, "attributes that are no fields"),
        (cached, "attributes that are no fields"),
        (unset, "was never set"),
        (lambda: Subclass(1), "not registered"),
        (lambda: Plain(1, object()), "not registered"),
        (lambda: Mode(8), "has no name"),
        (lambda: Plain, "not registered"),
    ],
)
def test_refused(make: Callable[[], Any], said: str) -> None:
    """An instance that would not come back the same is refused."""
    with pytest.raises(CacheSerializationError, match=said) as caught:
        written([make()])
    assert "s3cr3t" not in str(caught.value)


class Carrier:
    """An instance of it is written as any state, under the name of another type."""

    def __init__(self, state: Any) -> None:
        self.state = state


register(Carrier, "C" * 40, encode=lambda value: value.state, decode=Carrier)


def forged(name: str, state: Any) -> bytes:
    data = written(Carrier(state))
    own, other = b"\xd9\x28" + b"C" * 40, packb(name)
    assert own in data
    return data.replace(own, other)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("Plain", {"x": 1}),
        ("Plain", {"x": 1, "y": 2, "z": 3}),
        ("Plain", {"y": 1, "x": 2}),
        ("Plain", [1, 2]),
        ("Plain", None),
        ("Plain", {"x": 1, "__class__": 2}),
        ("Colour", "GREEN"),
        ("Colour", "CRIMSON"),
        ("Colour", "RED|BLUE"),
        ("Colour", "__class__"),
        ("Colour", ""),
        ("Colour", 2),
        ("Colour", ["RED"]),
        ("Level", ""),
        ("Permission", "X|R"),
        ("Permission", "R|"),
        ("Permission", "R|X|W"),
        ("Pair", (1,)),
    ],
)
def test_stored_state_that_does_not_fit(name: str, state: Any) -> None:
    """A state that no instance has now, such as one of an older release of the class, is an error."""
    with pytest.raises(CacheSerializationError):
        read(forged(name if name == "Pair" else f"{__name__}:{name}", state))


def test_forged_states_can_be_right() -> None:
    """The test above forges well: the right state is read."""
    assert Plain(1, 2) == read(forged(f"{__name__}:Plain", {"x": 1, "y": 2}))
    assert Pair(1, 2) == read(forged("Pair", (1, 2)))


class Failing:
    pass


def fail(value: Any) -> Any:
    raise RuntimeError("s3cr3t")


register(Failing, "failing", encode=fail, decode=fail)


class Wrong:
    pass


register(Wrong, "wrong", encode=lambda value: "s3cr3t", decode=lambda state: state)


def test_functions_that_fail() -> None:
    """What encode and decode raise is an error of ours without their text; decode must return the class."""
    for attempt in (lambda: written(Failing()), lambda: read(forged("failing", 1)), lambda: through(Wrong())):
        with pytest.raises(CacheSerializationError, match=r"encode of 'failing'|decode of '(failing|wrong)'") as caught:
            attempt()
        assert "s3cr3t" not in f"{caught.value} {caught.value.__cause__!r}"


def test_unknown_to_the_reader(open_cache: Callable[..., Cache[Any]]) -> None:
    """What a program reads that has not registered the type is a miss with a reason."""
    cache = open_cache()
    cache.set("key", Carrier([1]))
    record = cache._driver.get("app:key")
    codec: Any = cache._store.codec

    class Renaming(MsgpackSerializer):
        def loads(self, data: bytes, context: bytes) -> Any:
            return super().loads(data.replace(b"C" * 40, b"D" * 40), context)

    codec._serializer = Renaming()
    assert record is not None
    assert cache.get_many(["key"]) == {}
    assert f"a value of the type '{'D' * 40}', which is not registered here" in cache.explain("key").reason


class Unlisted(enum.Enum):
    A = 1


@dataclass
class Listed:
    x: int


def test_option(open_cache: Callable[..., Cache[Any]]) -> None:
    """The option ``types`` registers classes, by name or as they are, and leaves what is registered already."""
    for types in ([Listed], [f"{__name__}:Listed", Plain], Listed, (Listed, Pair)):
        name = f"app{len(str(types))}"
        cache = open_cache(name, serializer={"name": "msgpack", "types": types})
        cache.set("key", [Listed(1)])
        assert [Listed(1)] == cache["key"]
    with pytest.raises(CacheSerializationError, match="a Unlisted as it is: its type is not registered"):
        cache.set("key", Unlisted.A)


made = make_dataclass("made", ["x"], bases=(dict,))


@pytest.mark.parametrize(
    ("types", "said"),
    [
        (["nothing.there:Class"], "can't be loaded"),
        (["Class"], "a list of objects"),
        ([5], "register takes a class, got a int"),
        ([object], "is no dataclass, enum or numpy type: register it with encode and decode"),
        ([made], "holds more than its fields"),
    ],
    ids=str,
)
def test_wrong_option(types: Any, said: str, open_cache: Callable[..., Cache[Any]]) -> None:
    """What can't be registered is an error of the config, which names the cache and the option."""
    with pytest.raises(CacheConfigError, match=r"'app\d*' \(msgpack\).*'types'") as caught:
        open_cache(serializer={"name": "msgpack", "types": types})
    assert said in str(caught.value)
    assert registered_type(object) is registered_type(made) is None


def test_unknown_option(open_cache: Callable[..., Cache[Any]]) -> None:
    """An option that there is not is an error."""
    with pytest.raises(CacheConfigError, match="mean 'types'"):
        open_cache(serializer={"name": "msgpack", "type": []})
