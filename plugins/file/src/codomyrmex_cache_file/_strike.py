"""Striking out records where they stand, for removals that find no room.

LMDB never writes over a page that is in use, so removing an entry takes pages; when there are none, not on the disk or
because a reader that is stuck keeps them all, no transaction can remove anything. A removal must not fail for that: the
header of the record is overwritten in the file, by 64 bytes that no reader takes for a record. What is struck out is a
miss at once, in all processes; its room is given back when it is evicted, expires or is written again.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterable

from codomyrmex.cache.backend import HEADER_SIZE

from ._errors import Damaged
from ._verify import BIG, HEADER, NO_PAGE, NODE, NUMBER, PAGE, TREE, Tree, read_meta

_STRUCK = struct.pack("<24xd32x", math.nan)
"""No format, no version, no lease, and a time that is none."""
assert len(_STRUCK) == HEADER_SIZE


def strike(path: str, table: bytes, keys: Iterable[bytes]) -> None:
    """Strike out the records of ``keys``; the caller holds the gate.

    Args:
        path: The data file.
        table: Name of the table.
        keys: Stored keys.

    Raises:
        OSError: It can't be written.
        Damaged: The file is not what LMDB would have written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
            meta = read_meta(data)
            at, _ = _find(data, meta.page_size, meta.main, table)
            tree = Tree(*TREE.unpack_from(data, at)) if at else meta.main
            for key in keys:
                at, size = _find(data, meta.page_size, tree, key)
                if at:
                    os.pwrite(descriptor, _STRUCK[:size], at)
    except (struct.error, IndexError) as error:
        raise Damaged("the way to an entry leads out of the file") from error
    finally:
        os.close(descriptor)


def _find(data: mmap.mmap, page_size: int, tree: Tree, key: bytes) -> tuple[int, int]:
    """Where in the file the value of ``key`` begins, and its size; zeros if there is none."""
    number = tree.root
    for depth in range(tree.depth if number != NO_PAGE else 0, 0, -1):
        start = number * page_size
        count = (PAGE.unpack_from(data, start)[3] - HEADER) // 2
        for index, offset in enumerate(struct.unpack_from(f"<{count}H", data, start + HEADER)):
            low, high, flags, length = NODE.unpack_from(data, start + offset)
            at = start + offset + NODE.size
            own, at = data[at : at + length], at + length
            if depth > 1:
                if index and own > key:
                    break
                number = low | high << 16 | flags << 32  # the first key of a branch is empty: below all others
            elif own == key:
                size = low | high << 16
                return (NUMBER.unpack_from(data, at)[0] * page_size + HEADER if flags & BIG else at), size
    return 0, 0
