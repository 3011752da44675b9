"""The queues that eviction policies decide over (`codomyrmex.cache.eviction`), for entries in memory.

A lane is two deques. The front of ``ahead`` is looked at next; an entry that is skipped goes to ``behind`` and comes
round again when ``ahead`` is empty. That is the same as a hand which walks along a list and leaves entries where they
stand (SIEVE), without
links: every step is one C call. Entries that are removed out of turn stay as dead places until they come up,
or are too many.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from codomyrmex.cache.eviction import EVICT, SKIP, Entry, Evict, EvictionPolicy, Ghost, Move, Verdict, View
from codomyrmex.cache.eviction import Queue as QueueSpec

from ._node import MeasuredNode, Node

Judge: TypeAlias = Callable[[Entry, View], Verdict]

MOST_USES = 3
"""Where counting the uses of an entry ends."""
_MOST_DEAD = 32
"""Dead places that are always tolerated; beyond that, a quarter of the living."""


class Lane:
    """A queue in order of arrival.

    Args:
        name: Its name.
        measured: Whether its entries differ in size.
    """

    def __init__(self, name: str, *, measured: bool) -> None:
        self.name = name
        self._measured = measured
        self._bytes = 0
        self._dead = 0
        self._ahead: deque[Node] = deque()
        self._behind: deque[Node] = deque()

    @property
    def count(self) -> int:
        """How many entries it holds."""
        return len(self._ahead) + len(self._behind) - self._dead

    @property
    def bytes(self) -> int:
        """What they count for."""
        return self._bytes if self._measured else self.count

    def append(self, node: Node, rank: float = 0.0) -> None:
        """Put ``node`` at the back."""
        node.lane = self
        self._ahead.append(node)
        if self._measured:
            self._bytes += node.size

    def quick_append(self) -> Callable[[Node], None] | None:
        """What does all of `append` but for `Node.lane`, in one C call; None if it takes more than that."""
        return None if self._measured else self._ahead.append

    def judged(self, judge: Judge, view: View, wanted: int, victims: list[Node]) -> tuple[Node, Verdict] | None:
        """Take entries out of the front until ``wanted`` of them have the plain verdict `EVICT`.

        Args:
            judge: The policy's judgement.
            view: What it sees.
            wanted: How many to take out at most.
            victims: They are added here.

        Returns:
            The first entry with a verdict that is neither `EVICT` nor `SKIP`, taken out too; None if there was none.
        """
        ahead, measured = self._ahead, self._measured
        # An entry is spared twice at most in one go: a policy that spares all would never end.
        spare = 2 * self.count + 1
        taken = 0
        other: tuple[Node, Verdict] | None = None
        while taken < wanted and other is None:
            if not ahead:
                if not self._behind:
                    break
                self._come_round()
            node = ahead.popleft()
            if node.lane is not self:
                self._dead -= 1
                continue
            try:
                verdict = judge(node, view)
            except BaseException:  # above all KeyboardInterrupt: what stands in no queue could never be evicted
                ahead.appendleft(node)
                raise
            if node.lane is not self:  # removed meanwhile, by a finalizer that the garbage collector ran
                self._dead -= 1
                continue
            if verdict is SKIP and spare:
                spare -= 1
                node.mark = 0
                self._behind.append(node)
                continue
            node.lane = None
            if measured:
                self._bytes -= node.size
            if verdict is EVICT or verdict is SKIP:
                victims.append(node)
                taken += 1
            else:
                other = node, verdict
        if not ahead:  # at its end: what arrives next has all others before it
            self._come_round()
        return other

    def remove(self, node: Node) -> None:
        """Take an entry out of turn."""
        self._left(node)
        self._dead += 1
        if self._dead > _MOST_DEAD + self.count // 4:
            for places in (self._ahead, self._behind):
                living = [one for one in places if one.lane is self]
                places.clear()
                places.extend(living)
            self._dead = 0

    def grow(self, size: int) -> None:
        """One of its entries counts for so many bytes more, or less if it is negative."""
        self._bytes += size

    def places(self) -> list[Node]:
        """Its entries, the one to be judged next first."""
        return [node for node in itertools.chain(self._ahead, self._behind) if node.lane is self]

    def clear(self) -> None:
        """Take all out."""
        for node in itertools.chain(self._ahead, self._behind):
            node.lane = None
        self._ahead.clear()
        self._behind.clear()
        self._bytes = self._dead = 0

    def _come_round(self) -> None:
        # The deques keep their places: `quick_append` is bound to one of them.
        self._ahead.extend(self._behind)
        self._behind.clear()

    def _left(self, node: Node) -> None:
        node.lane = None
        self._bytes -= node.size


class RankedLane(Lane):
    """A queue in order of rank: a heap; entries of equal rank in order of arrival."""

    def __init__(self, name: str) -> None:
        super().__init__(name, measured=True)
        self._heap: list[tuple[float, int, Node]] = []
        self._arrivals = itertools.count()

    @property
    def count(self) -> int:
        """How many entries it holds."""
        return len(self._heap) - self._dead

    def append(self, node: Node, rank: float = 0.0) -> None:
        """Put ``node`` at ``rank``."""
        node.lane = self
        if isinstance(node, MeasuredNode):
            node.rank = rank
        self._bytes += node.size
        heapq.heappush(self._heap, (rank, next(self._arrivals), node))

    def judged(self, judge: Judge, view: View, wanted: int, victims: list[Node]) -> tuple[Node, Verdict] | None:
        """Take entries out, lowest rank first; see `Lane.judged`."""
        skipped: list[tuple[float, int, Node]] = []
        taken = 0
        other: tuple[Node, Verdict] | None = None
        try:
            while taken < wanted and other is None and self._heap:
                place = heapq.heappop(self._heap)
                node = place[2]
                if node.lane is not self or node.rank != place[0]:
                    self._dead -= 1
                    continue
                try:
                    verdict = judge(node, view)
                except BaseException:
                    heapq.heappush(self._heap, place)
                    raise
                if node.lane is not self:
                    self._dead -= 1
                    continue
                if verdict is SKIP and self._heap:
                    node.mark = 0
                    skipped.append(place)
                    continue
                self._left(node)
                if verdict is EVICT or verdict is SKIP:  # the last one goes, even if all were spared
                    victims.append(node)
                    taken += 1
                else:
                    other = node, verdict
        finally:
            for place in skipped:
                heapq.heappush(self._heap, place)
        return other

    def remove(self, node: Node) -> None:
        """Take an entry out of turn."""
        self._left(node)
        self._dead += 1
        if self._dead > _MOST_DEAD + self.count // 4:
            self._heap = [place for place in self._heap if place[2].lane is self]
            heapq.heapify(self._heap)
            self._dead = 0

    def places(self) -> list[Node]:
        """Its entries, lowest rank first."""
        return [node for rank, _, node in sorted(self._heap) if node.lane is self and node.rank == rank]

    def clear(self) -> None:
        """Take all out."""
        for _, _, node in self._heap:
            node.lane = None
        self._heap.clear()
        self._bytes = self._dead = 0


class Ghosts:
    """A bounded queue of keys that were evicted.

    Args:
        spec: Its name, and its limit as a multiple of the capacity.
    """

    def __init__(self, spec: QueueSpec) -> None:
        self.name = spec.name
        self._share = spec.ghosts or 0.0
        self._entered = 0
        self._keys: dict[str, int] = {}
        self._order: deque[tuple[str, int]] = deque()

    @property
    def count(self) -> int:
        """How many keys it remembers."""
        return len(self._keys)

    def add(self, key: str, capacity: int) -> None:
        """Remember ``key``, and forget the oldest if there are too many."""
        self._entered += 1
        self._keys[key] = self._entered
        self._order.append((key, self._entered))
        while self._order and (
            len(self._keys) > self._share * capacity or self._keys.get(self._order[0][0]) != self._order[0][1]
        ):
            oldest, number = self._order.popleft()
            if self._keys.get(oldest) == number:
                del self._keys[oldest]

    def take(self, key: str) -> Ghost | None:
        """What is remembered of ``key``, which is forgotten."""
        number = self._keys.pop(key, None)
        return None if number is None else Ghost(self.name, self._entered - number)

    def clear(self) -> None:
        """Forget all."""
        self._keys.clear()
        self._order.clear()

    def mend(self) -> None:
        """Forget what stands in no order, which could never be forgotten."""
        ordered = dict(self._order)
        self._keys = {key: number for key, number in self._keys.items() if ordered.get(key) == number}


class Queues:
    """All queues of one store, and what its policy sees of them (`codomyrmex.cache.eviction.View`).

    Args:
        policy: Decides.
        max_entries: The store's limit, None for none.
        sizes: Whether entries count for more or less than others.

    Attributes:
        use: Marks an entry as used, the way the policy wants it.
        only_lane: Where every new entry goes; None if the policy has to be asked.
        measured: Whether entries differ in size or have a rank, and are `MeasuredNode`s.
    """

    def __init__(self, policy: EvictionPolicy, max_entries: int | None, *, sizes: bool) -> None:
        self.policy = policy
        self.state: dict[str, float] = {}
        self._max_entries = max_entries
        self._stamp = itertools.count(1).__next__
        marks = {"use": _flag, "frequency": _count, "recency": self._date}
        self.use: Final[Callable[[Node], None]] = marks[policy.marks]
        self.measured = sizes or any(spec.order == "rank" for spec in policy.queues)
        self.lanes: dict[str, Lane] = {
            spec.name: RankedLane(spec.name) if spec.order == "rank" else Lane(spec.name, measured=self.measured)
            for spec in policy.queues
            if spec.ghosts is None
        }
        self._ghosts = {spec.name: Ghosts(spec) for spec in policy.queues if spec.ghosts is not None}
        # A policy that leaves these questions at their defaults is not asked them for every entry.
        self.only_lane = self.lanes["main"] if type(policy).admit is EvictionPolicy.admit else None
        self._judge = policy.judge
        self._asks_where = type(policy).choose is not EvictionPolicy.choose

    def entries(self, queue: str) -> int:
        """How many entries or ghosts a queue holds."""
        return self.lanes[queue].count if queue in self.lanes else self._ghosts[queue].count

    def bytes(self, queue: str) -> int:
        """How many bytes the entries of a queue count for."""
        return self.lanes[queue].bytes

    def stamp(self) -> int:
        """The rank of "used just now"."""
        return self._stamp()

    @property
    def capacity(self) -> int:
        """How many entries the store may hold, or holds now if only its bytes are bounded."""
        return self._max_entries or self._count()

    def recall(self, key: str) -> Ghost | None:
        """What is remembered of ``key``, which is forgotten; to be asked before room is made for it."""
        ghost = None
        for ghosts in self._ghosts.values():
            ghost = ghosts.take(key) or ghost
        return ghost

    def admit(self, node: Node, ghost: Ghost | None) -> None:
        """Put a new entry where the policy wants it."""
        move = self.policy.admit(node, ghost, self)
        node.mark = move.mark
        self.lanes[move.queue].append(node, move.rank)

    def evict(self, wanted: int, victims: list[Node]) -> None:
        """Take out up to ``wanted`` entries that the policy gives up; none if it refuses or there are none.

        Args:
            wanted: How many at most.
            victims: An empty list, to which they are added one by one: also when this is interrupted, the caller has
                those that stand in no queue any more.
        """
        moves = 0
        while len(victims) < wanted:
            lane = self._chosen()
            if lane is None:
                break
            # A policy with several queues is asked before each victim.
            other = lane.judged(self._judge, self, 1 if self._asks_where else wanted - len(victims), victims)
            if other is None:
                continue
            node, verdict = other
            if isinstance(verdict, Move) and moves <= 4 * (self._count() + 4):
                moves += 1
                node.mark = verdict.mark
                self.lanes[verdict.queue].append(node, verdict.rank)
                continue
            # A policy that moved all entries round and round would never end: then one has to go all the same.
            victims.append(node)
            if isinstance(verdict, Evict) and verdict.ghost is not None:
                self._ghosts[verdict.ghost].add(node.key, self.capacity)

    def mend(self, nodes: Mapping[str, Node]) -> int:
        """Put each of ``nodes`` into one lane, and nothing else, after a change that was interrupted.

        Returns:
            What the nodes count for in bytes; 0 where they are not measured.
        """
        lanes = list(self.lanes.values())
        places = [(lane, node) for lane in lanes for node in lane.places() if nodes.get(node.key) is node]
        strays = [(lanes[0], node) for node in nodes.values()]
        for lane in lanes:
            lane.clear()
        placed: set[int] = set()
        for lane, node in places + strays:
            if id(node) not in placed:
                placed.add(id(node))
                lane.append(node, node.rank)
        for ghosts in self._ghosts.values():
            ghosts.mend()
        return sum(lane.bytes for lane in lanes) if self.measured else 0

    def _chosen(self) -> Lane | None:
        """The queue that gives up the next entry; None if the policy refuses or all are empty."""
        name = self.policy.choose(self) if self._asks_where else "main"
        if name is None:
            return None
        lane = self.lanes[name]
        return lane if lane.count else next((other for other in self.lanes.values() if other.count), None)

    def _count(self) -> int:
        return sum(lane.count for lane in self.lanes.values())

    def _date(self, node: Node) -> None:
        node.mark = self._stamp()

    def clear(self) -> None:
        """Take all out and forget all ghosts."""
        for lane in self.lanes.values():
            lane.clear()
        for ghosts in self._ghosts.values():
            ghosts.clear()


def _flag(node: Node) -> None:
    node.mark = 1


def _count(node: Node) -> None:
    if node.mark < MOST_USES:
        node.mark += 1
