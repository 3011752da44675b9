"""What the views of one cache share: names, codec, lifetimes, counters, and whether its backend answers."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ._background import Background
from ._codec import Codec
from ._flights import Flights
from ._keys import Keys, show
from ._record import Record
from ._stats import Recorder
from ._ttl import TTLManager
from .errors import CacheConnectionError, CacheError, CacheSerializationError

if TYPE_CHECKING:
    import logging

    from ._observed import Observers

OnError: TypeAlias = Literal["raise", "degrade"]

PATIENCE = 5.0
"""Seconds that `close` waits for loads in the background; what they bring later is not stored."""


class Store:
    """The state behind `Cache`, `AsyncCache` and their namespaces.

    Args:
        backend: Name of the backend, for messages.
        keys: Where keys are kept; knows the cache's name.
        codec: Between records and what the driver stores.
        ttl: Lifetimes, and the clock.
        recorder: Counters.
        on_error: What a read or write does when the backend fails.
        ready: Whether the driver needs no `open`.
        lease: Seconds that a load may take before somebody else begins another.
        retry_after: Seconds after a failed load for which a kept value is served without another.
        observers: Who is told of loads; None for nobody.
        random_bits: Returns 64 random bits as an int; makes versions and tokens.
    """

    def __init__(
        self,
        *,
        backend: str,
        keys: Keys,
        codec: Codec,
        ttl: TTLManager,
        recorder: Recorder,
        on_error: OnError = "raise",
        ready: bool = True,
        lease: float = 30.0,
        retry_after: float = 10.0,
        observers: Observers | None = None,
        random_bits: Callable[[], int] | None = None,
    ) -> None:
        self.name = keys.cache
        self.backend = backend
        self.keys = keys
        self.codec = codec
        self.ttl = ttl
        self.recorder = recorder
        self.on_error = on_error
        self.tagged = False
        """Whether this process has met a tagged record: until then reads need not ask for markers."""
        self.ready = ready
        """Whether times can be told: a driver whose clock is a server's has to be opened first."""
        self.closed = False
        """Whether nothing may be asked any more."""
        self.down = False
        """Whether the backend failed when it was last asked."""
        self.outages = 0
        """How many times the backend has failed and come back."""
        self.flights = Flights()
        """What is being loaded."""
        self.background = Background()
        """What is being loaded without a caller."""
        self.lease = lease
        self.retry_after = retry_after
        self.observers = observers
        self.when_closed: Callable[[bool], None] | None = None
        self.async_view: Callable[[], Any] | None = None
        """Makes or finds the `AsyncCache` of this cache."""
        self.memoized: dict[str, tuple[str, str]] = {}
        """Module and qualified name of memoized functions, by what their keys begin with."""
        self._random_bits = random_bits or _random_bits

    def token(self) -> bytes:
        """8 random bytes, never all zero: a version, a lease or a tag's token."""
        return (self._random_bits() or 1).to_bytes(8, "little")

    def chance(self) -> float:
        """A random number from 0.0 up to, but not, 1.0."""
        return (self._random_bits() >> 11) / 2**53

    def encode(self, key: str, storage: str, record: Record) -> Any:
        """What the driver stores for ``record``, kept under ``storage``.

        Raises:
            CacheSerializationError: Its value would not come back the same; says of which key.
        """
        try:
            return self.codec.encode(storage, record)
        except CacheSerializationError as error:
            raise CacheSerializationError(
                f"cache {self.name!r}, key {show(key)}: {error.message}", key=key
            ) from error.__cause__

    def check_open(self) -> None:
        """Raise `CacheError` after `close`."""
        if self.closed or self.background.closed:
            raise CacheError(f"cache {self.name!r} is closed", cache=self.name, backend=self.backend)

    def locate(self, error: CacheError, key: object = None) -> None:
        """Complete what ``error`` says about where it happened; what is there already was known better."""
        if error.cache is None:
            error.cache = self.name
        if error.backend is None:
            error.backend = self.backend
        if error.key is None:
            error.key = key

    def failed(self, error: CacheError) -> None:
        """Count a failure of the backend, and log the first one of an outage."""
        self.recorder.errors.increment()
        if not self.down and isinstance(error, CacheConnectionError):
            self.down = True
            _logger().warning("cache %r: backend %s fails: %s", self.name, self.backend, error)

    def answered(self) -> None:
        """Note that the backend works, and log the end of an outage."""
        if self.down:
            self.down = False
            self.outages += 1
            _logger().info("cache %r: backend %s answers again", self.name, self.backend)

    def close(self, *, in_loop: bool = False) -> None:
        """Mark as closed and let the owner release the drivers; a second call does nothing.

        Args:
            in_loop: The caller closes the asynchronous driver itself.
        """
        if self.closed:
            return
        self.closed = True
        self.background.cancel()
        if not in_loop and (left := self.background.join(PATIENCE)):
            _logger().warning("cache %r: %d loads were still running when it was closed", self.name, left)
        if self.when_closed is not None:
            self.when_closed(in_loop)


# A generator of our own: a program that seeds the common one would draw the same tokens in every run, and an
# invalidation that draws the token that is there already invalidates nothing.
_generator = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_generator.seed)


def _random_bits() -> int:
    return _generator.getrandbits(64)


def _logger() -> logging.Logger:
    import logging  # costs as much as this whole package, and is needed for outages only

    return logging.getLogger("codomyrmex.cache")
