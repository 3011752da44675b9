"""Options of the backend ``file_based``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codomyrmex.cache.options import option


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What a cache on ``file_based`` may be told, beside the settings of every cache."""

    path: str | None = option(
        None,
        kind="path",
        optional=True,
        help="Directory in which the cache makes one of its own, for its owner only; None: the user's.",
    )
    max_bytes: int = option(2**30, kind="size", help="Largest size of the store on the disk, 1 MiB or more.")
    max_entries: int | None = option(None, kind="count", optional=True, help="Most entries.")
    durability: Literal["process", "disk"] = option(
        "process",
        kind="choice",
        choices=("process", "disk"),
        help="What a write survives as soon as it returns: the end of the process, or a power cut.",
    )
    timeout: float = option(1.0, kind="duration", help="Longest wait for another process that writes.")


def default_path() -> str:
    """Where caches without a path are kept: in the user's cache directory."""
    import platformdirs

    return platformdirs.user_cache_dir("codomyrmex-cache", appauthor=False)
