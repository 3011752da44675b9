"""A cache with pluggable backends, serializers, eviction policies and exporters.

    from codomyrmex.cache import get_cache

    cache = get_cache("my_cache")
    cache.set("key", {"data": "value"}, ttl=300)
    cache.get("key")

Each name below is imported when first used, so that ``import codomyrmex.cache`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._async_cache import AsyncCache, AsyncNamespacedCache
    from ._cache import Cache, NamespacedCache
    from ._explain import Explanation
    from ._load_context import LoadContext
    from ._manager import CacheManager, configure, get_async_cache, get_cache
    from ._plugins import PluginInfo
    from ._stats import CacheStats
    from ._ttl import TTLManager
    from .errors import (
        CacheConfigError,
        CacheConnectionError,
        CacheError,
        CacheExpiredError,
        CacheFullError,
        CacheInvalidationError,
        CacheKeyError,
        CachePluginError,
        CacheSerializationError,
    )
    from .hookspecs import hookimpl

__all__ = [
    "AsyncCache",
    "AsyncNamespacedCache",
    "Cache",
    "CacheConfigError",
    "CacheConnectionError",
    "CacheError",
    "CacheExpiredError",
    "CacheFullError",
    "CacheInvalidationError",
    "CacheKeyError",
    "CacheManager",
    "CachePluginError",
    "CacheSerializationError",
    "CacheStats",
    "Explanation",
    "LoadContext",
    "NamespacedCache",
    "PluginInfo",
    "TTLManager",
    "configure",
    "get_async_cache",
    "get_cache",
    "hookimpl",
]

_HOME = {
    "AsyncCache": "_async_cache",
    "AsyncNamespacedCache": "_async_cache",
    "Cache": "_cache",
    "CacheManager": "_manager",
    "CacheStats": "_stats",
    "Explanation": "_explain",
    "LoadContext": "_load_context",
    "NamespacedCache": "_cache",
    "PluginInfo": "_plugins",
    "TTLManager": "_ttl",
    "configure": "_manager",
    "get_async_cache": "_manager",
    "get_cache": "_manager",
    "hookimpl": "hookspecs",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name, "errors" if name in __all__ else None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(importlib.import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
