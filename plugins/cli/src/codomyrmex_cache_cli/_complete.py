"""What a shell completes beyond commands and options: names of caches and of backends."""

from __future__ import annotations

from typing import Any

import typer

from codomyrmex.cache import CacheError, CacheManager


def caches(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the caches of the config that the line names, or the environment."""
    with _manager(context) as manager:
        return [name for name in manager.list_caches() if name.startswith(incomplete)]


def backends(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the backends that are installed."""
    with _manager(context) as manager:
        names = {info.name for info in manager.plugins() if info.kind == "backends"}
    return sorted(name for name in names if name.startswith(incomplete))


def _manager(context: typer.Context) -> CacheManager:
    config: Any = context.params.get("config")
    try:
        return CacheManager(config, exporting=False)
    except CacheError:  # a shell that waits for words is no place for messages
        return CacheManager({}, environ={})
