"""Eviction policies: what to remove when a limit is reached.

A policy decides; the store keeps. The store holds entries in the policy's queues, remembers hits as marks, and asks
three questions: where does a new entry go (`admit`), which queue must give one up (`choose`), and what happens to the
entry at the front of that queue (`judge`). Since order, marks and ghosts live in the store, one policy serves a dict
in memory and a file shared by processes, and its order survives a restart there.

    class Clock(EvictionPolicy):
        '''Second chance: an entry that was used since it was last looked at goes round once more.'''

        def judge(self, entry, view):
            return Move("main") if entry.mark else EVICT

A policy keeps no state of its own but in ``view.state``; it is never called for a hit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Protocol, TypeAlias

from ._events import Cause, Removal
from ._request import PluginRequest

__all__ = [
    "EVICT",
    "SKIP",
    "Cause",
    "Entry",
    "Evict",
    "EvictionPolicy",
    "Ghost",
    "Move",
    "PluginRequest",
    "Queue",
    "Removal",
    "Skip",
    "Verdict",
    "View",
]


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that the store keeps for the policy.

    Attributes:
        name: Its name.
        order: ``"arrival"``: first in, first looked at. ``"rank"``: lowest rank first.
        ghosts: None for a queue of entries. A number makes it a queue of ghosts, keys without values, that
            holds at most this many times the cache's capacity.
    """

    name: str
    order: Literal["arrival", "rank"] = "arrival"
    ghosts: float | None = None


class Entry(Protocol):
    """What a policy sees of an entry; the values belong to the store."""

    @property
    def mark(self) -> int:
        """0 if not used since it was placed or last judged; else what `EvictionPolicy.marks` says."""
        ...

    @property
    def size(self) -> int:
        """Bytes it counts for; 1 in a store that doesn't count bytes."""
        ...

    @property
    def cost(self) -> float:
        """Seconds the value took to compute; 0.0 when unknown."""
        ...

    @property
    def rank(self) -> float:
        """Its place in a queue ordered by rank."""
        ...

    @property
    def queue(self) -> str:
        """The queue it is in."""
        ...


@dataclass(frozen=True, slots=True)
class Ghost:
    """What is remembered of an evicted key that comes back.

    Attributes:
        queue: The queue of ghosts that it was in.
        age: How many ghosts have entered that queue since.
    """

    queue: str
    age: int


class View(Protocol):
    """What a policy sees of the store.

    Attributes:
        state: Numbers by name that the store keeps for the policy, and shares with its other processes.
    """

    state: dict[str, float]

    def entries(self, queue: str) -> int:
        """How many entries (or ghosts) a queue holds."""
        ...

    def bytes(self, queue: str) -> int:
        """How many bytes they count for."""
        ...

    def stamp(self) -> int:
        """A number higher than every mark given so far: the rank of "used just now"."""
        ...

    @property
    def capacity(self) -> int:
        """How many entries the store may hold; in a store bounded by bytes, how many it holds now."""
        ...


@dataclass(frozen=True, slots=True)
class Evict:
    """Remove the entry; leave its key in the queue of ghosts called ``ghost``, if any."""

    ghost: str | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave the entry where it stands, clear its mark and look at the next one."""


@dataclass(frozen=True, slots=True)
class Move:
    """Put the entry at the back of ``queue`` (at ``rank`` there) with ``mark`` as its mark; look at the next one."""

    queue: str
    rank: float = 0.0
    mark: int = 0


Verdict: TypeAlias = Evict | Skip | Move
EVICT: Final = Evict()
SKIP: Final = Skip()


class EvictionPolicy(ABC):
    """Base of all policies; the defaults make a single queue in order of arrival."""

    queues: ClassVar[tuple[Queue, ...]] = (Queue("main"),)
    """The queues that the store keeps."""
    marks: ClassVar[Literal["use", "frequency", "recency"]] = "use"
    """What a mark above zero says: that the entry was used, how often (up to 3), or when (a rank, comparable with
    `View.stamp`). A store on disk may know the last two only roughly. Knowing less costs less on every hit."""

    def admit(self, entry: Entry, ghost: Ghost | None, view: View) -> Move:
        """Where a new entry goes; ``ghost`` is what is remembered of its key."""
        return _TO_MAIN

    def choose(self, view: View) -> str | None:
        """The queue that gives up an entry next; None refuses, and the write raises `CacheFullError`."""
        return "main"

    @abstractmethod
    def judge(self, entry: Entry, view: View) -> Verdict:
        """What happens to the entry at the front of the chosen queue."""


_TO_MAIN = Move("main")
