"""Eviction policies of plugins, kept from doing harm: a policy that fails costs the order of eviction, nothing else.

A store asks its policy in the middle of a write, under its lock or in its transaction. So what a policy raises, or
answers wrongly, never gets there: the entry at the front goes, as in a queue without any policy, and the failure is
counted among the cache's errors and logged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from ._stats import Recorder
from .errors import CachePluginError
from .eviction import EVICT, SKIP, Entry, Evict, EvictionPolicy, Ghost, Move, Queue, Skip, Verdict, View

_QUIET = 60.0
"""Seconds between two messages about the same policy."""

Blame = Callable[[Exception], None]


def check(policy: EvictionPolicy) -> None:
    """Make sure that a store can be made for ``policy``.

    Raises:
        CachePluginError: It doesn't say properly what it needs.
    """
    problem = _problem(policy)
    if problem is not None:
        raise CachePluginError(f"the eviction policy {type(policy).__name__} {problem}")


def _problem(policy: EvictionPolicy) -> str | None:
    if policy.marks not in ("use", "frequency", "recency"):
        return f"has marks = {policy.marks!r}; 'use', 'frequency' and 'recency' are known"
    declared: Any = policy.queues
    if not isinstance(declared, tuple) or not all(isinstance(queue, Queue) for queue in policy.queues):
        return f"has queues = {declared!r}, which is no tuple of Queue; one queue is (Queue('main'),)"
    queues = policy.queues
    for queue in queues:
        if queue.order not in ("arrival", "rank"):
            return f"has a queue {queue.name!r} with order = {queue.order!r}; 'arrival' and 'rank' are known"
        if queue.ghosts is not None and not 0 <= queue.ghosts < math.inf:
            return f"has a queue {queue.name!r} with ghosts = {queue.ghosts!r}; a number of 0 or more is needed"
    names = [queue.name for queue in queues]
    if len(set(names)) != len(names):
        return f"has several queues of one name among {', '.join(names)}"
    entries = [queue.name for queue in queues if queue.ghosts is None]
    if not entries:
        return "has no queue for entries"
    asked = type(policy)
    if "main" not in entries and EvictionPolicy.admit in (asked.admit, asked.choose):
        return f"has no queue 'main': without it, it has to answer both admit and choose (from {', '.join(entries)})"
    return None


def guarded(policy: EvictionPolicy, blame: Blame) -> EvictionPolicy:
    """``policy`` with its mistakes kept back.

    Args:
        policy: One that `check` has passed.
        blame: Told of each mistake.
    """
    entries = [queue.name for queue in policy.queues if queue.ghosts is None]
    ghosts = [queue.name for queue in policy.queues if queue.ghosts is not None]
    kind = type(policy)

    def placed(move: Any) -> Move:
        if not isinstance(move, Move):
            raise TypeError(f"{move!r} is no Move")
        if move.queue not in entries:
            raise ValueError(f"there is no queue for entries called {move.queue!r}; there is {', '.join(entries)}")
        if math.isnan(move.rank):
            raise ValueError("a rank is a number, not NaN")
        if not isinstance(move.mark, int) or move.mark < 0:
            raise ValueError(f"a mark is a whole number of 0 or more, not {move.mark!r}")
        return move

    def checked(verdict: Any) -> Verdict:
        if isinstance(verdict, Move):
            return placed(verdict)
        if isinstance(verdict, Skip):
            return SKIP
        if not isinstance(verdict, Evict):
            raise TypeError(f"{verdict!r} is no verdict: EVICT, Evict(ghost=...), SKIP and Move(...) are")
        if verdict.ghost is not None and verdict.ghost not in ghosts:
            raise ValueError(f"there is no queue of ghosts called {verdict.ghost!r}; there is {', '.join(ghosts)}")
        return verdict

    def left(view: View) -> None:
        state: dict[str, Any] = {**view.state}
        for name, number in state.items():
            if not isinstance(number, (int, float)):
                del view.state[name]
                raise TypeError(f"view.state[{name!r}] is {number!r}, which is no number")

    class Guarded(EvictionPolicy):
        queues = policy.queues
        marks = policy.marks

        def judge(self, entry: Entry, view: View) -> Verdict:
            try:
                verdict = policy.judge(entry, view)
                if view.state:
                    left(view)
                return verdict if verdict is EVICT or verdict is SKIP else checked(verdict)
            except Exception as error:
                blame(error)
                return EVICT

        # A store asks a policy only what that doesn't leave at its default: these make a difference by being there.
        if kind.admit is not EvictionPolicy.admit:

            def admit(self, entry: Entry, ghost: Ghost | None, view: View) -> Move:
                try:
                    move = policy.admit(entry, ghost, view)
                    if view.state:
                        left(view)
                    return placed(move)
                except Exception as error:
                    blame(error)
                    return Move(entries[0])

        if kind.choose is not EvictionPolicy.choose:

            def choose(self, view: View) -> str | None:
                try:
                    name = policy.choose(view)
                    if view.state:
                        left(view)
                    if name is not None and name not in entries:
                        raise ValueError(
                            f"there is no queue for entries called {name!r}; there is {', '.join(entries)}"
                        )
                except Exception as error:
                    blame(error)
                    return entries[0]
                return name

    return Guarded()


def blamer(cache: str, name: str, recorder: Recorder) -> Blame:
    """Counts each mistake of the policy called ``name``, and logs one a minute."""
    due = -math.inf

    def blame(error: Exception) -> None:
        nonlocal due
        recorder.errors.increment()
        now = time.monotonic()
        if now < due:
            return
        due = now + _QUIET
        import logging

        logging.getLogger("codomyrmex.cache").error(
            "cache %r: eviction policy %r failed; entries go in order of arrival where it does",
            cache,
            name,
            exc_info=error,
        )

    return blame
