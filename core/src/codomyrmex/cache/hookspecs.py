"""The hooks, as a table. A plugin implements those it needs with `codomyrmex.cache.hookimpl`.

Hooks create things and report events; none is called for a ``get``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from ._backend_request import BackendRequest
from ._events import Removal
from ._request import PluginRequest
from ._stats import CacheStats
from .observing import Observer, ObserverRequest

if TYPE_CHECKING:
    from ._driver import AnyAsyncBackend, AnyBackend
    from .eviction import EvictionPolicy
    from .serializers import Serializer, Transform

PROJECT = "codomyrmex.cache"
API_VERSION = 1
"""Version of these hooks; a plugin made for another one says so in its attribute ``codomyrmex_cache_api``."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def create_backend(request: BackendRequest) -> AnyBackend | None:
    """Make the storage driver of one cache."""


@hookspec(firstresult=True)
def create_async_backend(request: BackendRequest) -> AnyAsyncBackend | None:
    """Make the asynchronous driver of one cache; without one, `AsyncCache` uses the synchronous driver."""


@hookspec(firstresult=True)
def create_serializer(request: PluginRequest) -> Serializer | Transform | None:
    """Make one stage of a serializer pipeline."""


@hookspec(firstresult=True)
def create_eviction_policy(request: PluginRequest) -> EvictionPolicy | None:
    """Make the eviction policy of one cache."""


@hookspec(firstresult=True)
def create_observer(request: ObserverRequest) -> Observer | None:
    """Make what is told of each call of one cache's driver, and of each load."""


@hookspec
def export_stats(snapshots: Mapping[str, CacheStats], options: Any) -> None:
    """Send the statistics of every open cache, by name, somewhere; ``snapshots`` may be kept, and is read anew.

    ``options`` is an instance of the plugin's ``exporter_options``, or what the user wrote if it has no such class.
    """


@hookspec
def on_evict(event: Removal) -> None:
    """An entry left a cache: capacity, expired, replaced, deleted or cleared."""
