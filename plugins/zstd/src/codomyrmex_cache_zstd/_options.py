"""Options of the stage ``zstd``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from codomyrmex.cache.options import option

LEVELS: Final = 22
"""The highest level that zstd knows."""


@dataclass(frozen=True, slots=True)
class ZstdOptions:
    """Options of the stage ``zstd``."""

    threshold: int = option(1024, kind="size", help="What is smaller stays as it is.")
    level: int = option(1, kind="count", help="From 1, fast, to 22, small.")
    max_size: int = option(256 * 2**20, kind="size", help="What would open to more is neither opened nor compressed.")
