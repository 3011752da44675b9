"""A clock that stands still until it is told to go on."""

from __future__ import annotations


class ManualClock:
    """Seconds, for ``CacheManager(clock=...)``.

    Args:
        start: What it shows first.
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start

    def __call__(self) -> float:
        """The time it shows."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass; negative ones put it back."""
        self._now += seconds
