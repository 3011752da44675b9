"""`Marks`: what reads leave behind for the eviction policy, in a map that all processes share.

One number for each possible checksum of a key. Two keys with the same one share it: then an entry may be spared for
the other's sake. A read writes four bytes and takes no lock; a mark that a race loses is a use that nobody knows of.
"""

from __future__ import annotations

import mmap
from typing import Literal
from zlib import crc32

from ._control import Control

SIZE_OF_ONE = 4
_LOW = 0xFFFFFFFF
_MOST_USES = 3


class Marks:
    """Marks by key.

    Args:
        descriptor: Of their file; None keeps them in this process.
        count: How many there are, a power of two.
        kind: What a mark says; see `EvictionPolicy.marks`.
        control: Knows the rank of "now".
    """

    def __init__(
        self, descriptor: int | None, count: int, kind: Literal["use", "frequency", "recency"], control: Control
    ) -> None:
        self._map = mmap.mmap(-1 if descriptor is None else descriptor, count * SIZE_OF_ONE)
        self._marks = memoryview(self._map).cast("I")
        self._mask = count - 1
        self._kind = kind
        self._control = control

    def use(self, key: bytes) -> None:
        """The entry of the stored ``key`` has been used."""
        at = crc32(key) & self._mask
        if self._kind == "use":
            self._marks[at] = 1
        elif self._kind == "recency":
            self._marks[at] = self._control.last_number & _LOW
        elif self._marks[at] < _MOST_USES:
            self._marks[at] += 1

    def of(self, key: bytes) -> int:
        """The mark of the stored ``key``, as a policy sees it."""
        mark = self._marks[crc32(key) & self._mask]
        if not mark or self._kind != "recency":
            return mark
        now = self._control.last_number
        whole = (now & ~_LOW) | mark
        return whole if whole <= now else max(whole - _LOW - 1, 1)

    def set(self, key: bytes, mark: int) -> None:
        """Replace it."""
        self._marks[crc32(key) & self._mask] = mark & _LOW

    def close(self) -> None:
        """Let go of the map."""
        self._marks.release()
        self._map.close()
