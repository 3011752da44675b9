"""Options of caches and plugins: declared once as a dataclass, checked before anything starts.

    @dataclass(frozen=True)
    class SqliteOptions:
        path: str = option("cache.db", kind="path", help="File that holds the entries.")
        timeout: float = option(1.0, kind="duration", help="Longest wait for another writer.")

A plugin calls ``request.parse(SqliteOptions)`` and gets an instance with every value converted to its unit, or a
`CacheConfigError` that names the cache, the option, what was given and what is allowed.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypeVar, cast

from .errors import CacheConfigError

__all__ = ["Kind", "duration", "option", "parse", "redact", "size", "unknown"]

Kind: TypeAlias = Literal[
    "choice",
    "count",
    "duration",
    "flag",
    "fraction",
    "index",
    "object",
    "objects",
    "path",
    "plugin",
    "plugins",
    "secret",
    "size",
    "text",
]
T = TypeVar("T")

_DURATION_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_DECIMAL_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZE_UNITS = _DECIMAL_UNITS | {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
_LONGEST_INT = 256
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_SECRET_PARAMETER = re.compile(r"([?&][^=&\s]*(?:key|password|secret|token)[^=&\s]*=)[^&#\s'\"]+", re.IGNORECASE)


def option(
    default: Any = dataclasses.MISSING,
    *,
    kind: Kind,
    help: str,
    choices: tuple[str, ...] = (),
    optional: bool = False,
) -> Any:
    """Declare one option as a dataclass field.

    Args:
        default: Value when the option is not given; without one the option is required.
        kind: What is accepted and how it is converted: ``duration`` to seconds, ``size`` to bytes, ``count`` to a
            positive int, ``index`` to an int from 0, ``fraction`` to a float from 0 to 1, ``path`` to a str with ``~``
            expanded, ``object`` an object or its ``"package.module:attribute"``, ``objects`` to a tuple of these,
            ``secret`` like ``text`` but never shown, or ``"env:NAME"``.
        help: One line for people.
        choices: Allowed values of kind ``choice``.
        optional: None (in TOML: the word ``"none"``) is a value too, and means no limit.
    """
    metadata = {"kind": kind, "help": help, "choices": choices, "optional": optional}
    return dataclasses.field(default=default, repr=kind != "secret", metadata=metadata)


def duration(value: object) -> float:
    """Seconds from an int, float, ``timedelta`` or text such as ``"90s"``, ``"1h30m"``; ``inf`` is allowed.

    Raises:
        CacheConfigError: For zero, negative or NaN durations, ``bool``, and anything unreadable.
    """
    if isinstance(value, str):
        text = value.strip().lower()
        if text == "inf":
            return math.inf
        if not _DURATION.fullmatch(text):
            raise CacheConfigError(f"got {_show(value)}; expected {_EXPECTED['duration']}")
        seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    elif isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            raise CacheConfigError(f"got {_show(value)}; expected {_EXPECTED['duration']}") from None
    else:
        raise CacheConfigError(f"got {_show(value)}; expected {_EXPECTED['duration']}")
    if not seconds > 0:
        raise CacheConfigError(f"got {_show(value)}; expected a duration above zero")
    return seconds


def size(value: object) -> int:
    """Bytes from an int or text such as ``"512MiB"`` (2**20) or ``"2GB"`` (10**9).

    Raises:
        CacheConfigError: For zero, negative and unreadable sizes.
    """
    number: float = 0
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        number = float(match[1]) * _SIZE_UNITS.get(match[2].lower(), math.nan)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    if not number >= 1 or number == math.inf:
        raise CacheConfigError(f"got {_show(value)}; expected {_EXPECTED['size']}")
    return int(number)


def redact(text: str) -> str:
    """``text`` without the credentials of any URL in it, and without passwords, keys and tokens in its query."""
    return _SECRET_PARAMETER.sub(r"\1***", _CREDENTIALS.sub("***@", text))


def parse(
    schema: type[T],
    given: Mapping[str, Any],
    *,
    where: str,
    known: Iterable[str] = (),
    cache: str | None = None,
) -> T:
    """Check ``given`` against ``schema`` and convert every value.

    Args:
        schema: A dataclass whose fields were declared with `option`.
        given: Option names and values as a user wrote them.
        where: Beginning of every error message, such as ``"cache 'app'"``.
        known: Further option names, checked elsewhere, to list among the allowed ones.
        cache: Name of the cache for the error's attribute.

    Raises:
        CacheConfigError: Naming the option, what was given, what is allowed and, for a near miss, what was meant.
    """
    fields = {field.name: field for field in dataclasses.fields(schema)}  # type: ignore[arg-type]
    for name in given:
        if name not in fields:
            raise CacheConfigError(f"{where}: {unknown(name, {*fields, *known})}", cache=cache)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in given:
            try:
                values[name] = _convert(field.metadata, given[name])
            except CacheConfigError as error:
                raise CacheConfigError(f"{where}, option {name!r}: {error}", cache=cache) from error.__cause__
        elif field.default is dataclasses.MISSING:
            raise CacheConfigError(f"{where}: option {name!r} is required: {field.metadata['help']}", cache=cache)
    return schema(**values)


def names(schema: type) -> tuple[str, ...]:
    """Names of the options that ``schema`` declares."""
    return tuple(field.name for field in dataclasses.fields(schema))


_EXPECTED: dict[str, str] = {
    "choice": "one of {choices}",
    "count": "a whole number above zero",
    "duration": "seconds as a number, a timedelta, or text like '90s', '5m', '1h30m', '1d'",
    "flag": "true or false",
    "fraction": "a number from 0 to 1",
    "index": "a whole number from zero",
    "object": "an object, or the text 'package.module:attribute'",
    "objects": "a list of objects, or of texts 'package.module:attribute'",
    "path": "a path as text",
    "plugin": "a name, or a table with a name and its options",
    "plugins": "a name, a table with a name and its options, or a list of these",
    "secret": "text, or 'env:NAME' for the value of an environment variable",
    "size": "a size in bytes, or text like '512MiB' or '2GB'",
    "text": "text",
}


def unknown(name: str, allowed: Iterable[str], noun: str = "option") -> str:
    """The text of an error: ``name`` is unknown, what is allowed, and what was probably meant."""
    import difflib  # only needed for errors

    choices = sorted(allowed)
    near = difflib.get_close_matches(str(name), choices, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {noun} {name!r}; allowed: {', '.join(choices) or 'none'}.{hint}"


def _show(value: object) -> str:
    if isinstance(value, str):
        return repr(redact(value)[:80])
    if isinstance(value, int) and value.bit_length() > _LONGEST_INT:
        return "a huge int"
    if isinstance(value, (bool, int, float, timedelta)) or value is None:
        return repr(value)
    return f"a {type(value).__name__}"


def _convert(metadata: Mapping[str, Any], value: Any) -> Any:
    kind: str = metadata["kind"]
    if metadata["optional"] and (value is None or value == "none"):
        return None
    if kind == "choice":
        if value in metadata["choices"]:
            return value
        expected = _EXPECTED[kind].format(choices=", ".join(map(repr, metadata["choices"])))
        raise CacheConfigError(f"got {_show(value)}; expected {expected}")
    try:
        converted = _CONVERTERS[kind](value)
    except CacheConfigError:
        raise
    except (ValueError, OverflowError):  # a number beyond what int() or float() take
        converted = _REFUSED
    if converted is _REFUSED:
        shown = "a value that is not shown" if kind == "secret" else _show(value)
        none = ", or 'none'" if metadata["optional"] else ""
        raise CacheConfigError(f"got {shown}; expected {_EXPECTED[kind]}{none}")
    return converted


_REFUSED = object()


def _index(value: object) -> object:
    if isinstance(value, str) and value.replace("_", "").isdecimal():  # from an environment variable or a URL
        value = int(value.replace("_", ""))
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else _REFUSED


def _count(value: object) -> object:
    return _index(value) or _REFUSED


def _flag(value: object) -> object:
    if isinstance(value, str):
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
            value.lower(), _REFUSED
        )
    return value if isinstance(value, bool) else _REFUSED


def _fraction(value: object) -> object:
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1.0
    except ValueError:
        return _REFUSED
    return number if 0 <= number <= 1 else _REFUSED


def _text(value: object) -> object:
    return value if isinstance(value, str) and value else _REFUSED


def _secret(value: object) -> object:
    if isinstance(value, str) and value.startswith("env:"):
        import os

        value = os.environ.get(value[4:], "")
    return value if isinstance(value, (str, bytes)) and value else _REFUSED


def _path(value: Any) -> object:
    import os

    path: object = os.fspath(value) if isinstance(value, str) or hasattr(value, "__fspath__") else None
    return os.path.expanduser(path) if isinstance(path, str) and path and "\0" not in path else _REFUSED


def _object(value: object) -> object:
    if not isinstance(value, str):
        return value
    module, _, attribute = value.partition(":")
    if not module or not attribute:
        return _REFUSED
    import importlib

    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise CacheConfigError(f"{value!r} can't be loaded: {error}") from error
    return found


def _objects(value: Any) -> object:
    many: list[Any] = list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else [value]
    converted = [_object(one) for one in many]
    return _REFUSED if any(one is _REFUSED for one in converted) else tuple(converted)


def _plugin(value: Any) -> object:
    if isinstance(value, Mapping):
        table = dict(cast("Mapping[str, Any]", value))
        return table if isinstance(table.get("name"), str) else _REFUSED
    return {"name": value} if isinstance(value, str) and value else _REFUSED


def _plugins(value: Any) -> object:
    many: list[Any] = list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else [value]
    converted = [_plugin(one) for one in many]
    return tuple(converted) if converted and _REFUSED not in converted else _REFUSED


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "count": _count,
    "duration": duration,
    "flag": _flag,
    "fraction": _fraction,
    "index": _index,
    "object": _object,
    "objects": _objects,
    "path": _path,
    "plugin": _plugin,
    "plugins": _plugins,
    "secret": _secret,
    "size": size,
    "text": _text,
}
