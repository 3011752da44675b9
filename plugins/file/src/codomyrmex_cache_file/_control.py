"""`Control`: the page that all processes of a store share beside LMDB, and that is readable before LMDB is opened.

    offset  size
         0     8  magic and format
         8     8  dirty: 0 if the data file is on the disk as it is, 1 if not
        16    40  boot in which it was last opened
        56     8  epoch seconds at which that boot began: with it all processes have one clock
        64     8  when clean: size of the data file
        72     8  when clean: its time of modification, in nanoseconds
        80     8  last number given to an entry
        88     8  seconds since boot of the last write
       256   512  entries and bytes of each queue

Whoever writes to it holds the gate.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

from . import _boot

SIZE = 4096
QUEUES = 32
_MAGIC = b"cmxfile\1"
_BOOT = slice(16, 56)
_DIRTY, _ANCHOR, _FILE_SIZE, _FILE_TIME, _NUMBER, _LAST_WRITE, _COUNTS = 1, 7, 8, 9, 10, 11, 32
_DOUBLE = struct.Struct("<d")


class Control:
    """The page, mapped.

    Args:
        descriptor: Of its file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, SIZE)
        self._bytes = memoryview(self._map)
        self.words = self._bytes.cast("Q")
        self.floats = self._bytes.cast("d")

    @property
    def valid(self) -> bool:
        """Whether it was written by this format."""
        return bytes(self._bytes[:8]) == _MAGIC

    @property
    def boot(self) -> bytes:
        """The boot in which the store was last opened."""
        return bytes(self._bytes[_BOOT]).rstrip(b"\0")

    @property
    def dirty(self) -> bool:
        """Whether something may not have reached the disk."""
        return bool(self.words[_DIRTY])

    @property
    def anchor(self) -> float:
        """Epoch seconds at which this boot began, as all processes of the store have it."""
        return self.floats[_ANCHOR]

    @property
    def idle(self) -> float:
        """Seconds since the last write."""
        return _boot.since_boot() - self.floats[_LAST_WRITE]

    def start(self, *, anew: bool) -> None:
        """Take note of the first opening in this boot; ``anew``, of a new store."""
        if anew:
            self._bytes[:SIZE] = bytes(SIZE)
        self._bytes[:8] = _MAGIC
        if anew or self.boot != _boot.boot_id():
            self._bytes[_BOOT] = _boot.boot_id().ljust(40, b"\0")
            self.floats[_ANCHOR] = time.time() - _boot.since_boot()
        self._sync()

    def matches(self, data: os.stat_result) -> bool:
        """Whether the data file is what it was when the store was marked clean."""
        return (data.st_size, data.st_mtime_ns) == (self.words[_FILE_SIZE], self.words[_FILE_TIME])

    def mark_dirty(self) -> None:
        """Durably, before anything else is written."""
        self.words[_DIRTY] = 1
        self._sync()

    def mark_clean(self, data: os.stat_result) -> None:
        """After the data file has been synced."""
        self.words[_FILE_SIZE], self.words[_FILE_TIME] = data.st_size, data.st_mtime_ns
        self.words[_DIRTY] = 0
        self._sync()

    def wrote(self) -> None:
        """Note the time of a write."""
        self.floats[_LAST_WRITE] = _boot.since_boot()

    def number(self) -> int:
        """A number that no entry has had."""
        self.words[_NUMBER] += 1
        return self.words[_NUMBER]

    @property
    def last_number(self) -> int:
        """The highest number given so far."""
        return self.words[_NUMBER]

    def raise_number(self, least: int) -> None:
        """Go on after ``least``."""
        self.words[_NUMBER] = max(self.words[_NUMBER], least)

    def count(self, queue: int, entries: int, size: int) -> None:
        """Add to the counts of a queue; never below zero, where a killed process may have left them."""
        words, at = self.words, _COUNTS + 2 * queue
        words[at] = max(0, words[at] + entries)
        words[at + 1] = max(0, words[at + 1] + size)

    def counts(self, queue: int) -> tuple[int, int]:
        """Entries and bytes of a queue."""
        return self.words[_COUNTS + 2 * queue], self.words[_COUNTS + 2 * queue + 1]

    def reset_counts(self) -> None:
        """All to zero, to be counted anew."""
        for at in range(_COUNTS, _COUNTS + 2 * QUEUES):
            self.words[at] = 0

    def close(self) -> None:
        """Let go of the page."""
        self.floats.release()
        self.words.release()
        self._bytes.release()
        self._map.close()

    def _sync(self) -> None:
        self._map.flush()
        os.fsync(self._descriptor)
