"""Eviction policy ``gdsf`` of codomyrmex-cache: keeps what is used often, costs much and is small."""

from __future__ import annotations

from dataclasses import dataclass

from codomyrmex.cache import hookimpl
from codomyrmex.cache.eviction import PluginRequest
from codomyrmex.cache.options import option

from ._policy import Gdsf

__all__ = ["Gdsf", "GdsfOptions", "create_eviction_policy"]

codomyrmex_cache_api = 1


@dataclass(frozen=True, slots=True)
class GdsfOptions:
    """Options of the eviction policy ``gdsf``."""

    unknown_cost: float = option(1.0, kind="duration", help="Cost of a value of which nobody knows how long it took.")


@hookimpl
def create_eviction_policy(request: PluginRequest) -> Gdsf:
    """Make a `Gdsf`."""
    return Gdsf(request.parse(GdsfOptions).unknown_cost)
