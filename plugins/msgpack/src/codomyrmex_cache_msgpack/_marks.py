"""What stands for the types that MessagePack doesn't have.

A value of such a type is written as an array whose first element is a *mark*: an extension without content, whose
number says what the rest of the array is. Everything else in the format is plain MessagePack, in its shortest form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ormsgpack import Ext

type_of: Final[Callable[[Any], type[Any]]] = type
"""`type` with one argument, as type checkers should see it."""

MARKS: Final[dict[int, Ext]] = {number: Ext(number, b"") for number in range(1, 16)}
"""Marks by their numbers. Stored values hold the numbers: none may ever change its meaning."""

(
    TUPLE,
    SET,
    FROZENSET,
    DICT,
    INT,
    COMPLEX,
    DECIMAL,
    DATE,
    DATETIME,
    ZONED_DATETIME,
    TIME,
    ZONED_TIME,
    TIMEDELTA,
    UUID,
    REGISTERED,
) = MARKS.values()

MARK_BYTE: Final = 0xC7
"""First byte of every mark, and of nothing else that is written but parts of texts, bytes and numbers."""
MARK: Final = b"\xc7\x00"
"""First two bytes of every mark."""
find_mark: Final = re.compile(rb"\xc7\x00[\x01-\x0f]").search
"""Where a mark may be, or None; a text or number may look like one."""
