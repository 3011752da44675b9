"""`Marks`: what reads leave behind for the eviction policy, in a map that all processes share.

One number for each possible checksum of a key. Two keys with the same one share it: then an entry may be spared for
the other's sake. A read writes four bytes and takes no lock; a mark that a race loses is a use that nobody knows of.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
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

    Attributes:
        use: Called with a stored key whose entry has been used.
    """

    def __init__(
        self, descriptor: int | None, count: int, kind: Literal["use", "frequency", "recency"], control: Control
    ) -> None:
        self._map = mmap.mmap(-1 if descriptor is None else descriptor, count * SIZE_OF_ONE)
        self._marks = memoryview(self._map).cast("I")
        self._mask = count - 1
        self._kind = kind
        self._control = control
        self.use = self._using()

    def _using(self) -> Callable[[bytes], None]:
        """For the kind of these marks, `use`: the entry of a stored key has been used. Every hit calls it."""
        marks, mask, control = self._marks, self._mask, self._control

        # What is there already is not written again: that would take the line from other processors' caches.
        def use(key: bytes) -> None:
            at = crc32(key) & mask
            if not marks[at]:
                marks[at] = 1

        def now(key: bytes) -> None:
            at, number = crc32(key) & mask, control.last_number & _LOW
            if marks[at] != number:
                marks[at] = number

        def often(key: bytes) -> None:
            at = crc32(key) & mask
            if marks[at] < _MOST_USES:
                marks[at] += 1

        return use if self._kind == "use" else now if self._kind == "recency" else often

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
