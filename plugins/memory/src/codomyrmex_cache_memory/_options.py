"""Options of the backend ``in_memory``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from codomyrmex.cache.options import option


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """Options of the backend ``in_memory``."""

    max_entries: int | None = option(10_000, kind="count", optional=True, help="Most entries; none for no limit.")
    max_bytes: int | None = option(
        None, kind="size", optional=True, help="Most bytes of all values together; none for no limit."
    )
    sizer: Callable[[Any], int] | None = option(
        None, kind="object", optional=True, help="Function from a value to its bytes; none for an estimate."
    )
    copy: bool = option(
        False, kind="flag", help="Keep and return deep copies, so that nobody changes a stored value by accident."
    )
