"""Keys of memoized functions: from a call's arguments to ``module.function(name=value, …)``.

The arguments are bound to the function's parameters, so that one call has one key however it is written. Each
parameter stands with its name: a parameter that is renamed or moved asks for new results. How values are written is in
`_memo_values.py`.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ._memo_values import Unkeyable, class_of, module_name, qualified, write
from .errors import CacheConfigError, CacheKeyError

SIMPLE = frozenset((int, str, type(None)))
"""Types of which equal values are of one type and have one text."""
_ATOMIC = SIMPLE | {bool}
"""Types of which equal values of one type have one text. Not float, where 0.0 equals -0.0, nor bytes, of which a
comparison with a str is an error under ``python -bb``."""

_REMEMBERED = 512
"""Calls of one function whose keys are remembered."""
_REMEMBERED_EACH = 64
"""Calls of the methods of one instance."""
_LONGEST = 200
"""Characters of arguments that a key shows; beyond that it has their digest."""
_LONGEST_NAME = 200
_SELF = "self"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_ANY = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)


class _Long(Exception):
    """A key of long arguments, which is not worth remembering."""

    def __init__(self, text: str) -> None:
        self.text = text


class MemoKeys:
    """Makes the keys of one function.

    Args:
        function: The function.
        name: What its keys begin with; None for its module and qualified name.
        version: A text or number; another one makes other keys.
        key: Takes the function's arguments and returns what stands for them.
        ignore: Parameters that make no difference.

    Attributes:
        name: What its keys begin with.
        known: Keys by arguments: of calls that were made, and whose arguments are all of `SIMPLE` types and have no
            names.

    Raises:
        CacheConfigError: One of them is unusable, or the function needs a name.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        version: str | int | None = None,
        key: Callable[..., Any] | None = None,
        ignore: Iterable[str] = (),
    ) -> None:
        if key is not None and not callable(key):
            raise CacheConfigError(f"memoize: key takes a function of the arguments, got a {type(key).__name__}")
        if isinstance(version, bool) or not isinstance(version, (str, int, type(None))):
            raise CacheConfigError(f"memoize: version takes a text or a number, got a {type(version).__name__}")
        self.name = _function_name(function) if name is None else _checked_name(name)
        self._head = self.name if version is None else f"{self.name}#{write(version)}"
        self._key = key
        try:
            self._signature = inspect.signature(function)
        except ValueError:  # some builtins don't tell
            self._signature = _ANY
        parameters = list(self._signature.parameters.values())
        self._ignore = _checked_ignore(self.name, ignore, self._signature)
        self._first = parameters[0].name if parameters and parameters[0].kind in _POSITIONAL else ""
        self.method = self._first == _SELF and _in_class(function)
        """Whether the first argument is the instance, also where nobody binds it."""
        self._shown = [one for one in parameters if one.name not in self._ignore]
        self._defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
        simple = len(self._shown) == len(parameters) and all(one.kind in _POSITIONAL for one in parameters)
        self._names = [one.name for one in parameters] if simple else None
        self._required = sum(one.default is one.empty for one in parameters)
        # A default that can change is looked at in every call.
        steady = all(type(value) in _ATOMIC for value in self._defaults.values())
        self._remembers = steady and key is None
        self.known: dict[tuple[Any, ...], str] = {}
        self._remember = functools.lru_cache(maxsize=_REMEMBERED, typed=True)(self._remembered)
        self._remember_rest = functools.lru_cache(maxsize=_REMEMBERED, typed=True)(self._remembered_rest)

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The key of a call.

        Raises:
            CacheKeyError: An argument can't be part of a key.
            TypeError: The function can't be called so.
        """
        if self.method and args:
            return self.of_method(args[0], args[1:], kwargs)
        if self.method or not self._remembers or not _atomic(args, kwargs):
            return self._whole(self._arguments(args, kwargs))
        try:
            key = self._remember(*args, **kwargs)
        except _Long as long:
            return long.text
        if not kwargs and SIMPLE.issuperset(map(type, args)):
            if len(self.known) >= _REMEMBERED:
                self.known.clear()
            self.known[args] = key
        return key

    def of_method(self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The key of a call of a method; see `of`."""
        if self._key is not None or not self._first or self._first in self._ignore:
            return self._whole(self._arguments((instance, *args), kwargs, bound=True))
        first = f"{self._first}={self._instance(instance)}"
        rest = None
        if self._remembers and _atomic(args, kwargs):
            try:
                rest = self._remember_rest(*args, **kwargs)
            except _Long as long:
                rest = long.text
        if rest is None:
            rest = self._arguments((instance, *args), kwargs, skip=True)
        key = self._whole(f"{first}, {rest}" if rest else first)
        if not kwargs and self._remembers and len(rest) <= _LONGEST and SIMPLE.issuperset(map(type, args)):
            there = _instances.get(id(instance))
            if there is not None and there.ref() is instance:
                if len(there.known) >= _REMEMBERED_EACH:
                    there.known.clear()
                there.known[self, args] = key
        return key

    def _remembered(self, *args: Any, **kwargs: Any) -> str:
        text = self._arguments(args, kwargs)
        whole = self._whole(text)
        if len(text) > _LONGEST:
            raise _Long(whole)
        return whole

    def _remembered_rest(self, *args: Any, **kwargs: Any) -> str:
        text = self._arguments((None, *args), kwargs, skip=True)
        if len(text) > _LONGEST:
            raise _Long(text)
        return text

    def _whole(self, arguments: str) -> str:
        # A digest could be mistaken for nothing else: arguments begin with a name, or a value of `key` with no tilde.
        if len(arguments) > _LONGEST:
            arguments = "~" + hashlib.blake2b(arguments.encode(), digest_size=20).hexdigest()
        return f"{self._head}({arguments})"

    def _arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, bound: bool = False, skip: bool = False
    ) -> str:
        """The text of the arguments; with ``skip``, without the first."""
        if self._key is not None:
            return self._value("what `key` returns", self._key(*args, **kwargs))
        names, given = self._names, len(args)
        if names is not None and not kwargs and self._required <= given <= len(names):
            values: Mapping[str, Any] = {**self._defaults, **dict(zip(names, args, strict=False))}
        else:
            values = self._bound(args, kwargs)
        texts: list[str] = []
        for parameter in self._shown:
            name = parameter.name
            value = values[name]
            if name == self._first and (skip or bound or self.method):
                if not skip:
                    texts.append(f"{name}={self._instance(value)}")
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                name = "*" + name
            elif parameter.kind is parameter.VAR_KEYWORD:
                name = "**" + name
                if self._ignore:
                    value = {key: one for key, one in value.items() if key not in self._ignore}
            texts.append(f"{name}={self._value(parameter.name, value)}")
        return ", ".join(texts)

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None
        bound.apply_defaults()
        return bound.arguments

    def _value(self, name: str, value: Any) -> str:
        try:
            return write(value)
        except Unkeyable as error:
            what = name if self._key is not None else f"argument {name!r}"
            raise CacheKeyError(f"{self.name}(): {what} {error}") from error.__cause__

    def _instance(self, instance: Any) -> str:
        there = _instances.get(id(instance))
        if there is not None and there.ref() is instance:
            return there.text
        cls = class_of(instance)
        if isinstance(instance, type) or hasattr(cls, "__cache_key__"):
            return self._value(self._first, instance)
        try:
            return instance_text(instance)
        except TypeError:
            raise CacheKeyError(
                f"{self.name}(): a {cls.__qualname__} can't be told from others like it, because it can't "
                "be weakly referenced: give the class a `__cache_key__` method, or '__weakref__' among its __slots__"
            ) from None


