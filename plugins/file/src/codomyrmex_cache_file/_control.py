"""`Control`: the page that all processes of a store share beside LMDB, and that is readable before LMDB is opened.

    offset  size
         0     8  magic and format
         8     8  state: see `CLEAN`, `DIRTY`, `ORDERED`
        16    40  boot in which it was last opened
        56     8  epoch seconds at which that boot began: with it all processes have one clock
        64     8  when clean: size of the data file
        72     8  when clean: its time of modification, in nanoseconds
        80     8  last number given to an entry
        88     8  seconds since boot of the last write
        96     8  number of the transaction that last changed the counts
       104     8  1 while a smaller file takes the place of the data file: see `_compact`
       112     8  how often the data file has been replaced: who has opened another one than the last opens it again
       256   512  entries and bytes of each queue
      2048   512  what they were before that transaction

Whoever writes to it holds the gate. The counts change before their transaction is committed; whoever comes next sees by
its number whether it was, and undoes what a killed or failed writer left behind.
"""

from __future__ import annotations

import mmap
import os
import time

from . import _boot

SIZE = 4096
QUEUES = 32
CLEAN = 0
"""The disk has the data file as it is."""
DIRTY = 1
"""Something may not have reached the disk, and what has may be of any age."""
ORDERED = 2
"""All that was acknowledged has reached the disk, and a write under way can't harm it."""
_MAGIC = b"cmxfile\1"
_BOOT = slice(16, 56)
_STATE, _ANCHOR, _FILE_SIZE, _FILE_TIME, _NUMBER, _LAST_WRITE, _CHANGING, _COUNTS = 1, 7, 8, 9, 10, 11, 12, 32
_COMPACTING, _REPLACED = 13, 14
_LENGTH = QUEUES * 16
_SAVED = 2048


class Control:
    """The page, mapped.

    Args:
        descriptor: Of its file.
        writable: Whether it may be written to.
    """

    def __init__(self, descriptor: int, *, writable: bool = True) -> None:
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, SIZE, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
        self._bytes = memoryview(self._map)
        self._counts = self._bytes[_COUNTS * 8 : _COUNTS * 8 + _LENGTH]
        self._saved = self._bytes[_SAVED : _SAVED + _LENGTH]
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
    def state(self) -> int:
        """What the disk has of the store; what is no state at all counts as dirty."""
        state = self.words[_STATE]
        return state if state in (CLEAN, ORDERED) else DIRTY

    @property
    def anchor(self) -> float:
        """Epoch seconds at which this boot began, as all processes of the store have it."""
        return self.floats[_ANCHOR] if self.boot == _boot.boot_id() else self._new_anchor()

    @property
    def idle(self) -> float:
        """Seconds since the last write."""
        return _boot.since_boot() - self.floats[_LAST_WRITE]

    def start(self, *, anew: bool) -> None:
        """Take note of the first opening in this boot; ``anew``, of a new store."""
        if anew:
            replaced = self.replaced
            self._bytes[:SIZE] = bytes(SIZE)
            self.words[_REPLACED] = replaced + 1
        self._bytes[:8] = _MAGIC
        if anew or self.boot != _boot.boot_id():
            self.floats[_ANCHOR] = self._new_anchor()
            self.floats[_LAST_WRITE] = _boot.since_boot()
            self._bytes[_BOOT] = _boot.boot_id().ljust(40, b"\0")
            self._sync()

    def _new_anchor(self) -> float:
        # A wall clock that was put back while the machine was off must not make entries live longer.
        latest = self.floats[_ANCHOR] + self.floats[_LAST_WRITE]
        return max(time.time(), latest) - _boot.since_boot()

    def matches(self, data: os.stat_result) -> bool:
        """Whether the data file is what it was when the store was marked clean."""
        return (data.st_size, data.st_mtime_ns) == (self.words[_FILE_SIZE], self.words[_FILE_TIME])

    def mark(self, state: int) -> None:
        """Durably, before anything else is written."""
        self.words[_STATE] = state
        self._sync()

    def mark_clean(self, data: os.stat_result) -> None:
        """Durably, after the data file was."""
        self.note(data)
        self.mark(CLEAN)

    def note(self, data: os.stat_result) -> None:
        """That the data file looks like this as long as nothing is written to it."""
        self.words[_FILE_SIZE], self.words[_FILE_TIME] = data.st_size, data.st_mtime_ns

    @property
    def compacting(self) -> bool:
        """Whether the data file is about to be replaced by a smaller one, or its replacement was interrupted."""
        return bool(self.words[_COMPACTING])

    def mark_compacting(self, on: bool) -> None:
        """Durably, before the data file is touched; or that it has been replaced."""
        if not on:  # the new file counts its transactions from one again
            self.words[_CHANGING] = 0
            self.will_be_replaced()
        self.words[_COMPACTING] = on
        self._sync()

    @property
    def replaced(self) -> int:
        """How often the data file has been replaced."""
        return self.words[_REPLACED]

    def will_be_replaced(self) -> None:
        """Before the data file is: from now on nobody writes to the old one, even if this process goes no further."""
        self.words[_REPLACED] += 1

    def ready(self, state: int | None, replaced: int) -> bool:
        """Whether the data file is the one that was there after so many, and is marked so (None: in any way)."""
        words = self.words
        return words[_REPLACED] == replaced and not words[_COMPACTING] and (state is None or words[_STATE] == state)

    def wrote(self, now: float) -> None:
        """Note the time of a write, in seconds since boot."""
        self.floats[_LAST_WRITE] = now

    def unused(self, transaction: int) -> bool:
        """Whether the counts are those of a transaction with this number that was not committed."""
        return self.words[_CHANGING] == transaction

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

    def begin(self, transaction: int) -> None:
        """Before a transaction with this number changes the counts; undoes those of one that was not committed."""
        if self.words[_CHANGING] == transaction:  # LMDB gives the number again if it was not used
            self._counts[:] = self._saved
        self.words[_CHANGING] = 0
        self._saved[:] = self._counts
        self.words[_CHANGING] = transaction

    def count(self, queue: int, entries: int, size: int) -> None:
        """Add to the counts of a queue; never below zero."""
        words, at = self.words, _COUNTS + 2 * queue
        words[at] = max(0, words[at] + entries)
        words[at + 1] = max(0, words[at + 1] + size)

    def counts(self, queue: int) -> tuple[int, int]:
        """Entries and bytes of a queue."""
        return self.words[_COUNTS + 2 * queue], self.words[_COUNTS + 2 * queue + 1]

    def reset_counts(self) -> None:
        """All to zero, to be counted anew."""
        self._counts[:] = bytes(_LENGTH)

    def close(self) -> None:
        """Let go of the page."""
        for view in (self.floats, self.words, self._saved, self._counts):
            view.release()
        self._bytes.release()
        self._map.close()

    def _sync(self) -> None:
        self._map.flush()
        os.fsync(self._descriptor)
