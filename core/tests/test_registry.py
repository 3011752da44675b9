"""Types that a program registers for its serializers: one table per process, no name and no class in it twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from codomyrmex.cache import CacheConfigError
from codomyrmex.cache.options import option, parse
from codomyrmex.cache.serializers import RegisteredType, register, registered_type


def fresh() -> type[Any]:
    """A class that nobody has registered."""
    fresh.number += 1  # type: ignore[attr-defined]
    return type(f"Fresh{fresh.number}", (), {"__module__": "m", "__qualname__": f"F.G{fresh.number}"})  # type: ignore[attr-defined]


fresh.number = 0  # type: ignore[attr-defined]


def test_name_and_class() -> None:
    """What is registered is found by its class and by its name, which is module and qualified name by default."""
    cls, other = fresh(), fresh()
    assert register(cls) is cls
    assert registered_type(cls) == RegisteredType(cls, f"m:{cls.__qualname__}")
    assert registered_type(cls) is registered_type(f"m:{cls.__qualname__}")
    register(other, "other", encode=vars, decode=other)
    assert registered_type("other") == RegisteredType(other, "other", vars, other)
    assert registered_type(fresh()) is registered_type("m:other") is None
    assert registered_type(type("Sub", (cls,), {})) is None


def test_the_same_twice() -> None:
    """Registering the same definition again does nothing, as when a module is used by two programs."""
    cls = fresh()
    register(cls, "twice", encode=vars, decode=cls)
    register(cls, "twice", encode=vars, decode=cls)


def test_another_definition() -> None:
    """A class has one name and one pair of functions, a name has one class."""
    cls, other = fresh(), fresh()
    register(cls, "one definition")
    for attempt in (
        lambda: register(cls),
        lambda: register(cls, "another name"),
        lambda: register(cls, "one definition", encode=vars, decode=cls),
        lambda: register(other, "one definition"),
    ):
        with pytest.raises(CacheConfigError, match="is registered as 'one definition'"):
            attempt()
    assert registered_type(other) is registered_type("another name") is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((5,), "takes a class, got a int"),
        ((lambda: 1,), "takes a class, got a function"),
        ((fresh(), ""), "must be text"),
        ((fresh(), 5), "must be text"),
    ],
)
def test_wrong_arguments(arguments: Any, said: str) -> None:
    """Anything but a class with a text as its name is an error."""
    with pytest.raises(CacheConfigError, match=said):
        register(*arguments)


def test_encode_without_decode() -> None:
    """Who says how to write says how to read."""
    cls = fresh()
    for functions in ({"encode": vars}, {"decode": cls}):
        with pytest.raises(CacheConfigError, match="given together or not at all"):
            register(cls, **functions)
    assert registered_type(cls) is None


def test_threads() -> None:
    """Of many threads that register classes of their own under one name, one succeeds."""
    barrier, done = threading.Barrier(8), []

    def attempt(cls: type[Any]) -> None:
        barrier.wait()
        try:
            register(cls, "contested")
        except CacheConfigError:
            return
        done.append(cls)

    threads = [threading.Thread(target=attempt, args=(fresh(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = registered_type("contested")
    assert found is not None
    assert [found.cls] == done


def test_kind_objects() -> None:
    """Options of the kind ``objects`` are a tuple of objects, given as they are or as text, one or many."""
    import dataclasses
    import math

    schema = dataclasses.make_dataclass("Options", [("types", tuple, option((), kind="objects", help="Some."))])
    assert () == parse(schema, {}, where="here").types
    for given in (["math:pi", int], ("math:pi", int)):
        assert (math.pi, int) == parse(schema, {"types": given}, where="here").types
    assert (math.pi,) == parse(schema, {"types": "math:pi"}, where="here").types
    assert (int,) == parse(schema, {"types": int}, where="here").types
    with pytest.raises(CacheConfigError, match="here, option 'types': got a list; expected a list of objects"):
        parse(schema, {"types": ["math.pi"]}, where="here")
    with pytest.raises(CacheConfigError, match="'math:pie' can't be loaded"):
        parse(schema, {"types": ["math:pie"]}, where="here")
