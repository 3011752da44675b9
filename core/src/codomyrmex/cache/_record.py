"""The record: what a driver keeps for one key, and the byte layout of its head.

    offset  size  field
         0     1  format             1
         1     1  flags              1 = pending (no value yet), 2 = failed, 4 = extended: see `Record`
         2     2  (reserved)         0
         4     4  annex length       bytes of the annex that follows the header
         8     8  version            8 random bytes, new with every write
        16     8  fresh until        seconds on the driver's clock, inf for never ending
        24     8  kept until         the same; never earlier than fresh until
        32     8  ttl                seconds the value was given to live
        40     8  lease              8 random bytes of the load that may store, zeros for none
        48     8  lease until        seconds on the driver's clock; after a load that failed, when the next may begin
        56     4  cost               seconds the value took to compute, 0 when unknown
        60     4  header checksum    CRC-32 of bytes 0-60, seeded with the key
        64     –  annex              tags with their tokens, a token of the origin, own checksum; may be empty
         –     –  payload            what the codec wrote, with its own checksum

A driver for bytes stores it whole and compares slices; header and annex together are the *head*. Integers and floats
are little-endian. The functions below read a head without trusting it: checksums are the codec's business.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

HEADER: Final = struct.Struct("<BBHI8sddd8sdfI")
HEADER_SIZE: Final = HEADER.size
FORMAT: Final = 1
PENDING: Final = 1
FAILED: Final = 2
EXTENDED: Final = 4
NO_LEASE: Final = bytes(8)

_ANNEX_LENGTH = struct.Struct("<I")
_DOUBLE = struct.Struct("<d")

Version: TypeAlias = "bytes | int"
Tags: TypeAlias = "tuple[tuple[str, bytes], ...]"


class Field(Enum):
    """What a `swap` compares: the record's version, or the lease planted in it."""

    VERSION = slice(8, 16)
    LEASE = slice(40, 48)


class Times(NamedTuple):
    """A lifetime: two moments on the driver's clock and a length, all in seconds; see `Record`."""

    fresh_until: float
    kept_until: float
    ttl: float


@dataclass(slots=True, eq=False)
class Record:
    """One entry as the core sees it; drivers for objects keep instances of it.

    Attributes:
        value: The user's object; for drivers that store bytes the undecoded payload, None if only a head was read.
        version: Opaque; equal only for the same write.
        fresh_until: When the value stops being served, in seconds on the driver's clock; inf for never.
        kept_until: When the record stops existing, the same way; never earlier.
        ttl: Seconds it was given to live.
        lease: Token of the load that may store here, or None.
        lease_until: When that lease may be taken over; of a failed record, when the next load may begin.
        tags: Pairs of tag and the token that the tag had when the value was written.
        cost: Seconds the value took to compute; 0 when unknown.
        pending: There is no value yet, only a lease.
        token: A few bytes of the origin's, such as an ETag; empty for none.
        failed: The last load failed, and the value is what was there before.
        extended: The record is kept beyond its value for the sake of a lease: past ``fresh_until`` it is pending.
    """

    value: Any = field(repr=False)
    version: Version
    fresh_until: float = math.inf
    kept_until: float = math.inf
    ttl: float = math.inf
    lease: bytes | None = None
    lease_until: float = 0.0
    tags: Tags = ()
    cost: float = 0.0
    pending: bool = False
    token: bytes = b""
    failed: bool = False
    extended: bool = False

    @property
    def value_until(self) -> float:
        """When the value stops existing, the record perhaps not."""
        return self.fresh_until if self.extended else self.kept_until

    def with_times(self, version: Version, times: Times) -> Record:
        """A copy with another version and lifetime, for a `swap` with ``header_only``."""
        return replace(self, version=version, fresh_until=times.fresh_until, kept_until=times.kept_until, ttl=times.ttl)


class Swap(NamedTuple):
    """One of several swaps; the arguments of `Backend.swap`."""

    key: str
    field: Field
    expected: Version | None
    new: Any
    header_only: bool = False


def head_of(stored: bytes) -> bytes:
    """Header and annex of a stored record: what `scan` and `remove_many` return."""
    if len(stored) < HEADER_SIZE:
        return stored
    return stored[: HEADER_SIZE + _ANNEX_LENGTH.unpack_from(stored, 4)[0]]


def kept_until_of(stored: bytes) -> float:
    """When the record stops existing; inf if ``stored`` is too short to say."""
    return float(_DOUBLE.unpack_from(stored, 24)[0]) if len(stored) >= HEADER_SIZE else math.inf


def replace_header(stored: bytes, header: bytes) -> bytes:
    """``stored`` with its header replaced, for a `swap` with ``header_only``."""
    return header[:HEADER_SIZE] + stored[HEADER_SIZE:]


def matches(stored: bytes | None, field: Field, expected: Version | None) -> bool:
    """Whether a `swap` may go on: ``field`` of the stored record equals ``expected`` (None: there is no record)."""
    if stored is None or expected is None:
        return stored is None and expected is None
    return stored[field.value] == expected
