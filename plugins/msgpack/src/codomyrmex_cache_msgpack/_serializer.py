"""The serializer: the short ways for what is plain, and what makes the bytes of strangers harmless.

How a value is written, by its first byte:

    c4            bytes follow as they are
    d9            text follows, in UTF-8
    other         MessagePack by ormsgpack, with marks (`_marks.py`) for types that MessagePack doesn't have

ormsgpack keeps exactly what is plain but for two types, bytearray and memoryview, which it writes as bytes. Their
headers are searched in the result; only if one seems to be there, the types of all parts are looked at.

What is read is written again and compared. So one comparison refuses whatever no writer of ours could have written:
keys that are there twice, bytes behind the end, numbers longer than needed, nesting deeper than may be written.
"""

from __future__ import annotations

from typing import Any, Final

from ormsgpack import (
    OPT_PASSTHROUGH_DATACLASS,
    OPT_PASSTHROUGH_DATETIME,
    OPT_PASSTHROUGH_ENUM,
    OPT_PASSTHROUGH_SUBCLASS,
    OPT_PASSTHROUGH_TUPLE,
    OPT_PASSTHROUGH_UUID,
    packb,
    unpackb,
)

from codomyrmex.cache import CacheSerializationError
from codomyrmex.cache.serializers import Serializer

from ._marks import MARK, MARK_BYTE, MARKS, find_mark, type_of
from ._tree import ATOMS, ATOMS_BUT_INT, DEPTH, build, is_plain, lower

_STRICT: Final = (
    OPT_PASSTHROUGH_DATACLASS
    | OPT_PASSTHROUGH_DATETIME
    | OPT_PASSTHROUGH_ENUM
    | OPT_PASSTHROUGH_SUBCLASS
    | OPT_PASSTHROUGH_TUPLE
    | OPT_PASSTHROUGH_UUID
)
"""Refuse what would be written as something else: nobody is there that it could be passed through to."""
_BYTES, _TEXT = b"\xc4", b"\xd9"
_BIN_8, _BIN_16, _BIN_32 = 0xC4, 0xC5, 0xC6
_NEVER_PACKED = frozenset({bytes, str})
_MAYBE_PLAIN = frozenset({dict, list, int, float, bool, type(None)})
# For an unknown number it gives the content back, bytes where a mark was, which the comparison notices.
_mark_of: Final[Any] = MARKS.get


class MsgpackSerializer(Serializer):
    """MessagePack with marks for Python's other builtin types and for registered ones; all else is refused."""

    __slots__ = ()
    views = True

    def dumps(self, value: Any, context: bytes) -> bytes:
        """Bytes of ``value``. Raises `CacheSerializationError` if it would not come back the same."""
        kind = type_of(value)
        if kind is bytes:
            return _BYTES + value  # type: ignore[no-any-return]
        if kind is str:
            return _text(value)
        if kind not in _MAYBE_PLAIN:
            return _carefully(value)
        try:
            data = packb(value, None, _STRICT)
        except TypeError:
            return _carefully(value)
        if (_BIN_8 in data or _BIN_16 in data or _BIN_32 in data) and not is_plain(value):
            return _carefully(value)
        return data

    def loads(self, data: bytes | memoryview, context: bytes) -> Any:
        """The value of ``data``. Raises `CacheSerializationError` if `dumps` never gave it."""
        first = data[:1]
        try:
            if first == _BYTES:
                return bytes(data[1:])
            if first == _TEXT:
                return str(data[1:], "utf-8")
            data = bytes(data)
            # From the fastest look to the surest: mostly the first finds that there is none.
            marked = MARK_BYTE in data and MARK in data and find_mark(data) is not None
            tree = unpackb(data, ext_hook=_mark_of) if marked else unpackb(data)
            if packb(tree) == data and type(tree) not in _NEVER_PACKED:
                return build(tree) if marked else tree
        except CacheSerializationError:
            raise
        except Exception as error:
            raise _unreadable(type(error).__name__) from None
        raise _unreadable("not as it would be written")


def _text(value: str) -> bytes:
    try:
        return _TEXT + value.encode()
    except UnicodeEncodeError:
        raise CacheSerializationError("msgpack can't keep text with a lone surrogate") from None


def _carefully(value: Any) -> bytes:
    """Write a value that is not plain."""
    reason = ""
    try:
        for atoms in (ATOMS, ATOMS_BUT_INT):
            try:
                return packb(lower(value, atoms), None, _STRICT)
            except TypeError as error:
                reason = _reason(str(error))
    except RecursionError:
        reason = "a value nested so deep: the stack is at its end"
    except RuntimeError:
        reason = "a value that changes while it is written"
    raise CacheSerializationError(f"msgpack can't keep {reason}")


def _reason(text: str) -> str:
    """What ormsgpack found, by its message, which never holds the value."""
    if "surrogates" in text:
        return "text with a lone surrogate"
    return f"values nested deeper than {DEPTH}" if "ecursion" in text else "this value"


def _unreadable(why: str) -> CacheSerializationError:
    return CacheSerializationError(f"the stored bytes are no value that msgpack can read: {why}")
