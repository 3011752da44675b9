"""How an argument is written into a key: one text per value, another one for every value that differs.

A text is typed (``1``, ``1.0``, ``True`` and ``'1'`` are four), is the same in every process and Python version, and
what stands in brackets or quotes can't be mistaken for what stands beside it. What can't be written so is refused: a
repr that holds an address, that is cut short or masked, or that an object has only inherited, would give two values
one key, and a caller the other one's result.
"""

from __future__ import annotations

import hashlib
import re
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum, Flag
from functools import cached_property, lru_cache
from typing import Any, cast

_DEEPEST = 100
_MOST = 1_000_000
"""Values in one argument. Lists that hold a list twice, which holds another twice, grow beyond any bound."""
_DECIMAL_BITS = 1000
"""Longer ints are written in hexadecimal, which costs no more than their length, and which Python doesn't limit."""
_SIMPLE = re.compile(r"[A-Za-z_0-9.]+")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_INCOMPLETE = ("...", "…", "***")
_ARRAYS = ("__array__", "__array_interface__", "__arrow_c_stream__", "__dataframe__", "__dlpack__")
_REMEDIES = "give memoize a `key` function or `ignore` it, or give the class a `__cache_key__` method"


class Unkeyable(Exception):
    """An argument can't be part of a key; its message continues the sentence "argument 'x' …"."""


def write(value: object) -> str:
    """The text of ``value``; raises `Unkeyable`."""
    plain = _PLAIN.get(type(value))
    if plain is not None:
        return plain(value)
    try:
        return _Writer().write(value)
    except RecursionError:
        raise Unkeyable("is nested too deep") from None


def class_of(value: Any) -> Any:
    """The class of ``value``, about which a type checker knows nothing."""
    return cast(Any, type(value))


def qualified(value: Any, *, checked: bool = True) -> str:
    """The name of a class or function and of its module.

    Args:
        value: The class or function.
        checked: Refuse what others may share the name of.

    Raises:
        Unkeyable: The name doesn't say which one it is.
    """
    name, module = value.__qualname__, value.__module__
    if checked and "<lambda>" in name:
        raise Unkeyable(f"is or holds a lambda, which has no name: {_REMEDIES}")
    if checked and "<locals>" in name:
        kind = "class" if isinstance(value, type) else "function"
        raise Unkeyable(f"is or holds the {kind} {name} or one of it, and others may have that name: {_REMEDIES}")
    where = module_name(module)
    whole = name if where == "builtins" else f"{where}.{name}"
    return whole if _SIMPLE.fullmatch(whole) else ascii(whole)


def module_name(module: str | None) -> str:
    """``module``, but a program's own main module by what tells it from the one of other programs."""
    if module not in ("__main__", "__mp_main__"):
        return module or "builtins"
    return _main_name()


@lru_cache(maxsize=1)
def _main_name() -> str:
    main: Any = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # started with `python -m`
        return str(spec.name)
    path = getattr(main, "__file__", None)
    if path is None:
        return "__main__"
    import os
    from urllib.parse import quote

    return quote(os.path.abspath(path), safe="/:.-_ ")


def _int(value: int) -> str:
    return repr(value) if value.bit_length() <= _DECIMAL_BITS else hex(value)


_PLAIN: dict[type, Callable[[Any], str]] = {
    type(None): repr,
    type(...): lambda _: "Ellipsis",
    type(NotImplemented): repr,
    bool: repr,
    int: _int,
    float: repr,
    str: ascii,  # not repr: which characters that shows as they are changes with Python's version
    bytes: repr,
    bytearray: repr,
    complex: lambda value: f"complex({value.real!r}, {value.imag!r})",
    date: lambda value: f"date({value.isoformat()})",
    timedelta: lambda value: f"timedelta({value.days}, {value.seconds}, {value.microseconds})",
    range: repr,
}
"""Types that hold no other values."""


