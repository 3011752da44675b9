"""The serializer ``json``: text that people and other languages read, for the values that JSON keeps exactly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .errors import CacheSerializationError
from .serializers import Serializer

_ATOMS = frozenset({str, int, float, bool, type(None)})
_DEPTH = 200
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class JsonSerializer(Serializer):
    """None, bool, int, float, str, and lists and str-keyed dicts of these; everything else is refused."""

    def dumps(self, value: Any, context: bytes) -> bytes:
        """UTF-8 JSON."""
        _check(value)
        try:
            return _encode(value).encode()
        except (ValueError, RecursionError) as error:
            reason = "text with a lone surrogate" if isinstance(error, UnicodeEncodeError) else "too large a number"
            raise CacheSerializationError(f"json can't keep {reason}") from None

    def loads(self, data: bytes, context: bytes) -> Any:
        """The value."""
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise CacheSerializationError("the stored bytes are no JSON that can be read") from None


def _check(value: Any) -> None:
    """Refuse what would come back as another type: tuples, subclasses, keys that are no str."""
    # Depth first: a value that holds itself is at the limit after as many steps, and takes no memory.
    open_: list[Iterator[Any]] = [iter((value,))]
    while open_:
        for item in open_[-1]:
            kind: type[Any] = item.__class__
            if kind in _ATOMS:
                continue
            if kind is list:
                inner: Iterable[Any] = item
            elif kind is dict:
                for key in item:
                    if type(key) is not str:
                        raise CacheSerializationError(f"json can't keep a key of type {type(key).__name__} as it is")
                inner = item.values()
            else:
                raise CacheSerializationError(f"json can't keep a {type(item).__name__} as it is")
            if len(open_) > _DEPTH:
                raise CacheSerializationError(f"json refuses values nested deeper than {_DEPTH}")
            open_.append(iter(inner))
            break
        else:
            open_.pop()