def _atomic(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    for one in args:
        if type(one) not in _ATOMIC:
            return False
    return not kwargs or _ATOMIC.issuperset(map(type, kwargs.values()))


def _in_class(function: Callable[..., Any]) -> bool:
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>")


def _function_name(function: Any) -> str:
    name, module = getattr(function, "__qualname__", None), getattr(function, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        raise CacheConfigError(f"memoize: a {type(function).__name__} has no name of its own: give it one with name=")
    if "<lambda>" in name or "<locals>" in name:
        raise CacheConfigError(
            f"memoize: {name!r} may be the name of several functions, which would share their results: "
            "give each a name of its own with name="
        )
    return _checked_name(f"{module_name(module)}.{name}" if module else name)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.isprintable() or not name or set(name) & set("()#"):
        raise CacheConfigError("memoize: name takes a printable text without '(', ')' and '#'")
    if len(name) > _LONGEST_NAME:
        raise CacheConfigError(f"memoize: name has at most {_LONGEST_NAME} characters, got {len(name)}: give a shorter")
    return name


def _checked_ignore(name: str, ignore: Iterable[str], signature: inspect.Signature) -> frozenset[str]:
    if isinstance(ignore, str) or not isinstance(ignore, Iterable):
        raise CacheConfigError(f"memoize: ignore takes several names, got a single {type(ignore).__name__}")
    names = frozenset(ignore)
    takes_any = any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
    unknown = sorted(map(str, names - set(signature.parameters)))
    if unknown and not takes_any:
        raise CacheConfigError(f"memoize: {name}() has no parameter {', '.join(map(repr, unknown))} to ignore")
    return names


class _Instance:
    """What an instance is called, as long as it lives."""

    __slots__ = ("known", "ref", "text")

    def __init__(self, instance: Any, forget: Callable[[Any], None]) -> None:
        self.ref = weakref.ref(instance, forget)
        self.known: dict[tuple[MemoKeys, tuple[Any, ...]], str] = {}
        # Random, not a number: another process may count as well, and write to the same store.
        self.text = f"{qualified(type(instance), checked=False)}@{os.urandom(8).hex()}"


_instances: dict[int, _Instance] = {}
"""By id, because instances that are equal must not share, and many can't be hashed."""
_lock = threading.RLock()  # the garbage collector may run `forget` while the same thread holds it


def instance_text(instance: Any) -> str:
    """A text for this very object; raises `TypeError` if it can't be weakly referenced."""
    identity = id(instance)
    there = _instances.get(identity)
    if there is not None and there.ref() is instance:
        return there.text
    with _lock:
        there = _instances.get(identity)
        if there is not None and there.ref() is instance:
            return there.text

        def forget(ref: Any) -> None:
            with _lock:
                if (there := _instances.get(identity)) is not None and there.ref is ref:
                    del _instances[identity]

        made = _instances[identity] = _Instance(instance, forget)
        return made.text


instance_of: Callable[[int], _Instance | None] = _instances.get
"""What is known of the instance with an id, if that is still the same one: its ``ref`` says so.

Its ``known`` has the keys of calls of its methods, of arguments as in `MemoKeys.known`."""


def _after_fork() -> None:
    # The child's copy of an instance is another one from now on.
    global _lock
    _lock = threading.RLock()
    _instances.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
