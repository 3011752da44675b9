"""Whether two values are the same: of the same types all the way down, in the same order, bit for bit."""

from __future__ import annotations

import struct
from datetime import datetime, time, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from codomyrmex_cache_msgpack import MsgpackSerializer

SERIALIZER = MsgpackSerializer()


def written(value: Any) -> bytes:
    return SERIALIZER.dumps(value, b"")


def read(data: bytes) -> Any:
    return SERIALIZER.loads(data, b"")


def through(value: Any) -> Any:
    return read(written(value))


def same(one: Any, two: Any) -> bool:
    """Whether nothing that Python shows tells ``one`` from ``two``, but their identity."""
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", two)
    if isinstance(one, complex):
        return same(one.real, two.real) and same(one.imag, two.imag)
    if isinstance(one, Decimal):
        return one.as_tuple() == two.as_tuple()
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return same([*one.items()], [*two.items()])
    if isinstance(one, (set, frozenset)):
        return len(one) == len(two) and all(any(same(a, b) for b in two) for a in one)
    if isinstance(one, (datetime, time)):
        zones = one.tzinfo, two.tzinfo
        same_zone = zones[0] is zones[1] or (type(zones[0]) is timezone and repr(zones[0]) == repr(zones[1]))
        return same_zone and one.fold == two.fold and one.replace(tzinfo=None) == two.replace(tzinfo=None)
    if isinstance(one, UUID) and one.is_safe is not two.is_safe:
        return False
    return bool(one == two)
