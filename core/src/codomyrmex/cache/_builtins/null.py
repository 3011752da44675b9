"""Plugin of the backend ``null``."""

from __future__ import annotations

from dataclasses import dataclass

from .._backend_request import BackendRequest
from .._clocks import process_clock
from .._driver import AnyBackend
from .._null import NullBackend
from ..hookspecs import hookimpl


@dataclass(frozen=True)
class NullOptions:
    """The backend ``null`` has no options of its own."""


@hookimpl
def create_backend(request: BackendRequest) -> AnyBackend:
    """Make a `NullBackend`."""
    request.parse(NullOptions)
    return NullBackend(request.clock or process_clock)
