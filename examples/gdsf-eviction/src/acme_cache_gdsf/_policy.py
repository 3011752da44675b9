"""`Gdsf`: the policy."""

from __future__ import annotations

from codomyrmex.cache.eviction import EVICT, Entry, EvictionPolicy, Ghost, Move, Queue, Verdict, View

_AGE = "age"


class Gdsf(EvictionPolicy):
    """Greedy-Dual-Size-Frequency: the entry with the least uses × cost / size goes, and all others age.

    Source: L. Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching Policy",
    HP Laboratories, 1998. An entry's rank is the age of the cache when it came, and for each use its cost per byte; the
    age of the cache is the rank of what went last. So whatever nobody asks for any more is overtaken some day.

    In the paper a use raises the rank at once. Here it leaves a mark, and the rank is raised when the entry's turn to
    go has come: ranks only grow, so the one that goes is the same. What differs is the age that counts, that of the
    entry's arrival in place of that of its last use, and that of more than three uses in between only three count.

    Args:
        unknown_cost: Seconds that a value counts for whose cost is not known.
    """

    queues = (Queue("main", order="rank"),)
    marks = "frequency"

    def __init__(self, unknown_cost: float = 1.0) -> None:
        self._unknown_cost = unknown_cost

    def admit(self, entry: Entry, ghost: Ghost | None, view: View) -> Move:
        """At the age of the cache; its arrival is its first use."""
        return Move("main", rank=view.state.get(_AGE, 0.0), mark=1)

    def judge(self, entry: Entry, view: View) -> Verdict:
        """Up, by what its uses since the last look are worth; out if there were none."""
        if entry.mark:
            worth = (entry.cost or self._unknown_cost) / max(entry.size, 1)
            return Move("main", rank=entry.rank + entry.mark * worth)
        view.state[_AGE] = entry.rank
        return EVICT
