"""`Ready`: whether a write needs nothing but its transaction.

Most writes find the store as the one before left it. What makes sure of that must not cost more than the write: a few
words are compared, of the page that all processes share and of the two pages that LMDB begins with. Whoever finds
anything else takes the long way (`Store.write`), which looks after it.
"""

from __future__ import annotations

import mmap
import os

from . import _boot, _folder
from ._control import Control

PAGE = 4096
_LARGEST = 2**16
"""Bytes of a value; what larger ones need beside their transaction is little to them."""
PATH_PAGES = 24
"""Pages that a transaction may need beside those for its values: the ways to the places where it writes."""
_SECONDS = 1.0
"""How long the data file is taken to be in its place after it was seen there."""
_LAST_PAGE = 17
"""Which word of each of LMDB's two first pages says what the last page in use is."""


class Ready:
    """What is compared, for one opening of a store.

    Args:
        control: The page that all processes share.
        data: Path of the data file.
        page_size: LMDB's.
        state: How the store must be marked before it may be written.

    Attributes:
        replaced: How often the data file had been replaced when it was opened.
        last: The last page that may be written without looking for room; -1 if none may be.
    """

    def __init__(self, control: Control, data: str, page_size: int, state: int) -> None:
        self._control = control
        self._state = state
        self.replaced = control.replaced
        self.last = -1
        self._until = 0.0
        self._second = page_size // 8 + _LAST_PAGE
        descriptor = _folder.read_file(data)
        try:
            self._map = mmap.mmap(descriptor, 2 * page_size, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map).cast("Q")

    def seen(self) -> None:
        """The data file has just been seen in its place."""
        self._until = _boot.since_boot() + _SECONDS

    def write(self, size: int) -> bool:
        """Whether a value of so many bytes can be written; the caller holds the gate, and does it at once."""
        now, words = _boot.since_boot(), self._words
        # The number of the last page never falls, so the higher one is the newer one.
        last = max(words[_LAST_PAGE], words[self._second])
        if (
            size > _LARGEST
            or now >= self._until
            or last + 1 + size // PAGE + PATH_PAGES > self.last
            or not self._control.ready(self._state, self.replaced)
        ):
            return False
        self._control.wrote(now)
        return True

    def close(self) -> None:
        """Let go of the pages."""
        self._words.release()
        self._map.close()
