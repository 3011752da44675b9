"""Values that hold no others: how each is written with what MessagePack has, and read back.

Every reader takes exactly what its writer makes. Whatever else Python's parsers would accept (spaces, other formats of
dates, numbers of another type) is an error, so that no two byte strings mean the same value.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
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
    zone = value.tzinfo
    if (zone is None or _is_plain(zone)) and not value.fold:
        return [marks.DATETIME, value.isoformat()]
    return [marks.ZONED_DATETIME, value.replace(tzinfo=None).isoformat(), value.fold, _write_zone(zone)]


def _read_datetime(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return _same(value, value.isoformat(), text)


def _read_zoned_datetime(text: Any, fold: Any, zone: Any) -> datetime:
    if type_of(text) is not str or type_of(fold) is not int:
        raise TypeError
    value = _read_datetime(text).replace(tzinfo=_read_zone(zone), fold=fold)
    return _same(value, _write_datetime(value), [marks.ZONED_DATETIME, text, fold, zone])


def _write_time(value: time) -> list[Any]:
    zone = value.tzinfo
    if (zone is None or _is_plain(zone)) and not value.fold:
        return [marks.TIME, value.isoformat()]
    return [marks.ZONED_TIME, value.replace(tzinfo=None).isoformat(), value.fold, _write_zone(zone)]


def _read_time(text: str) -> time:
    value = time.fromisoformat(text)
    return _same(value, value.isoformat(), text)


def _read_zoned_time(text: Any, fold: Any, zone: Any) -> time:
    if type_of(text) is not str or type_of(fold) is not int:
        raise TypeError
    value = _read_time(text).replace(tzinfo=_read_zone(zone), fold=fold)
    return _same(value, _write_time(value), [marks.ZONED_TIME, text, fold, zone])


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


def _read_uuid(text: Any, *safe: Any) -> UUID:
    if type_of(text) is not str or [*map(type_of, safe)] not in ([], [int]):
        raise TypeError
    value = UUID(text, is_safe=SafeUUID(*safe)) if safe else UUID(text)
    return _same(value, value.hex, text)


def _is_plain(zone: tzinfo) -> bool:
    """Whether text says all about a zone: an offset without a name, and of whole seconds.

    ``fromisoformat`` takes an offset of less than a second for UTC (CPython 3.11).
    """
    return type(zone) is timezone and len(made := _offset_and_name(zone)) == 1 and not made[0].microseconds


def _offset_and_name(zone: timezone) -> tuple[Any, ...]:
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

READERS: dict[Ext, tuple[Callable[..., Any], list[type[Any]]]] = {
    marks.INT: (_read_int, [str]),
    marks.COMPLEX: (complex, [float, float]),
    marks.DECIMAL: (_read_decimal, [str]),
    marks.DATE: (date.fromordinal, [int]),
    marks.DATETIME: (_read_datetime, [str]),
    marks.TIME: (_read_time, [str]),
    marks.TIMEDELTA: (_read_timedelta, [int, int, int]),
}
"""By mark: from what follows it to the value, and the exact types that these must have."""
_CHECKING: dict[Ext, Callable[..., Any]] = {
    marks.ZONED_DATETIME: _read_zoned_datetime,
    marks.ZONED_TIME: _read_zoned_time,
    marks.UUID: _read_uuid,
}
"""Those that check the types themselves, because several are allowed."""


def read(mark: Ext, parts: list[Any]) -> Any:
    """The value of ``mark`` and what follows it. Raises any error if there is none."""
    found = READERS.get(mark)
    if found is None:
        return _CHECKING[mark](*parts)
    reader, kinds = found
    if [*map(type_of, parts)] != kinds:
        raise TypeError
    return reader(*parts)
