"""Lifetimes: from what a user writes to the two times of a record, and from those to what may be done with it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import TypeAlias

from ._record import Record, Times
from .errors import CacheConfigError
from .options import duration

Ttl: TypeAlias = "float | timedelta | str"

CLOCK_TOLERANCE = 5.0
"""How far the clocks of two processes that share a store may differ, in seconds."""
_RENEWAL = 1 / 8
"""Part of its ttl that a sliding entry uses up before a hit renews it."""


class State(Enum):
    """What a record is to a reader, from its times alone."""

    FRESH = "fresh"
    STALE = "stale"
    PENDING = "pending"
    EXPIRED = "expired"


def judge(record: Record, now: float) -> State:
    """What ``record`` is at ``now``.

    An entry whose end is further away than the whole life it was given was written under a clock that has since been
    put back. Its age is unknown, so it is over: otherwise it could live as long as the clock was wrong.
    """
    if record.pending:
        return State.PENDING
    if now >= record.kept_until or record.fresh_until - now > record.ttl + CLOCK_TOLERANCE:
        return State.EXPIRED
    if now < record.fresh_until:
        return State.FRESH
    return State.PENDING if record.extended else State.STALE


class TTLManager:
    """The lifetimes of one cache.

    Args:
        default: ttl of values stored without one, in seconds or as text; None or inf for no expiry.
        maximum: Longer ttls are cut to this; None for no maximum.
        jitter: Largest random fraction taken off every ttl, 0.0 to 1.0, so that entries stored together don't
            expire together.
        sliding: A hit renews an entry once an eighth of its ttl has been used.
        stale_for: How long a value is kept as a fallback after its ttl, in seconds; 0 for not at all.
        clock: The clock the driver judges by, in seconds.
        random: Returns a number from 0.0 to 1.0.

    Raises:
        CacheConfigError: A duration is zero, negative, NaN or unreadable, or the jitter is out of its range.
    """

    def __init__(
        self,
        default: Ttl | None = None,
        *,
        maximum: Ttl | None = None,
        jitter: float = 0.0,
        sliding: bool = False,
        stale_for: Ttl = 0,
        clock: Callable[[], float],
        random: Callable[[], float] = random.random,
    ) -> None:
        self.default = math.inf if default is None else duration(default)
        self.maximum = math.inf if maximum is None else duration(maximum)
        if not 0 <= jitter <= 1:
            raise CacheConfigError(f"got jitter {jitter!r}; expected a number from 0 to 1")
        self.jitter = jitter
        self.sliding = sliding
        self.stale_for = stale_seconds(stale_for)
        self.clock = clock
        self._random = random

    @property
    def plain(self) -> bool:
        """Whether a lifetime is no more than now plus ttl, so that a driver may compute it itself."""
        return self.maximum == math.inf and not (self.jitter or self.sliding or self.stale_for)

    def times(self, ttl: Ttl | None = None, stale_for: Ttl | None = None) -> Times:
        """The lifetime of a value stored now.

        Args:
            ttl: As given for this value; None for the default, inf for no expiry.
            stale_for: As given for this value; None for the default.

        Raises:
            CacheConfigError: A duration is zero, negative, NaN or unreadable.
        """
        seconds = min(self.default if ttl is None else duration(ttl), self.maximum)
        stale = self.stale_for if stale_for is None else stale_seconds(stale_for)
        if seconds == math.inf:
            return Times(math.inf, math.inf, math.inf)
        if self.jitter:
            seconds *= 1 - self.jitter * self._random()
        fresh_until = self.clock() + seconds
        return Times(fresh_until, fresh_until + stale, seconds)

    def lease(self, ttl: Ttl) -> float:
        """Seconds that a lock is held, from what the user wrote; it has to end some time.

        Raises:
            CacheConfigError: It is zero, negative, NaN, infinite or unreadable.
        """
        seconds = duration(ttl)
        if seconds == math.inf:
            raise CacheConfigError("a lock must end some time: got inf for its ttl")
        return seconds

    def renewed(self, record: Record, ttl: float, now: float) -> Times:
        """The lifetime of ``record`` if it gets ``ttl`` more seconds from ``now``; it stays as long a fallback."""
        if ttl == math.inf:
            return Times(math.inf, math.inf, math.inf)
        stale = record.value_until - record.fresh_until if record.fresh_until < math.inf else self.stale_for
        return Times(now + ttl, now + ttl + stale, ttl)

    def ended(self, record: Record) -> Times:
        """The lifetime of ``record`` if its ttl ends now, by the clocks of all who share the store.

        Another process whose clock is a little behind must not serve it either. It was fresh until it was stored, and
        for no time: that leaves its age as it was.
        """
        over = self.clock() - CLOCK_TOLERANCE
        stored = over if record.fresh_until == math.inf else record.fresh_until - record.ttl
        return Times(min(stored, over), record.value_until, 0.0)

    def age(self, record: Record) -> float:
        """Seconds since ``record`` was stored or renewed; 0.0 for one that never ends, which doesn't say."""
        return 0.0 if record.fresh_until == math.inf else max(0.0, self.clock() - record.fresh_until + record.ttl)

    def due(self, record: Record, now: float) -> bool:
        """Whether a hit at ``now`` should renew ``record``."""
        return self.sliding and record.ttl - (record.fresh_until - now) >= record.ttl * _RENEWAL


def stale_seconds(value: Ttl) -> float:
    """Like `duration`, but zero is allowed: no fallback."""
    return 0.0 if isinstance(value, (int, float)) and value == 0 and value is not False else duration(value)
