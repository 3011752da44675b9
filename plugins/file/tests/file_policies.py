"""Policies of the literature, written against the contract as a third party would, and how to register them."""

from __future__ import annotations

from codomyrmex.cache import hookimpl
from codomyrmex.cache.eviction import (
    EVICT,
    Entry,
    Evict,
    EvictionPolicy,
    Ghost,
    Move,
    PluginRequest,
    Queue,
    Verdict,
    View,
)


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


class Counting(EvictionPolicy):
    """First in, first out; counts in its state how many it has let go."""

    def judge(self, entry: Entry, view: View) -> Verdict:
        view.state["gone"] = view.state.get("gone", 0) + 1
        return EVICT


class OnePolicy:
    """A plugin for a class of policies."""

    def __init__(self, policy: type[EvictionPolicy]) -> None:
        self._policy = policy

    @hookimpl
    def create_eviction_policy(self, request: PluginRequest) -> EvictionPolicy:
        return self._policy()


POLICIES = {"s3fifo": OnePolicy(S3Fifo), "counting": OnePolicy(Counting)}