class _Writer:
    """Writes one argument."""

    def __init__(self) -> None:
        self._path: list[int] = []
        self._left = _MOST

    def write(self, value: Any) -> str:
        """The text of ``value``."""
        cls = class_of(value)
        plain = _PLAIN.get(cls)
        if plain is not None:
            return plain(value)
        identity = id(value)
        if identity in self._path:
            raise Unkeyable("contains itself")
        if len(self._path) >= _DEEPEST:
            raise Unkeyable("is nested too deep")
        self._path.append(identity)
        try:
            whole = _WHOLE.get(cls)
            return self._object(value, cls) if whole is None else whole(self, value)
        finally:
            self._path.pop()

    def items(self, values: Iterable[Any]) -> str:
        """The texts of ``values`` with commas between."""
        return ", ".join(self._each(values))

    def unordered(self, values: Iterable[Any]) -> str:
        """The same in an order that depends on nothing but the texts."""
        return ", ".join(sorted(self._each(values)))

    def pairs(self, value: Any) -> str:
        """The texts of a mapping's items, in the same kind of order."""
        return ", ".join(sorted(self._pairs(value)))

    def ordered_pairs(self, value: Any) -> str:
        """The texts of a mapping's items, as they stand."""
        return ", ".join(self._pairs(value))

    def _pairs(self, value: Any) -> list[str]:
        items = list(value.items())
        self._spend(len(items))
        return [f"{self.write(key)}: {self.write(one)}" for key, one in items]

    def _each(self, values: Iterable[Any]) -> list[str]:
        values = list(values)
        self._spend(len(values))
        return [self.write(one) for one in values]

    def _spend(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise Unkeyable(f"holds more than {_MOST:,} values: {_REMEDIES}")

    def _object(self, value: Any, cls: type[Any]) -> str:
        if isinstance(value, type):
            return qualified(value)
        own = getattr(cls, "__cache_key__", None)
        if own is not None:
            return f"{qualified(cls, checked=False)}({self.write(own(value))})"
        if isinstance(value, Enum):
            return self._enum(value, cls)
        if isinstance(value, types.FunctionType):
            return qualified(value)
        if isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, types.ModuleType):
            return qualified(value)
        if isinstance(value, types.MethodType):
            return f"method({self.write(value.__self__)}, {self.write(value.__func__)})"
        named = _NAMED.get((cls.__module__, cls.__qualname__))
        if named is not None:
            return named(self, value)
        name = qualified(cls)
        if cls.__module__ == "numpy" and (data := _buffer(value)) is not None:
            return f"{name}({data})"
        fields = _fields(value, cls)
        if fields is not None:
            self._spend(len(fields))
            return f"{name}({', '.join(f'{key}={self.write(one)}' for key, one in fields.items())})"
        return self._derived(value, cls, name) or _own_repr(value, cls, name)

    def _enum(self, value: Enum, cls: type[Any]) -> str:
        if isinstance(value, Flag) and value.name not in cls.__members__:
            return f"{qualified(cls)}({self.write(value.value)})"
        return f"{qualified(cls)}.{value.name}"

    def _derived(self, value: Any, cls: Any, name: str) -> str | None:
        """What a subclass of a known type adds nothing to, such as a named tuple, by that type."""
        known: list[Any] = [one for one in cls.__mro__ if one in _PLAIN or one in _WHOLE]
        base = known[0] if known else None
        if base is None:
            return None
        tuple_fields = getattr(cls, "_fields", None) if base in (tuple,) else None
        if cls.__repr__ is not vars(base)["__repr__"] and tuple_fields is None:
            return None
        if getattr(value, "__dict__", None) or _slots(cls, base):
            raise Unkeyable(f"is or holds a {name}, which has more to it than a {base.__name__}: {_REMEDIES}")
        plain = _PLAIN.get(base)
        return f"{name}({plain(value) if plain is not None else _WHOLE[base](self, value)})"


def _zone(writer: _Writer, value: Any) -> str:
    if value.tzinfo is None:
        return ""
    return f" {writer.write(value.tzinfo)}"


def _moment(writer: _Writer, value: datetime | time) -> str:
    fold = " fold" if value.fold else ""
    return f"{type(value).__name__}({value.replace(tzinfo=None).isoformat()}{fold}{_zone(writer, value)})"


def _fixed_zone(writer: _Writer, value: timezone) -> str:
    offset, *name = value.__getinitargs__()  # type: ignore[attr-defined]
    return f"timezone({writer.items([offset, *name])})"


def _zone_info(writer: _Writer, value: Any) -> str:
    if value.key is None:
        raise Unkeyable(f"holds a time zone without a name: {_REMEDIES}")
    return f"ZoneInfo({value.key!a})"


def _tuple(writer: _Writer, value: tuple[Any, ...]) -> str:
    return f"({writer.items(value)}{',' if len(value) == 1 else ''})"


