"""Both views, method for method: names, parameters, defaults, types, documentation, and what each call does."""

from __future__ import annotations

import asyncio
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import codomyrmex.cache
from codomyrmex.cache import (
    AsyncCache,
    AsyncNamespacedCache,
    Cache,
    CacheManager,
    CacheStats,
    NamespacedCache,
    get_async_cache,
    get_cache,
    hookspecs,
)
from codomyrmex.cache._locks import AsyncLock, Lock
from codomyrmex.cache.backend import AsyncBackend, Backend
from codomyrmex.cache.testing import ManualClock

TWINS: list[tuple[type, type]] = [
    (Cache, AsyncCache),
    (NamespacedCache, AsyncNamespacedCache),
    (Lock, AsyncLock),
    (Backend, AsyncBackend),
]
FUNCTIONS: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (get_cache, get_async_cache),
    (CacheManager.get_cache, CacheManager.get_async_cache),
    (hookspecs.create_backend, hookspecs.create_async_backend),
]

NO_TWIN = {
    "Cache.__setitem__": "an assignment can't be awaited: set",
    "Cache.__delitem__": "a deletion can't be awaited: delete",
    "Cache.__contains__": "`in` can't be awaited: exists",
    "Backend.read": "a view of the driver's memory can't be held while others run",
    "Backend.direct": "one frame from caller to value; the asynchronous view has a frame of its own in any case",
}
"""What only the synchronous class has, and why. Everything else is on both."""

RENAMED = {"__enter__": "__aenter__", "__exit__": "__aexit__"}

NOT_AWAITED = {
    "__init__": "only puts parts together",
    "__repr__": "only tells names",
    "name": "a property",
    "stats": "a property: counters, and what the driver knows already",
    "ttl_manager": "a property",
    "capabilities": "a property",
    "lock": "makes a lock; taking it is awaited",
    "namespace": "makes a view",
    "memoize": "makes a function; calling that is awaited",
    "usage": "never waits",
    "leader_alive": "never waits",
}
"""What is not awaited on the asynchronous class either, and why. Everything else is a coroutine function."""

COROUTINES = "Callable[P, Coroutine[Any, Any, R]]"
"""What only coroutine functions are: `Cache.memoize` has an overload more, since it takes plain ones as well."""

twins = pytest.mark.parametrize(("cls", "other"), TWINS, ids=lambda cls: str(cls.__name__))


def members(cls: type) -> dict[str, Any]:
    """What the class and its bases, but not object and the like, define for callers."""
    bases = [base for base in reversed(cls.__mro__) if base.__module__.startswith("codomyrmex.")]
    found = {name: value for base in bases for name, value in vars(base).items()}
    return {
        name: value
        for name, value in found.items()
        if (inspect.isfunction(value) or isinstance(value, property))
        and (not name.startswith("_") or (name.startswith("__") and name.endswith("__")))
    }


def function(member: Any) -> Any:
    """The function of a property, and any other member as it is."""
    return member.fget if isinstance(member, property) else member


def as_sync(text: str) -> str:
    """A text about the asynchronous class, with the names of the synchronous one."""
    text = re.sub(r" \| Awaitable\[(V|Mapping\[str, V\])\]", "", text)  # what a factory gives back may be awaited there
    return re.sub(r"\b(Any)?Async(?=[A-Z])", r"\1", text).replace("get_async_cache", "get_cache")


def shape(member: Any) -> list[Any]:
    """Parameters with their kinds, defaults and types, and what is returned."""
    signature = inspect.signature(function(member))
    parameters: list[Any] = [
        (one.name, one.kind.description, one.default, as_sync(str(one.annotation)))
        for one in signature.parameters.values()
        if one.name not in ("store", "driver", "perform")  # of constructors that nobody calls
    ]
    return [*parameters, as_sync(str(signature.return_annotation))]


@twins
def test_names(cls: type, other: type) -> None:
    """Every public member of one is a member of the other, but for a table of exceptions with reasons."""
    prefix = f"{cls.__name__}." if cls is not NamespacedCache else "Cache."
    mine = {RENAMED.get(name, name) for name in members(cls) if f"{prefix}{name}" not in NO_TWIN}
    assert mine == set(members(other))


def test_the_exceptions_exist() -> None:
    """The tables of exceptions hold nothing that is gone, and nothing that has a twin by now."""
    for name in NO_TWIN:
        cls, _, member = name.partition(".")
        (pair,) = [pair for pair in TWINS if pair[0].__name__ == cls]
        assert member in members(pair[0])
        assert member not in members(pair[1])
    assert set(NOT_AWAITED) <= {name for cls, _ in TWINS for name in members(cls)}


