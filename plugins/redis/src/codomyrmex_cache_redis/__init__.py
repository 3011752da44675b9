"""Backend ``redis``: Redis and Valkey, shared by machines, synchronous and asynchronous."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codomyrmex.cache import hookimpl
from codomyrmex.cache.backend import BackendRequest

from ._backend import RedisBackend
from ._clock import clock_of
from ._options import RedisOptions, Server, server_of

if TYPE_CHECKING:
    from ._async_backend import AsyncRedisBackend

__all__ = ["RedisBackend", "RedisOptions", "Server", "create_async_backend", "create_backend"]


@hookimpl
def create_backend(request: BackendRequest) -> RedisBackend:
    """Make a `RedisBackend`; it connects when first used."""
    options = request.parse(RedisOptions)
    server = server_of(request, options)
    return RedisBackend(server, options.prefix, clock_of(str(server)), request.clock)


@hookimpl
def create_async_backend(request: BackendRequest) -> AsyncRedisBackend:
    """Make an `AsyncRedisBackend`; it connects when first used."""
    from ._async_backend import AsyncRedisBackend  # brings asyncio, which nobody else here needs

    options = request.parse(RedisOptions)
    server = server_of(request, options)
    return AsyncRedisBackend(server, options.prefix, clock_of(str(server)), request.clock)
