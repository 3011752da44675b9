"""The eviction policies that come with the core: sieve, lru, fifo, none."""

from __future__ import annotations

from .eviction import EVICT, SKIP, Entry, EvictionPolicy, Ghost, Move, Queue, Verdict, View


class Sieve(EvictionPolicy):
    """Keeps what was used since the hand last passed, without moving it.

    Source: Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024.
    """

    def judge(self, entry: Entry, view: View) -> Verdict:
        """Spare a used entry once."""
        return SKIP if entry.mark else EVICT


class Fifo(EvictionPolicy):
    """Removes the oldest entry, used or not."""

    def judge(self, entry: Entry, view: View) -> Verdict:
        """Always out."""
        return EVICT


class Lru(EvictionPolicy):
    """Removes the entry whose last use is longest ago; a store on disk knows the last use only roughly.

    A hit moves nothing: an entry keeps the rank of its last placing, and takes that of its last use when its turn
    comes. The order of eviction is that of a list in which every hit moves its entry to the back.
    """

    queues = (Queue("main", order="rank"),)
    marks = "recency"

    def admit(self, entry: Entry, ghost: Ghost | None, view: View) -> Move:
        """Used just now."""
        return Move("main", view.stamp())

    def judge(self, entry: Entry, view: View) -> Verdict:
        """Out, unless it was used since it got its rank."""
        return Move("main", entry.mark) if entry.mark else EVICT


class Refuse(EvictionPolicy):
    """Removes nothing: at its limit the cache refuses new entries with `CacheFullError`."""

    def choose(self, view: View) -> str | None:
        """None gives way."""
        return None

    def judge(self, entry: Entry, view: View) -> Verdict:
        """Never asked."""
        return SKIP


OWN_POLICIES = frozenset({Sieve, Fifo, Lru, Refuse})
"""Those that are known to make no mistakes, and are asked directly."""
