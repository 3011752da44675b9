"""What a ``create_*`` hook receives: who asks, with which options, and what the core lends to the thing created."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from . import options as _options
from ._clocks import Clock
from ._events import Emit
from ._stats import Recorder
from .errors import CacheConfigError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from .eviction import EvictionPolicy

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRequest:
    """Base of all requests; a serializer and an eviction policy are created from one.

    Attributes:
        name: The name by which the plugin was chosen.
        cache: Name of the cache it is for.
        options: Options as the user wrote them; `parse` checks and converts them.
    """

    name: str
    cache: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    known: tuple[str, ...] = ()
    """Options that the core has checked already, for error messages."""

    def parse(self, schema: type[T]) -> T:
        """``options`` as an instance of ``schema``, a dataclass of `codomyrmex.cache.options.option` fields.

        Raises:
            CacheConfigError: An option is unknown, missing or malformed.
        """
        where = f"cache {self.cache!r} ({self.name})"
        return _options.parse(schema, self.options, where=where, known=self.known, cache=self.cache)

    def refuse(self, message: str) -> CacheConfigError:
        """An error for options that contradict each other, to be raised by the plugin."""
        return CacheConfigError(f"cache {self.cache!r} ({self.name}): {message}", cache=self.cache)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRequest(PluginRequest):
    """What ``create_backend`` and ``create_async_backend`` receive.

    Attributes:
        url: The URL that named the backend, split; None if a plain name did.
        clock: The caller's own clock in place of the driver's, in seconds; None for the driver's.
        recorder: Counters; a bounded driver counts ``evictions`` and ``expirations`` here.
        emit: Reports removals to the listeners, to be called without holding a lock; None if nobody listens.
    """

    url: SplitResult | None = None
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
