"""Plugins of the eviction policies ``sieve``, ``lru``, ``fifo`` and ``none``."""

from __future__ import annotations

from dataclasses import dataclass

from .._policies import Fifo, Lru, Refuse, Sieve
from .._request import PluginRequest
from ..eviction import EvictionPolicy
from ..hookspecs import hookimpl


@dataclass(frozen=True)
class NoOptions:
    """These policies have no options."""


class PolicyPlugin:
    """One policy as a plugin.

    Args:
        policy: Its class.
    """

    def __init__(self, policy: type[EvictionPolicy]) -> None:
        self._policy = policy

    @hookimpl
    def create_eviction_policy(self, request: PluginRequest) -> EvictionPolicy:
        """Make one."""
        request.parse(NoOptions)
        return self._policy()


sieve = PolicyPlugin(Sieve)
lru = PolicyPlugin(Lru)
fifo = PolicyPlugin(Fifo)
none = PolicyPlugin(Refuse)
