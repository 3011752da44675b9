"""Values on a command line: how they are shown, and how they are read."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias, cast

from ._errors import CommandError

Form: TypeAlias = Literal["json", "text", "bytes"]
"""What is made of the bytes that the user gives."""
STDIN = "-"


def is_json(value: Any) -> bool:
    """Whether ``value`` would come back from JSON the same: a tuple, a set or a NaN would not."""
    kind = type(cast(object, value))
    if kind is list:
        return all(map(is_json, value))
    if kind is dict:
        return all(type(key) is str and is_json(one) for key, one in value.items())
    return math.isfinite(value) if kind is float else value is None or kind in (bool, int, str)


def shown(value: Any) -> str:
    """``value`` for people: as JSON if it can be, else its repr."""
    if not is_json(value):
        return repr(value)
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # A control character in a value may not reach the terminal; escaped, it is still the same JSON.
    return text if all(map(printable, text.splitlines())) else json.dumps(value, indent=2)


def shown_text(text: str) -> str:
    """``text`` on one line for people: as it is, or in quotes and escaped if it holds what can't be shown."""
    return text if printable(text) else json.dumps(text)


def printable(text: str) -> bool:
    """Whether stdout can show ``text`` as it is."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return text.isprintable()


def raw(value: Any) -> bytes:
    """The bytes of a bytes or str value.

    Raises:
        CommandError: It is neither.
    """
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise CommandError("the value holds a lone surrogate, which is no UTF-8: leave --raw out") from None
    if isinstance(value, bytes):
        return value
    raise CommandError(f"--raw writes a str or bytes, and the value is of type {type(value).__name__}: leave --raw out")


def read(source: str | Path, form: Form) -> Any:
    """The value that the user gives.

    Args:
        source: The text itself, ``-`` for stdin, or the path of a file (``-`` for stdin, too).
        form: What to make of it.

    Raises:
        CommandError: It can't be read, or is not what ``form`` says.
    """
    data = _bytes(source)
    if form == "bytes":
        return data
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise CommandError("the value is no UTF-8; --bytes stores it as it is") from None
    if form == "text":
        return text
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"the value is no JSON ({error}); --text stores it as a str") from None


def _bytes(source: str | Path) -> bytes:
    if str(source) == STDIN:
        return sys.stdin.buffer.read()
    if isinstance(source, str):
        return source.encode("utf-8", "surrogateescape")  # as it came from the command line
    try:
        return source.read_bytes()
    except OSError as error:
        raise CommandError(f"{source} can't be read: {error.strerror}") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not part of JSON")
