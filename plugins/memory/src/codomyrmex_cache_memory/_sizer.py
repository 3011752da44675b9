"""How many bytes a value counts for, where ``max_bytes`` is set."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any

from codomyrmex.cache.errors import CacheConfigError

_CONTAINERS = (list, tuple, set, frozenset)
_MOST_OBJECTS = 10_000
"""Objects looked at in one value; a larger one is extrapolated from them."""


def checked(sizer: Callable[[Any], Any]) -> Callable[[Any], int]:
    """The user's ``sizer``; sizes that are none would let the cache grow without an end."""

    def size(value: Any) -> int:
        found = sizer(value)
        try:
            if (number := operator.index(found)) >= 0:
                return number
            said = str(number)
        except TypeError:
            said = f"a {type(found).__name__}"
        raise CacheConfigError(
            f"option 'sizer': it gave {said} for a value of type {type(value).__name__}; let it return the "
            "value's size in bytes, a whole number of 0 or more",
            backend="in_memory",
        )

    return size


def estimate(value: Any) -> int:
    """Bytes of ``value`` and of what builtin containers and ``__dict__`` in it hold, each object once.

    For values of more than 10,000 objects it is an extrapolation, so that storing a huge one doesn't take for ever.
    """
    total = 0
    seen: set[int] = set()
    waiting = [value]
    while waiting and len(seen) < _MOST_OBJECTS:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        total += sys.getsizeof(item)
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, _CONTAINERS):
            waiting += item
        elif hasattr(item, "__dict__"):
            waiting.append(vars(item))
    if waiting:
        inside = total - sys.getsizeof(value)  # of the content: a long list's own size says nothing of its items
        total += len(waiting) * inside // (len(seen) - 1)
    return total