_WHOLE: dict[type, Callable[[_Writer, Any], str]] = {
    tuple: _tuple,
    list: lambda writer, value: f"[{writer.items(value)}]",
    dict: lambda writer, value: f"{{{writer.pairs(value)}}}",
    set: lambda writer, value: f"set({writer.unordered(value)})",
    frozenset: lambda writer, value: f"frozenset({writer.unordered(value)})",
    OrderedDict: lambda writer, value: f"OrderedDict({writer.ordered_pairs(value)})",
    Counter: lambda writer, value: f"Counter({writer.pairs(value)})",
    defaultdict: lambda writer, value: f"defaultdict({writer.write(value.default_factory)}, {writer.pairs(value)})",
    deque: lambda writer, value: f"deque({writer.write(value.maxlen)}, {writer.items(value)})",
    types.MappingProxyType: lambda writer, value: f"mappingproxy({writer.pairs(value)})",
    types.SimpleNamespace: lambda writer, value: f"namespace({writer.pairs(vars(value))})",
    slice: lambda writer, value: f"slice({writer.items((value.start, value.stop, value.step))})",
    datetime: _moment,
    time: _moment,
    timezone: _fixed_zone,
    re.Pattern: lambda writer, value: f"pattern({writer.items((value.pattern, value.flags))})",
}
"""Types that may hold other values."""


def _by_text(writer: _Writer, value: Any) -> str:
    return f"{type(value).__name__}({str(value)!a})"


_NAMED: dict[tuple[str, str], Callable[[_Writer, Any], str]] = {
    ("decimal", "Decimal"): _by_text,
    ("fractions", "Fraction"): _by_text,
    ("uuid", "UUID"): _by_text,
    ("zoneinfo", "ZoneInfo"): _zone_info,
    ("array", "array"): lambda _, value: f"array({_buffer(value)})",
    ("functools", "partial"): lambda writer, value: (
        f"partial({writer.write(value.func)}, {writer.write(value.args)}, {writer.write(value.keywords)})"
    ),
    **{
        (module, name): _by_text
        for module in ("pathlib", "pathlib._local")  # of Python 3.13
        for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    },
    **{
        ("ipaddress", f"IPv{number}{what}"): _by_text
        for number in (4, 6)
        for what in ("Address", "Network", "Interface")
    },
}
"""Types of modules that take time to import, by the names of module and class."""


def _buffer(value: Any) -> str | None:
    """Form and digest of what an array of numbers holds; None if that isn't all in its memory."""
    try:
        view = memoryview(value)
        if set(view.format) & set("OPX"):  # addresses
            return None
        data = view.tobytes()
    except (TypeError, ValueError, NotImplementedError, BufferError):
        return None
    return f"{view.format!a}, {view.shape}, {hashlib.blake2b(data, digest_size=20).hexdigest()}"


def _fields(value: Any, cls: type[Any]) -> dict[str, Any] | None:
    """The values of a class that declares what it holds: a dataclass, or one of attrs, pydantic or msgspec."""
    if any(one in _PLAIN or one in _WHOLE for one in cls.__mro__):
        return None
    if hasattr(cls, "__dataclass_fields__"):
        from dataclasses import fields

        names = [field.name for field in fields(value)]
    elif hasattr(cls, "__attrs_attrs__"):
        names = [field.name for field in cls.__attrs_attrs__]
    elif hasattr(cls, "__pydantic_fields__"):
        names = ["__pydantic_extra__", "__pydantic_private__"]
    elif hasattr(cls, "__struct_fields__"):
        names = list(cls.__struct_fields__)
    else:
        return None
    found = {name: getattr(value, name) for name in names if hasattr(value, name)}
    # Whatever else an instance has got, as from __post_init__, makes a difference too; what it has computed doesn't.
    for name, one in sorted(getattr(value, "__dict__", {}).items()):
        if name not in found and not isinstance(getattr(cls, name, None), cached_property):
            found[name] = one
    return found


def _slots(cls: type, base: type) -> bool:
    """Whether a class without a dict keeps something that its known base doesn't."""
    return any(vars(one).get("__slots__") for one in cls.__mro__[: cls.__mro__.index(base)])


def _own_repr(value: Any, cls: type[Any], name: str) -> str:
    """By a repr that its class defines for itself, if that can tell two values apart."""

    def refuse(reason: str) -> Unkeyable:
        return Unkeyable(f"is or holds a {name}, {reason}: {_REMEDIES}")

    if "__repr__" not in vars(cls):
        raise refuse("which has no repr of its own")
    if any(hasattr(cls, one) for one in _ARRAYS):
        raise refuse("whose repr may leave out some of what it holds")
    try:
        text = repr(value)
    except Exception as error:
        raise refuse(f"whose repr fails with a {type(error).__name__}") from error
    if _ADDRESS.search(text) or hex(id(value))[2:] in text.lower() or str(id(value)) in text:
        raise refuse("whose repr holds a memory address")
    if text.startswith("<"):
        raise refuse("whose repr only describes it")
    if any(one in text for one in _INCOMPLETE):
        raise refuse("whose repr leaves out some of what it holds")
    return f"{name}({text!a})"
