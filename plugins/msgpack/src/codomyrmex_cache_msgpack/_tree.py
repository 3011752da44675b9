"""Between values and trees of what ormsgpack keeps exactly: atoms, lists, dicts with text as keys, and marks.

`lower` looks at every part of a value, puts what MessagePack doesn't have behind a mark and refuses what nobody keeps.
`build` goes the other way. ormsgpack could call us back for types that it doesn't know, which would be faster; but it
trusts the length that a list had before the call, and crashes if another thread has shortened the list meanwhile.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

from ormsgpack import Ext, packb

from codomyrmex.cache import CacheSerializationError

from . import _leaves, _registered
from . import _marks as marks
from ._marks import type_of

DEPTH: Final = 255
"""Deepest nesting, which is ormsgpack's own limit when it writes; what is read is written again to compare."""
ATOMS: Final[frozenset[type[Any]]] = frozenset({str, int, float, bool, type(None), bytes})
"""Types that ormsgpack keeps exactly and that hold nothing else."""
ATOMS_BUT_INT: Final[frozenset[type[Any]]] = ATOMS - {int}
"""For values in which there is an int beyond 64 bits: the others must be told from it one by one."""

_PLAIN: frozenset[type[Any]] = ATOMS | {list, dict}
_TEXT = frozenset({str})
_SORTABLE = frozenset({str, int, bytes})
_SETS: dict[type[Any], Ext] = {set: marks.SET, frozenset: marks.FROZENSET}


def is_plain(value: Any) -> bool:
    """Whether ormsgpack keeps a value exactly; for one that it has written, and which so has an end."""
    level = [value]
    while level:
        if not set(map(type, level)) <= _PLAIN:
            return False
        # All parts of one level in one call: several times as fast as a loop over them.
        level = gc.get_referents(*level)
    return True


def lower(value: Any, atoms: frozenset[type[Any]], depth: int = DEPTH) -> Any:
    """``value`` with every part that needs a mark behind one; the same object if none does.

    Args:
        value: Anything.
        atoms: `ATOMS` or `ATOMS_BUT_INT`.
        depth: How many levels may follow.

    Raises:
        CacheSerializationError: A part can't be kept, or is nested too deep.
    """
    kind = type_of(value)
    if kind in atoms:
        return value
    write = _leaves.WRITERS.get(kind)
    if write is not None:
        return write(value)
    if not depth:
        raise CacheSerializationError(f"msgpack refuses values nested deeper than {DEPTH}, or that hold themselves")
    if kind is dict:
        if _TEXT.issuperset(map(type, value)):
            return _lower_values(value, atoms, depth)
        return _lower_parts([marks.DICT, *chain.from_iterable(value.items())], 1, atoms, depth)
    if kind is list:
        # A copy: nobody else's thread can change it.
        return value if atoms.issuperset(map(type, value)) else _lower_parts(value.copy(), 0, atoms, depth)
    if kind is tuple:
        return _lower_parts([marks.TUPLE, *value], 1, atoms, depth)
    if kind in _SETS:
        return [_SETS[kind], *_sorted(_lower_parts([*value], 0, atoms, depth))]
    writer = _registered.writer_of(kind)
    return [marks.REGISTERED, writer.name, lower(writer.write(value), atoms, depth - 1)]


def _lower_values(value: dict[str, Any], atoms: frozenset[type[Any]], depth: int) -> dict[str, Any]:
    result = value
    for key, part in value.items():
        if type(part) not in atoms:
            lowered = lower(part, atoms, depth - 1)
            if lowered is not part:
                if result is value:
                    result = value.copy()
                result[key] = lowered
    return result


def _lower_parts(parts: list[Any], start: int, atoms: frozenset[type[Any]], depth: int) -> list[Any]:
    for number in range(start, len(parts)):
        part = parts[number]
        if type(part) not in atoms:
            parts[number] = lower(part, atoms, depth - 1)
    return parts


def _sorted(members: list[Any]) -> list[Any]:
    """The lowered members of a set, in an order that depends on nothing but them."""
    if len(members) > 1:
        kinds = set(map(type, members))
        members.sort(key=None if len(kinds) == 1 and kinds <= _SORTABLE else packb)
    return members


def build(node: Any) -> Any:
    """The value of a tree; its lists and dicts are used up.

    Raises:
        Exception: Of any kind, if it is the tree of no value.
    """
    kind = type_of(node)
    if kind is dict:
        for key, part in node.items():
            if type(part) not in ATOMS:
                node[key] = build(part)
        return node
    if kind is list:
        if node and type(node[0]) is Ext:
            mark = node[0]
            del node[0]
            holder = _HOLDERS.get(mark)
            return _leaves.read(mark, node) if holder is None else holder(node)
        return _build_parts(node)
    if kind in ATOMS:
        return node
    raise ValueError("a mark that begins no array")


def _build_parts(parts: list[Any]) -> list[Any]:
    for number, part in enumerate(parts):
        if type(part) not in ATOMS:
            parts[number] = build(part)
    return parts


def _read_set(parts: list[Any]) -> set[Any]:
    if _sorted(parts.copy()) != parts:
        raise ValueError("a set in another order")
    found = set(_build_parts(parts))
    if len(found) != len(parts):
        raise ValueError("two equal members")
    return found


def _read_dict(parts: list[Any]) -> dict[Any, Any]:
    keys = _build_parts(parts)[::2]
    found = dict(zip(keys, parts[1::2], strict=True))
    if len(found) != len(keys):
        raise ValueError("two equal keys")
    if _TEXT.issuperset(map(type, keys)):
        raise ValueError("a dict that needs no mark")
    return found


_HOLDERS: dict[Ext, Callable[[list[Any]], Any]] = {
    marks.TUPLE: lambda parts: tuple(_build_parts(parts)),
    marks.SET: _read_set,
    marks.FROZENSET: lambda parts: frozenset(_read_set(parts)),
    marks.DICT: _read_dict,
    marks.REGISTERED: lambda parts: _registered.read(*_build_parts(parts)),
}
"""By mark: how the values that hold others are built from the trees of these."""
