"""What ``create_backend`` and ``create_async_backend`` receive: beside the options, what the core lends to a driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._clocks import Clock
from ._events import Emit
from ._request import PluginRequest
from ._stats import Recorder
from .eviction import EvictionPolicy

if TYPE_CHECKING:
    from urllib.parse import SplitResult


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRequest(PluginRequest):
    """What ``create_backend`` and ``create_async_backend`` receive.

    Attributes:
        url: The URL that named the backend, split; None if a plain name did.
        clock: The caller's own clock in place of the driver's, in seconds; None for the driver's.
        recorder: Counters; a driver counts ``evictions`` here, and the ``expirations`` that no `purge` returns.
        emit: Reports removals to the listeners, to be called without holding a lock; None if nobody listens.
    """

    url: SplitResult | None = field(default=None, repr=False)
    clock: Clock | None = None
    recorder: Recorder = field(default_factory=Recorder)
    emit: Emit | None = None
    make_policy: Callable[[str], EvictionPolicy] | None = None
    """How `eviction_policy` makes one."""

    def eviction_policy(self, default: str) -> EvictionPolicy:
        """The policy that the cache's ``eviction`` setting names, or the one called ``default``.

        Raises:
            CachePluginError: There is no such policy.
        """
        if self.make_policy is None:
            raise self.refuse("no eviction policy can be made here: create the backend through a CacheManager")
        return self.make_policy(default)