def pairs() -> Iterator[tuple[str, Any, Any]]:
    """Every member of a synchronous class beside its twin."""
    for cls, other in TWINS:
        theirs = members(other)
        for name, member in members(cls).items():
            if (twin := theirs.get(RENAMED.get(name, name))) is not None:
                yield f"{cls.__name__}.{name}", member, twin
    for one, two in FUNCTIONS:
        yield one.__qualname__, one, two


PAIRS = {name: (member, twin) for name, member, twin in pairs()}
each = pytest.mark.parametrize("name", PAIRS)


@each
def test_signature(name: str) -> None:
    """Parameters have the same names, order, kinds, defaults and types; results the same type."""
    member, twin = PAIRS[name]
    assert type(member) is type(twin)
    assert shape(member) == shape(twin)


@each
def test_overloads(name: str) -> None:
    """What type checkers are shown is the same on both."""
    one, two = (typing.get_overloads(function(member)) for member in PAIRS[name])
    mine = [shape(overload) for overload in one]
    if name.endswith("Cache.memoize"):
        mine = [overload for overload in mine if "Callable[P, R]" not in str(overload)]
        assert COROUTINES in str(mine[1])
    assert mine == [shape(overload) for overload in two]
    coroutine = inspect.iscoroutinefunction(function(PAIRS[name][1]))
    assert [coroutine] * len(two) == [inspect.iscoroutinefunction(overload) for overload in two]


def test_overloads_are_seen() -> None:
    """The test above compares something: `get` and `pop` have two overloads each."""
    assert [2, 2] == [len(typing.get_overloads(getattr(Cache, name))) for name in ("get", "pop")]


@each
def test_awaited(name: str) -> None:
    """Whatever may reach a store is a coroutine function on one class and none on the other."""
    member, twin = (function(member) for member in PAIRS[name])
    assert not inspect.iscoroutinefunction(member)
    made = name.rpartition(".")[2] in NOT_AWAITED or member in (one for one, _ in FUNCTIONS)
    assert inspect.iscoroutinefunction(twin) is not made


@each
def test_documentation(name: str) -> None:
    """Each says the same, or points to the one that says it: no meaning is written down twice, none not at all."""
    member, twin = PAIRS[name]
    owner, _, last = name.rpartition(".")
    if last.startswith("_") or member is hookspecs.create_backend:  # whose twin says what happens without it
        return
    text, other = inspect.getdoc(member), inspect.getdoc(twin)
    assert text
    assert other
    see = rf"\b[Ss]ee `({owner.removeprefix('Namespaced')}\.)?{last}`"
    assert text == as_sync(other) or re.search(see, other)


def test_classes_are_documented() -> None:
    """Each asynchronous class names the one whose twin it is."""
    for cls, other in TWINS:
        assert f"`{cls.__name__}`" in str(inspect.getdoc(other))


def test_every_pair_is_compared() -> None:
    """No public class or function whose name begins with Async is left out."""
    modules = [codomyrmex.cache, codomyrmex.cache.backend, codomyrmex.cache.serializers, codomyrmex.cache.eviction]
    found = {name for module in modules for name in module.__all__ if name.startswith(("Async", "get_async"))}
    compared = {twin.__name__ for _, twin in TWINS} | {twin.__name__ for _, twin in FUNCTIONS}
    assert found <= compared


@pytest.mark.parametrize("backend", ["in_memory", "null"])
@pytest.mark.parametrize("name", ["get", "set"])
def test_bound_paths(name: str, backend: str) -> None:
    """A driver's own read and write path takes the same arguments as the method it stands for, in both views."""
    with CacheManager(environ={}) as manager:
        views = manager.get_cache("app", backend=backend), manager.get_async_cache("app")
        for view, cls in zip(views, (Cache, AsyncCache), strict=True):
            wanted = list(inspect.signature(getattr(cls, name)).parameters.values())[1:]
            given = list(inspect.signature(getattr(view, name)).parameters.values())
            assert [(one.name, one.kind, one.default) for one in wanted] == [
                (one.name, one.kind, one.default) for one in given
            ]
        assert inspect.iscoroutinefunction(getattr(views[1], name))


Call = tuple[str, tuple[Any, ...], dict[str, Any]]


def call(name: str, *args: Any, **kwargs: Any) -> Call:
    return name, args, kwargs


