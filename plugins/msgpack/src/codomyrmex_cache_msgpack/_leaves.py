"""Values that hold no others: how each is written with what MessagePack has, and read back.

Every reader takes exactly what its writer makes. Whatever else Python would accept (spaces in numbers, bools as ints)
is an error, so that no two byte strings mean the same value. Moments are written as numbers, not as text: that is
faster, and ``fromisoformat`` takes an offset of less than a second for none (CPython 3.11).
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID, SafeUUID

from ormsgpack import Ext

from codomyrmex.cache import CacheSerializationError

from . import _marks as marks
from ._marks import type_of

T = TypeVar("T")

_LARGEST = 10**4300  # Python itself turns no longer numbers into text
_LONGEST = 3600  # hexadecimal digits, a little more than these have
_SMALLEST_NATIVE, _LARGEST_NATIVE = -(2**63), 2**64 - 1
_DAY = 86_400
_ZERO = (timedelta(0),)
_DATETIME_FIELDS, _TIME_FIELDS = 7, 4
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")


def _write_int(value: int) -> Any:
    if _SMALLEST_NATIVE <= value <= _LARGEST_NATIVE:
        return value
    if not -_LARGEST < value < _LARGEST:
        raise CacheSerializationError("msgpack refuses an int of more than 4,300 digits")
    return [marks.INT, f"{value:x}"]


def _read_int(text: str) -> int:
    value = int(text, 16) if len(text) <= _LONGEST else _LARGEST
    if _SMALLEST_NATIVE <= value <= _LARGEST_NATIVE or not -_LARGEST < value < _LARGEST:
        raise ValueError
    return _same(value, f"{value:x}", text)


def _write_decimal(value: Decimal) -> list[Any]:
    # The current decimal context may ask for a small e.
    return [marks.DECIMAL, str(value).replace("e", "E")]


def _read_decimal(text: str) -> Decimal:
    value = Decimal(text)
    return _same(value, str(value).replace("e", "E"), text)


def _write_datetime(value: datetime) -> list[Any]:
    fields = [
        marks.DATETIME,
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
    ]
    return fields if value.tzinfo is None and not value.fold else _with_zone(marks.ZONED_DATETIME, fields, value)


def _write_time(value: time) -> list[Any]:
    fields = [marks.TIME, value.hour, value.minute, value.second, value.microsecond]
    return fields if value.tzinfo is None and not value.fold else _with_zone(marks.ZONED_TIME, fields, value)


def _with_zone(mark: Ext, fields: list[Any], value: datetime | time) -> list[Any]:
    """Behind the fields the offset in seconds, if that says all about zone and fold; otherwise both of these."""
    zone = value.tzinfo
    if type(zone) is timezone and not value.fold:
        made_of = _offset_and_name(zone)
        offset: timedelta = made_of[0]
        if len(made_of) == 1 and not offset.microseconds:
            fields.append(offset.days * _DAY + offset.seconds)
            return fields
    return [mark, *fields[1:], value.fold, _write_zone(zone)]


def _read_datetime(*fields: Any) -> datetime:
    if len(fields) == _DATETIME_FIELDS:
        return datetime(*fields)
    return datetime(*fields[:-1]).replace(tzinfo=_offset(fields[-1]))


def _read_time(*fields: Any) -> time:
    if len(fields) == _TIME_FIELDS:
        return time(*fields)
    return time(*fields[:-1]).replace(tzinfo=_offset(fields[-1]))


def _offset(seconds: int) -> timezone:
    return timezone(timedelta(0, seconds)) if seconds else UTC


def _read_zoned_datetime(fields: list[Any]) -> datetime:
    *when, fold, zone = fields
    value = datetime(*when).replace(tzinfo=_read_zone(zone), fold=fold)
    return _same(value, _write_datetime(value), [marks.ZONED_DATETIME, *fields])


def _read_zoned_time(fields: list[Any]) -> time:
    *when, fold, zone = fields
    value = time(*when).replace(tzinfo=_read_zone(zone), fold=fold)
    return _same(value, _write_time(value), [marks.ZONED_TIME, *fields])


def _write_timedelta(value: timedelta) -> list[Any]:
    return [marks.TIMEDELTA, value.days, value.seconds, value.microseconds]


def _read_timedelta(days: int, seconds: int, microseconds: int) -> timedelta:
    value = timedelta(days, seconds, microseconds)
    return _same(value, [value.days, value.seconds, value.microseconds], [days, seconds, microseconds])


def _write_uuid(value: UUID) -> list[Any]:
    # bytes would be shorter, but every value that holds bytes is checked for bytearrays when it is written.
    if value.is_safe is SafeUUID.unknown:
        return [marks.UUID, value.hex]
    return [marks.UUID, value.hex, value.is_safe.value]


def _read_uuid(text: str, safe: int | None = None) -> UUID:
    value = UUID(text, is_safe=SafeUUID(safe))
    return _same(value, value.hex, text)


def _offset_and_name(zone: timezone) -> tuple[Any, ...]:
    if zone is UTC:
        return _ZERO
    # What it was made of, as pickle asks for it: a given name can't be told from the usual one otherwise.
    made_of: tuple[Any, ...] = zone.__reduce__()[1]  # type: ignore[assignment]
    return made_of


def _write_zone(zone: tzinfo | None) -> Any:
    if zone is None:
        return None
    if type(zone) is timezone:
        offset, *name = _offset_and_name(zone)
        return [offset.days, offset.seconds, offset.microseconds, *name]
    if type(zone) is not zoneinfo.ZoneInfo:
        raise CacheSerializationError(f"msgpack can't keep a tzinfo of type {type(zone).__name__} as it is")
    key = zone.key
    if key is None or not _ZONE_KEY.fullmatch(key) or not _is_of_the_system(zone):
        raise CacheSerializationError("msgpack can't keep a ZoneInfo that was not made by its key")
    return key


def _is_of_the_system(zone: zoneinfo.ZoneInfo) -> bool:
    """Whether its rules come from the system: one made by ``from_file`` may have any key."""
    if zoneinfo.ZoneInfo(zone.key) is zone:
        return True
    try:
        zone.__reduce__()
    except Exception:
        return False
    return True


def _read_zone(zone: Any) -> tzinfo | None:
    if zone is None:
        return None
    if type_of(zone) is str:
        if not _ZONE_KEY.fullmatch(zone):
            raise ValueError
        return zoneinfo.ZoneInfo(zone)
    if [*map(type_of, zone)] not in ([int, int, int], [int, int, int, str]):
        raise TypeError
    return timezone(_read_timedelta(*zone[:3]), *zone[3:])


def _same(value: T, written: object, stored: object) -> T:
    """``value``, if writing it again gives what is stored."""
    if written != stored:
        raise ValueError
    return value


WRITERS: dict[type[Any], Callable[[Any], Any]] = {
    int: _write_int,
    complex: lambda value: [marks.COMPLEX, value.real, value.imag],
    Decimal: _write_decimal,
    date: lambda value: [marks.DATE, value.toordinal()],
    datetime: _write_datetime,
    time: _write_time,
    timedelta: _write_timedelta,
    UUID: _write_uuid,
}
"""By exact type: from a value to a mark and what follows it; an int that MessagePack has room for stays one."""

_READERS: dict[Ext, tuple[Callable[..., Any], list[list[type[Any]]]]] = {
    marks.INT: (_read_int, [[str]]),
    marks.COMPLEX: (complex, [[float] * 2]),
    marks.DECIMAL: (_read_decimal, [[str]]),
    marks.DATE: (date.fromordinal, [[int]]),
    marks.DATETIME: (_read_datetime, [[int] * _DATETIME_FIELDS, [int] * (_DATETIME_FIELDS + 1)]),
    marks.TIME: (_read_time, [[int] * _TIME_FIELDS, [int] * (_TIME_FIELDS + 1)]),
    marks.TIMEDELTA: (_read_timedelta, [[int] * 3]),
    marks.UUID: (_read_uuid, [[str], [str, int]]),
}
"""By mark: from what follows it to the value, and the exact types that these must have."""
_ZONED: dict[Ext, tuple[Callable[[list[Any]], Any], int]] = {
    marks.ZONED_DATETIME: (_read_zoned_datetime, _DATETIME_FIELDS + 1),
    marks.ZONED_TIME: (_read_zoned_time, _TIME_FIELDS + 1),
}
"""The same for those whose last part, the zone, may be of several types: how many ints stand before it."""


def read(mark: Ext, parts: list[Any]) -> Any:
    """The value of ``mark`` and what follows it. Raises any error if there is none."""
    found = _READERS.get(mark)
    kinds = [*map(type_of, parts)]
    if found is not None:
        reader, allowed = found
        if kinds in allowed:
            return reader(*parts)
    else:
        zoned, ints = _ZONED[mark]
        if kinds[:-1] == [int] * ints:
            return zoned(parts)
    raise TypeError
