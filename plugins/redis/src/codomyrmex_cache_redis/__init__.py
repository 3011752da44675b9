"""Backend ``redis``: Redis and Valkey, shared by machines, synchronous and asynchronous."""

from __future__ import annotations

from codomyrmex.cache import hookimpl
from codomyrmex.cache.backend import BackendRequest

from ._backend import RedisBackend
from ._clock import clock_of
from ._options import RedisOptions, Server, server_of

__all__ = ["RedisBackend", "RedisOptions", "Server", "create_backend"]


@hookimpl
def create_backend(request: BackendRequest) -> RedisBackend:
    """Make a `RedisBackend`; it connects when first used."""
    options = request.parse(RedisOptions)
    server = server_of(request, options)
    return RedisBackend(server, options.prefix, clock_of(str(server)), request.clock)