SCRIPT: list[Call] = [
    call("set", "a", 1),
    call("set", "b", "text", "1m", tags=["t"], stale_for=60),
    call("set_many", {"c": [1], "d": None}, 30, tags=["t", "u"], stale_for="1m"),
    call("get", "a"),
    call("get", "d", "default"),
    call("get", "z"),
    call("get", "z", "default"),
    call("get_many", ["a", "c", "z"]),
    call("add", "a", 5),
    call("add", "e", 5, ttl=9, tags=("u",), stale_for=1),
    call("incr", "a"),
    call("incr", "a", 5),
    call("incr", "n", 2, initial=40, ttl=5),
    call("incr", "b"),
    call("decr", "n", 3),
    call("decr", "m", initial=10, ttl="1h"),
    call("ttl", "a"),
    call("ttl", "b"),
    call("ttl", "m"),
    call("ttl", "z"),
    call("touch", "a", 15),
    call("touch", "a"),
    call("touch", "z", 1),
    call("exists", "a"),
    call("exists", "z"),
    call("compact"),
    call("inspect"),
    call("keys"),
    call("keys", "a"),
    call("explain", "b"),
    call("expire", "b"),
    call("expire", "z"),
    call("get", "b"),
    call("__getitem__", "a"),
    call("__getitem__", "b"),
    call("__getitem__", "z"),
    call("explain", "b"),
    call("pop", "c"),
    call("pop", "c", "default"),
    call("delete", "a"),
    call("delete", "a"),
    call("delete_many", ["d", "z"]),
    call("set_many", {"x1": 1, "x2": 2, "y1": 3}),
    call("delete_pattern", "x*"),
    call("set", "tagged", 1, tags=["v"]),
    call("invalidate_tags", "v", "w"),
    call("exists", "tagged"),
    call("get_or_set", "loaded", lambda: 5),
    call("get_or_set", "loaded", lambda: 6, 60, tags=["t"]),
    call("get_or_set", "l2", lambda context: context.skip(7), ttl_for=len),
    call("get_or_set", "l3", lambda: 1 / 0),
    call("get_or_set", "l3", 5),
    call("get_or_set", "l3", lambda: 1, ttl=0),
    call("get_or_set", "l3", lambda: 1, refresh_ahead=2),
    call("get_or_set_many", ["loaded", "l4", "l5"], lambda keys: dict.fromkeys(keys[:1], 8), 60, tags=["t"]),
    call("get_or_set_many", ["l5", "l6"], lambda keys: {"l5": ValueError("no"), "l6": 9}, return_exceptions=False),
    call("get_or_set_many", "text", lambda keys: {}),
    call("keys"),
    call("get", ""),
    call("get", 5),
    call("set", "a", 1, ttl=0),
    call("set", "a", 1, tags="text"),
    call("invalidate_tags", ""),
    call("delete_many", "text"),
    call("lock", "", 5),
    call("namespace", ""),
    call("clear"),
    call("keys"),
    call("close"),
    call("get", "a"),
    call("close"),
]


async def outcome(cache: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a call returns or raises."""
    try:
        result = getattr(cache, name)(*args, **kwargs)
        result = await result if inspect.isawaitable(result) else result
    except Exception as error:
        return type(error), str(error)
    return sorted(result) if name == "keys" else result


def counted(cache: Any) -> CacheStats:
    """Statistics without what is never the same."""
    return replace(cache.stats, load_seconds=0.0)


@pytest.mark.parametrize("prefix", ["", "space"])
@pytest.mark.parametrize("settings", [{}, {"sliding": True, "ttl": 60, "max_ttl": 100}, {"backend": "null"}])
def test_the_same_calls(settings: dict[str, Any], prefix: str) -> None:
    """The same calls have the same results, the same errors with the same words, leave and count the same."""

    async def main() -> None:
        with CacheManager(clock=ManualClock(), environ={}) as one, CacheManager(clock=ManualClock(), environ={}) as two:
            cache: Any = one.get_cache("app", **settings)
            other: Any = two.get_async_cache("app", **settings)
            if prefix:
                cache, other = cache.namespace(prefix), other.namespace(prefix)
            for step in SCRIPT:
                assert await outcome(cache, *step) == await outcome(other, *step), step
                assert counted(cache) == counted(other), step
                for key in "abcdenm":
                    assert await outcome(cache, *call("explain", key)) == await outcome(other, *call("explain", key)), (
                        step
                    )

    asyncio.run(main())


def test_the_script_is_complete() -> None:
    """The script calls every public method but `ping`, whose time is never the same, and `memoize`, a decorator."""
    methods = {name for name, member in members(AsyncCache).items() if inspect.isfunction(member)}
    assert {name for name in methods if not name.startswith("_")} - {"memoize", "ping"} <= {
        name for name, _, _ in SCRIPT
    }
