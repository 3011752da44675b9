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
from collections.abc import Callable
from typing import NamedTuple

from ._errors import Damaged

_META = struct.Struct("<IIQQ")
TREE = struct.Struct("<IHHQQQQQ")
_TAIL = struct.Struct("<QQ")
PAGE = struct.Struct("<QHHHH")
NODE = struct.Struct("<HHHH")
NUMBER = struct.Struct("<Q")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
HEADER = 16
NO_PAGE = 2**64 - 1
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_INTEGER_KEYS = 8
_LONGEST_KEY = 511
BIG, _SUBTREE = 1, 2
_DEEPEST = 32
_MOST_LISTED = 2**24
"""Bytes of a record of free pages that are looked at; other values are not looked at at all."""


class Tree(NamedTuple):
    pad: int
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    large_pages: int
    entries: int
    root: int


class Meta(NamedTuple):
    page_size: int
    free: Tree
    main: Tree
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
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            newest = read_meta(data)
            if newest.last >= size // newest.page_size:
                raise Damaged("the file is cut")
            if pages:
                _Walk(data, newest).run()


def read_meta(data: mmap.mmap) -> Meta:
    """What stands on the newer one of the two pages that LMDB begins with."""
    first = _meta(data[: HEADER + 152], 0)
    second = _meta(data[first.page_size : first.page_size + HEADER + 152], first.page_size)
    # LMDB takes the page by the number of the transaction, not by what the page says.
    numbers = first.transaction, second.transaction
    if numbers != (0, 0) and (numbers[0] % 2 or not numbers[1] % 2 or abs(numbers[0] - numbers[1]) != 1):
        raise Damaged("the first two pages don't belong together")
    return first if numbers[0] >= numbers[1] else second


def _meta(data: bytes, at: int) -> Meta:
    if len(data) < HEADER + 152:
        raise Damaged("the file is cut")
    magic, version, _, _ = _META.unpack_from(data, HEADER)
    free = Tree(*TREE.unpack_from(data, HEADER + 24))
    main = Tree(*TREE.unpack_from(data, HEADER + 72))
    last, transaction = _TAIL.unpack_from(data, HEADER + 120)
    page_size = free.pad
    if (magic, version) != (_MAGIC, _VERSION) or page_size not in (4096, 8192, 16384, 32768, 65536):
        raise Damaged(f"no LMDB page at {at}")
    return Meta(page_size, free, main, last, transaction)


