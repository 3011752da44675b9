"""Instances of registered classes: how each kind of class is written and read back.

Reading runs nothing but what the user registered. A dataclass is made without its ``__init__`` and ``__post_init__``
and gets its fields one by one, exactly as they were: what these would compute is already in the fields.
"""

from __future__ import annotations

import enum
import functools
import sys
from abc import ABC, abstractmethod
from dataclasses import fields, is_dataclass
from typing import Any

from codomyrmex.cache import CacheSerializationError
from codomyrmex.cache.serializers import RegisteredType, registered_type

from ._marks import type_of

_LONGEST_NAME = 100


class Writer(ABC):
    """Writes and reads the instances of one class.

    Args:
        name: What is stored in place of the class.
        cls: The class.
    """

    def __init__(self, name: str, cls: type[Any]) -> None:
        self.name = name
        self.cls = cls

    @abstractmethod
    def write(self, value: Any) -> Any:
        """What to write in place of an instance, to be lowered further."""

    @abstractmethod
    def read(self, state: Any) -> Any:
        """The instance, from what `write` gave. Raises any error if ``state`` is of none."""


class _ByFunctions(Writer):
    """By the functions that the user gave."""

    def __init__(self, entry: RegisteredType) -> None:
        super().__init__(entry.name, entry.cls)
        self._entry = entry

    def write(self, value: Any) -> Any:
        assert self._entry.encode is not None
        try:
            return self._entry.encode(value)
        except Exception as error:
            # Its text may hold the value.
            raise CacheSerializationError(f"encode of {self.name!r} failed: {type(error).__name__}") from None

    def read(self, state: Any) -> Any:
        assert self._entry.decode is not None
        try:
            value = self._entry.decode(state)
        except Exception as error:
            raise CacheSerializationError(f"decode of {self.name!r} failed: {type(error).__name__}") from None
        if type(value) is not self.cls:
            raise CacheSerializationError(f"decode of {self.name!r} returned a {type(value).__name__}")
        return value


class _Enum(Writer):
    """By the names of its members; of flags several, with a bar between."""

    def write(self, value: Any) -> str:
        name: str = value.name or ""
        try:
            if self.read(name) is value:
                return name
        except (KeyError, TypeError, ValueError):
            pass
        raise CacheSerializationError(f"msgpack can't keep a {self.name!r} that has no name")

    def read(self, state: Any) -> Any:
        members = self.cls.__members__
        if state in members:
            value = members[state]
        else:
            parts = [members[name] for name in state.split("|")] if state else []
            value = functools.reduce(lambda one, other: one | other, parts, self.cls(0))
        if type(value) is not self.cls or (value.name or "") != state:
            raise ValueError
        return value


class _Dataclass(Writer):
    """By the names and values of its fields."""

    def __init__(self, name: str, cls: type[Any]) -> None:
        super().__init__(name, cls)
        self._fields = [field.name for field in fields(cls)]
        self._names = frozenset(self._fields)

    def write(self, value: Any) -> dict[str, Any]:
        if not self._names.issuperset(getattr(value, "__dict__", ())):
            raise CacheSerializationError(f"this {self.name!r} has attributes that are no fields")
        try:
            return {name: getattr(value, name) for name in self._fields}
        except AttributeError:
            raise CacheSerializationError(f"a field of this {self.name!r} was never set") from None

    def read(self, state: Any) -> Any:
        if type_of(state) is not dict or [*state] != self._fields:
            raise CacheSerializationError(f"it holds a {self.name!r} with other fields than it has now")
        value = object.__new__(self.cls)
        for name in self._fields:
            object.__setattr__(value, name, state[name])  # a frozen class has a `__setattr__` that refuses
        return value


def writer_of(cls: type[Any]) -> Writer:
    """The writer of a class.

    Raises:
        CacheSerializationError: The class is not registered, or can't be kept without ``encode`` and ``decode``.
    """
    writer = _writers.get(cls)
    if writer is None:
        entry = registered_type(cls) or _family(cls)
        if entry is None:
            raise CacheSerializationError(f"msgpack can't keep a {cls.__name__} as it is: its type is not registered")
        writer = _writers[cls] = _make(entry, cls)
    return writer


def check(cls: type[Any]) -> None:
    """Raise `CacheSerializationError` if a class can't be kept without ``encode`` and ``decode``."""
    if isinstance(cls, type):
        _make(RegisteredType(cls, f"{cls.__module__}:{cls.__qualname__}"), cls)


def read(name: str, state: Any) -> Any:
    """The instance of the type registered as ``name``."""
    entry = registered_type(name)
    if entry is None:
        shown = repr(name[:_LONGEST_NAME])
        raise CacheSerializationError(f"it holds a value of the type {shown}, which is not registered here")
    return writer_of(entry.cls).read(state)


_writers: dict[type[Any], Writer] = {}


def _family(cls: type[Any]) -> RegisteredType | None:
    """What ``numpy.generic`` is registered as, if ``cls`` is one of numpy's scalars."""
    numpy = sys.modules.get("numpy") if cls.__module__ == "numpy" else None
    return registered_type(numpy.generic) if numpy is not None and issubclass(cls, numpy.generic) else None


def _make(entry: RegisteredType, cls: type[Any]) -> Writer:
    if entry.encode is not None:
        return _ByFunctions(entry)
    if issubclass(cls, enum.Enum):
        return _Enum(entry.name, cls)
    if is_dataclass(cls):
        return _dataclass(entry.name, cls)
    if cls.__module__ == "numpy":
        from . import _arrays  # numpy itself is there already: the class is its own

        return _arrays.writer(entry.name, cls)
    raise CacheSerializationError(
        f"{entry.name!r} is no dataclass, enum or numpy type: register it with encode and decode"
    )


def _dataclass(name: str, cls: type[Any]) -> Writer:
    try:
        object.__new__(cls)
    except TypeError:
        raise CacheSerializationError(
            f"the dataclass {name!r} holds more than its fields: register it with encode and decode"
        ) from None
    return _Dataclass(name, cls)
