"""Rows of the tables beside the entries.

    places   stored key → queue, rank or arrival there, number, end, size, and the key itself if it was cut
    order    queue, rank or arrival there, number → stored key
    expiry   end, number → stored key

Numbers are big-endian where LMDB has to sort them. An entry keeps its number as long as it lives. The end in `places`
is that of its row in `expiry`, which may be earlier than the record's own: then the row is put right when it comes up.
"""

from __future__ import annotations

import math
import struct
from typing import Final, NamedTuple

from ._errors import Damaged

NO_QUEUE: Final = 255
"""For records that no policy sees: pending ones, and the cache's own."""
_PLACE = struct.Struct("<BQQdQ")
PLACE_SIZE = _PLACE.size
unpack_place = _PLACE.unpack_from
_ORDER = struct.Struct(">BQQ")
_EXPIRY = struct.Struct(">QQ")
_DOUBLE = struct.Struct(">d")
_SIGN = 1 << 63


class Place(NamedTuple):
    """Where an entry stands."""

    queue: int
    at: int
    number: int
    end: float
    size: int

    @classmethod
    def unpack(cls, row: bytes) -> Place:
        """From a row of `places`."""
        try:
            return cls(*_PLACE.unpack_from(row))
        except struct.error as error:
            raise Damaged("an entry's place is cut") from error

    def pack(self, key: bytes = b"") -> bytes:
        """As a row of `places`, with the whole ``key`` if the stored one is cut."""
        return _PLACE.pack(*self) + key

    @property
    def order_key(self) -> bytes:
        """Its key in `order`."""
        return _ORDER.pack(self.queue, self.at, self.number)

    @property
    def expiry_key(self) -> bytes:
        """Its key in `expiry`."""
        return _EXPIRY.pack(rank_to_bits(self.end), self.number)

    @property
    def ends(self) -> bool:
        """Whether it has a row in `expiry`."""
        return self.end != math.inf


def whole_key(row: bytes) -> bytes:
    """The key that a row of `places` holds; empty if the stored key is whole."""
    return bytes(row[_PLACE.size :])


def end_of(expiry_key: bytes) -> float:
    """The end that a key of `expiry` stands for."""
    if len(expiry_key) != _EXPIRY.size:
        raise Damaged("a row of the ends is cut")
    return bits_to_rank(_EXPIRY.unpack(expiry_key)[0])


def queue_start(queue: int) -> bytes:
    """Not above any key of a queue in `order`."""
    return bytes((queue,))


def rank_to_bits(rank: float) -> int:
    """Numbers that are in the order of the ranks."""
    bits = int.from_bytes(_DOUBLE.pack(rank), "big")
    return bits | _SIGN if rank >= 0 else bits ^ (_SIGN * 2 - 1)


def bits_to_rank(bits: int) -> float:
    """Undo `rank_to_bits`."""
    bits = bits ^ _SIGN if bits & _SIGN else bits ^ (_SIGN * 2 - 1)
    return float(_DOUBLE.unpack(bits.to_bytes(8, "big"))[0])
