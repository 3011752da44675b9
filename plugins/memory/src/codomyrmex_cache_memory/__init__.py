"""Backend ``in_memory`` (alias ``memory``): a dict in this process, bounded, whose reads take no lock."""

from __future__ import annotations

from codomyrmex.cache import hookimpl
from codomyrmex.cache.backend import BackendRequest

from ._backend import MemoryBackend
from ._options import MemoryOptions

__all__ = ["MemoryBackend", "MemoryOptions", "create_backend"]


@hookimpl
def create_backend(request: BackendRequest) -> MemoryBackend:
    """Make a `MemoryBackend`."""
    return MemoryBackend.from_request(request)
