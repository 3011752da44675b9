"""A look at every page of an LMDB file, before LMDB itself sees it.

LMDB trusts its file: a page that is not what another page says it is ends the process, not the call. So a file that may
have been damaged is walked first, from both of its roots, by code that trusts nothing. Source of the layout: ``mdb.c``
and ``midl.h`` of LMDB 0.9.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ._errors import Damaged

_META = struct.Struct("<IIQQ")
_TREE = struct.Struct("<IHHQQQQQ")
_TAIL = struct.Struct("<QQ")
_PAGE = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")
_NUMBER = struct.Struct("<Q")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_HEADER = 16
_NONE = 2**64 - 1
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG, _SUBTREE = 1, 2
_DEEPEST = 32
_MOST_LISTED = 2**24
"""Bytes of a record of free pages that are looked at; other values are not looked at at all."""


class _Tree(NamedTuple):
    depth: int
    root: int


class _Meta(NamedTuple):
    page_size: int
    free: _Tree
    main: _Tree
    last: int
    transaction: int


def verify(path: str, *, pages: bool) -> None:
    """Check an LMDB data file.

    Args:
        path: The file.
        pages: Look at every page, not only at the two that LMDB begins with.

    Raises:
        Damaged: Something is wrong.
        OSError: It can't be read.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            return  # LMDB begins anew
        metas = [_meta(file.read(_HEADER + 152), 0)]
        file.seek(metas[0].page_size)
        metas.append(_meta(file.read(_HEADER + 152), metas[0].page_size))
        newest = max(metas, key=lambda meta: meta.transaction)
        if newest.last >= size // newest.page_size:
            raise Damaged("the file is cut")
        if pages:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _Walk(data, newest).run()


def _meta(data: bytes, at: int) -> _Meta:
    if len(data) < _HEADER + 152:
        raise Damaged("the file is cut")
    magic, version, _, _ = _META.unpack_from(data, _HEADER)
    free = _TREE.unpack_from(data, _HEADER + 24)
    main = _TREE.unpack_from(data, _HEADER + 72)
    last, transaction = _TAIL.unpack_from(data, _HEADER + 120)
    page_size = free[0]
    if (magic, version) != (_MAGIC, _VERSION) or page_size not in (4096, 8192, 16384, 32768, 65536):
        raise Damaged(f"no LMDB page at {at}")
    return _Meta(page_size, _Tree(free[2], free[7]), _Tree(main[2], main[7]), last, transaction)


class _Walk:
    """One walk over all pages.

    Args:
        data: The file.
        meta: Where it begins.
    """

    def __init__(self, data: mmap.mmap, meta: _Meta) -> None:
        self._data = data
        self._size = meta.page_size
        self._meta = meta
        self._seen = bytearray(meta.last + 1)
        self._seen[0] = self._seen[min(1, meta.last)] = 1

    def run(self) -> None:
        """Look at everything; raises `Damaged`."""
        free: list[bytes] = []
        for key, node in self._leaves(self._meta.free):
            if len(key) != _NUMBER.size:
                raise Damaged("a record of free pages has a wrong key")
            free.append(self._value(node))
        for _, node in self._leaves(self._meta.main):
            if _NODE.unpack_from(self._data, node)[2] & _SUBTREE:
                tree = _TREE.unpack_from(self._value(node))
                for _, inner in self._leaves(_Tree(tree[2], tree[7])):
                    self._value(inner)
        for pages in free:
            self._check_free(pages)

    def _take(self, number: int, count: int = 1) -> None:
        """These pages are in use, by one only."""
        if number < 2 or number + count - 1 > self._meta.last or any(self._seen[number : number + count]):
            raise Damaged(f"page {number} is not where it can be, or is used twice")
        self._seen[number : number + count] = b"\1" * count

    def _leaves(self, tree: _Tree) -> Iterator[tuple[bytes, int]]:
        if tree.root == _NONE:
            return
        if not 1 <= tree.depth <= _DEEPEST:
            raise Damaged("a tree of impossible depth")
        yield from self._below(tree.root, tree.depth)

    def _below(self, number: int, depth: int) -> Iterator[tuple[bytes, int]]:
        self._take(number)
        start = number * self._size
        own, _, flags, lower, upper = _PAGE.unpack_from(self._data, start)
        leaf = depth == 1
        if own != number or flags & 0xF != (_LEAF if leaf else _BRANCH):
            raise Damaged(f"page {number} is not what its tree says")
        if not _HEADER <= lower <= upper <= self._size or lower % 2:
            raise Damaged(f"page {number} has impossible bounds")
        before = b""
        count = (lower - _HEADER) // 2
        if count < (1 if leaf else 2):
            raise Damaged(f"page {number} is empty")
        for index in range(count):
            offset = int.from_bytes(self._data[start + _HEADER + 2 * index : start + _HEADER + 2 * index + 2], "little")
            if not upper <= offset <= self._size - _NODE.size:
                raise Damaged(f"page {number} has an entry outside of it")
            node = start + offset
            low, high, node_flags, length = _NODE.unpack_from(self._data, node)
            key = self._data[node + _NODE.size : node + _NODE.size + length]
            big = node_flags & _BIG
            inline = 0 if not leaf else _NUMBER.size if big else low | high << 16
            if offset + _NODE.size + length + inline > self._size:
                raise Damaged(f"page {number} has an entry that ends outside of it")
            if leaf:
                yield key, node
            else:
                yield from self._below(low | high << 16 | node_flags << 32, depth - 1)
            # Numbers of free pages are in another order than bytes; the first key of a branch is empty.
            if index > (0 if leaf else 1) and length != _NUMBER.size and key <= before:
                raise Damaged(f"page {number} is out of order")
            before = key

    def _value(self, node: int) -> bytes:
        low, high, flags, length = _NODE.unpack_from(self._data, node)
        size = low | high << 16
        at = node + _NODE.size + length
        if not flags & _BIG:
            return self._data[at : at + size]
        number = _NUMBER.unpack_from(self._data, at)[0]
        count = (_HEADER + size + self._size - 1) // self._size
        self._take(number, count)
        start = number * self._size
        own, _, kind, pages = struct.unpack_from("<QHHI", self._data, start)
        if own != number or kind & 0xF != _OVERFLOW or pages < count:
            raise Damaged(f"page {number} is not the large value that it should be")
        if pages > count:
            self._take(number + count, pages - count)
        return self._data[start + _HEADER : start + _HEADER + min(size, _MOST_LISTED)]

    def _check_free(self, pages: bytes) -> None:
        count = len(pages) // _NUMBER.size
        numbers = struct.unpack_from(f"<{count}Q", pages)
        if not numbers or numbers[0] > count - 1:
            raise Damaged("a record of free pages is cut")
        listed = numbers[1 : numbers[0] + 1]
        if any(one <= two for one, two in itertools.pairwise(listed)):
            raise Damaged("free pages are out of order")
        for number in listed:
            self._take(number)
