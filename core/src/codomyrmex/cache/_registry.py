"""The types that a program has registered for serializers: which class, under which name, written how.

One table per process, because a class belongs to the program and not to one of its caches. Reading it takes no lock:
both dicts only grow, and an entry never changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import CacheConfigError

T = TypeVar("T", bound=type[Any])

_lock = threading.Lock()
_by_class: dict[type[Any], RegisteredType] = {}
_by_name: dict[str, RegisteredType] = {}


@dataclass(frozen=True, slots=True)
class RegisteredType:
    """A type that a program has registered.

    Attributes:
        cls: The class. Its subclasses are other types.
        name: What is stored in place of the class.
        encode: From an instance to a value that the serializer keeps; None leaves it to the serializer.
        decode: From that value back to an instance; None exactly if ``encode`` is.
    """

    cls: type[Any]
    name: str
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None


def register(
    cls: T,
    name: str | None = None,
    *,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> T:
    """Let serializers keep instances of ``cls``, in every cache of this process; also usable as a decorator.

    Serializers that know dataclasses, enums and arrays need nothing but the class. Registering the same thing again
    does nothing. May be called by several threads.

    Args:
        cls: The class. Its subclasses are other types, to be registered themselves.
        name: What is stored in place of the class, and must not change while values are stored: ``"module:qualname"``
            if None.
        encode: From an instance to a value that the serializer keeps, such as a dict. None for the types above.
        decode: From that value back to an instance. Given exactly if ``encode`` is.

    Returns:
        The class.

    Raises:
        CacheConfigError: The class or the name is registered with another definition, or an argument is wrong.
    """
    if not isinstance(cls, type):
        raise CacheConfigError(f"register takes a class, got a {type(cls).__name__}")
    if (encode is None) != (decode is None):
        raise CacheConfigError(f"register {cls.__qualname__}: encode and decode are given together or not at all")
    entry = RegisteredType(cls, f"{cls.__module__}:{cls.__qualname__}" if name is None else name, encode, decode)
    if not isinstance(entry.name, str) or not entry.name:
        raise CacheConfigError(f"register {cls.__qualname__}: the name must be text")
    with _lock:
        for known in (_by_class.get(cls), _by_name.get(entry.name)):
            if known is not None and known != entry:
                raise CacheConfigError(
                    f"{known.cls.__qualname__} is registered as {known.name!r}: "
                    f"{cls.__qualname__} as {entry.name!r} would be another definition of it"
                )
        _by_class[cls] = _by_name[entry.name] = entry
    return cls


def registered_type(of: type[Any] | str) -> RegisteredType | None:
    """What is registered for a class, or under a name; None if nothing is."""
    return _by_name.get(of) if isinstance(of, str) else _by_class.get(of)