class _Walk:
    """One walk over all pages.

    Args:
        data: The file.
        meta: Where it begins.
    """

    def __init__(self, data: mmap.mmap, meta: Meta) -> None:
        self._data = data
        self._size = meta.page_size
        self._meta = meta
        self._seen = bytearray(meta.last + 1)
        self._seen[0] = self._seen[min(1, meta.last)] = 1
        self._found = [0, 0, 0, 0]
        """Branch pages, leaf pages, pages of large values and entries of the tree that is being walked."""

    def run(self) -> None:
        """Look at everything; raises `Damaged`."""
        free: list[bytes] = []

        def free_pages(key: bytes, node: int) -> None:
            if len(key) != NUMBER.size or not 0 < NUMBER.unpack(key)[0] <= self._meta.transaction:
                raise Damaged("a record of free pages has a wrong key")
            free.append(self._value(node))

        def table(_: bytes, node: int) -> None:
            tree = self._value(node)
            if NODE.unpack_from(self._data, node)[2] & _SUBTREE:
                if len(tree) != TREE.size:
                    raise Damaged("a table is cut")
                self._walk(Tree(*TREE.unpack(tree)), 0, lambda _, node: self._skip(node))

        self._walk(self._meta.free, _INTEGER_KEYS, free_pages)
        self._walk(self._meta.main, 0, table)
        for pages in free:
            self._check_free(pages)

    def _take(self, number: int, count: int = 1) -> None:
        """These pages are in use, by one only."""
        if number < 2 or number + count - 1 > self._meta.last or any(self._seen[number : number + count]):
            raise Damaged(f"page {number} is not where it can be, or is used twice")
        self._seen[number : number + count] = b"\1" * count

    def _walk(self, tree: Tree, flags: int, leaf: Callable[[bytes, int], None]) -> None:
        """Look at the pages of a tree, and call ``leaf`` with key and node of each entry."""
        before, self._found = self._found, [0, 0, 0, 0]
        if tree.flags != flags:
            raise Damaged("a table of another kind")
        if tree.root != NO_PAGE:
            if not 1 <= tree.depth <= _DEEPEST:
                raise Damaged("a tree of impossible depth")
            self._below(tree.root, tree.depth, leaf)
        elif tree.depth:
            raise Damaged("a tree without a root")
        if self._found != [tree.branch_pages, tree.leaf_pages, tree.large_pages, tree.entries]:
            raise Damaged("a tree has not as many pages or entries as it says")
        self._found = before

    def _below(self, number: int, depth: int, leaf: Callable[[bytes, int], None]) -> None:
        self._take(number)
        data = self._data
        start = number * self._size
        own, _, flags, lower, upper = PAGE.unpack_from(data, start)
        last = depth == 1
        if own != number or flags != (_LEAF if last else _BRANCH):
            raise Damaged(f"page {number} is not what its tree says")
        if not HEADER <= lower <= upper <= self._size or lower % 2:
            raise Damaged(f"page {number} has impossible bounds")
        count = (lower - HEADER) // 2
        if count < (1 if last else 2):
            raise Damaged(f"page {number} is empty")
        self._found[1 if last else 0] += 1
        if last:
            self._found[3] += count
        before = b""
        used = 0
        for index, offset in enumerate(struct.unpack_from(f"<{count}H", data, start + HEADER)):
            if not upper <= offset <= self._size - NODE.size or offset % 2:
                raise Damaged(f"page {number} has an entry outside of it")
            node = start + offset
            low, high, node_flags, length = NODE.unpack_from(data, node)
            key = data[node + NODE.size : node + NODE.size + length]
            big = node_flags & BIG
            inline = 0 if not last else NUMBER.size if big else low | high << 16
            size = NODE.size + length + inline
            used += size + size % 2
            if offset + size > self._size:
                raise Damaged(f"page {number} has an entry that ends outside of it")
            if length > _LONGEST_KEY or (last and (not length or node_flags & ~(BIG | _SUBTREE))):
                raise Damaged(f"page {number} has an entry of no kind")
            if last:
                leaf(key, node)
            else:
                self._below(low | high << 16 | node_flags << 32, depth - 1, leaf)
            # Numbers of free pages are in another order than bytes; the first key of a branch is empty.
            if index > (0 if last else 1) and length != NUMBER.size and key <= before:
                raise Damaged(f"page {number} is out of order")
            before = key
        if used > self._size - upper:
            raise Damaged(f"page {number} has entries one over the other")

    def _skip(self, node: int) -> None:
        """Look at the pages of a value, if it has any of its own."""
        if self._data[node + 4] & BIG:
            self._value(node)

    def _value(self, node: int) -> bytes:
        low, high, flags, length = NODE.unpack_from(self._data, node)
        size = low | high << 16
        at = node + NODE.size + length
        if not flags & BIG:
            return self._data[at : at + size]
        number = NUMBER.unpack_from(self._data, at)[0]
        count = (HEADER + size + self._size - 1) // self._size
        self._take(number, count)
        start = number * self._size
        own, _, kind, pages = struct.unpack_from("<QHHI", self._data, start)
        if own != number or kind != _OVERFLOW or pages < count:
            raise Damaged(f"page {number} is not the large value that it should be")
        self._found[2] += pages
        if pages > count:
            self._take(number + count, pages - count)
        return self._data[start + HEADER : start + HEADER + min(size, _MOST_LISTED)]

    def _check_free(self, pages: bytes) -> None:
        count = len(pages) // NUMBER.size
        numbers = struct.unpack_from(f"<{count}Q", pages)
        if not numbers or numbers[0] > count - 1:
            raise Damaged("a record of free pages is cut")
        listed = numbers[1 : numbers[0] + 1]
        if any(one <= two for one, two in itertools.pairwise(listed)):
            raise Damaged("free pages are out of order")
        for number in listed:
            self._take(number)
