"""Two policies from the literature, written against the contract as a third party would."""

from __future__ import annotations

from codomyrmex.cache.eviction import EVICT, Entry, Evict, EvictionPolicy, Ghost, Move, Queue, Verdict, View


class S3Fifo(EvictionPolicy):
    """Three FIFO queues: small, main, ghosts. Source: Yang et al., "FIFO queues are all you need", SOSP 2023."""

    queues = (Queue("small"), Queue("main"), Queue("ghosts", ghosts=1.0))
    marks = "frequency"

    def admit(self, entry: Entry, ghost: Ghost | None, view: View) -> Move:
        return Move("main" if ghost else "small")

    def choose(self, view: View) -> str | None:
        return "small" if view.entries("small") >= view.capacity // 10 or not view.entries("main") else "main"

    def judge(self, entry: Entry, view: View) -> Verdict:
        if entry.queue == "small":
            return Move("main") if entry.mark > 1 else Evict(ghost="ghosts")
        return Move("main", mark=entry.mark - 1) if entry.mark else EVICT


class GreedyDualSize(EvictionPolicy):
    """Uses × cost / size, with ageing. Source: Cherkasova, "Improving WWW Proxies Performance with GDSF", 1998."""

    queues = (Queue("main", order="rank"),)
    marks = "frequency"

    def admit(self, entry: Entry, ghost: Ghost | None, view: View) -> Move:
        return Move("main", view.state.get("age", 0.0) + (entry.cost or 1.0) / entry.size)

    def judge(self, entry: Entry, view: View) -> Verdict:
        if entry.mark:
            return Move("main", entry.rank + entry.mark * (entry.cost or 1.0) / entry.size)
        view.state["age"] = entry.rank
        return EVICT
