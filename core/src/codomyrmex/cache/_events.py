"""Removals on their way to the listeners (``on_evict``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias


class Cause(StrEnum):
    """Why an entry was removed."""

    CAPACITY = "capacity"
    EXPIRED = "expired"
    REPLACED = "replaced"
    DELETED = "deleted"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Removal:
    """One entry that left a cache.

    Attributes:
        cache: Name of the cache.
        key: The user's key.
        cause: Why it left.
        value: The object, from drivers that hold objects; None from others. Not part of the repr.
    """

    cache: str
    key: str
    cause: Cause
    value: Any = field(default=None, repr=False)


Emit: TypeAlias = Callable[[Iterable[tuple[str, Cause, Any]]], None]
"""Takes (storage key, cause, value) triples."""


def emitter(cache: str, prefix: str, listeners: tuple[Callable[[Removal], None], ...]) -> Emit:
    """Make the function that turns storage keys back into the user's and calls every listener."""

    def emit(removals: Iterable[tuple[str, Cause, Any]]) -> None:
        for key, cause, value in removals:
            event = Removal(cache, key[len(prefix) :], cause, value)
            for listener in listeners:
                listener(event)

    return emit
