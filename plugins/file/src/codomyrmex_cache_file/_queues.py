"""The queues that eviction policies decide over (`codomyrmex.cache.eviction`), as rows of a table.

A queue in order of arrival has a hand: the row behind which the next look begins. A policy that skips an entry moves
the hand on and writes nothing else; at the end the hand goes back to the beginning.
"""

from __future__ import annotations

from typing import Any

from codomyrmex.cache.errors import CacheFullError
from codomyrmex.cache.eviction import SKIP, Evict, EvictionPolicy, Ghost, Move

from ._errors import Damaged
from ._opened import Opened
from ._rows import NO_QUEUE, Place, bits_to_rank, queue_start, rank_to_bits
from ._view import Candidate, PolicyView

_COST = slice(56, 60)
_MOST_MOVES = 4


class Queues:
    """All queues of one store.

    Args:
        policy: Decides.
        max_entries: The store's limit, None for none.
    """

    def __init__(self, policy: EvictionPolicy, max_entries: int | None) -> None:
        self._policy = policy
        self._specs = policy.queues
        self._index = {spec.name: index for index, spec in enumerate(policy.queues)}
        self.with_entries = {index for index, spec in enumerate(policy.queues) if spec.ghosts is None}
        """Those in which entries stand, not ghosts."""
        self._asks_admit = type(policy).admit is not EvictionPolicy.admit
        self._asks_where = type(policy).choose is not EvictionPolicy.choose
        self._hands: dict[int, bytes] = {}
        self._skipped = 0
        self._moves = 0
        self._view = PolicyView(policy, max_entries)

    def is_ghost(self, queue: int) -> bool:
        """Whether what stands there is only remembered."""
        if queue == NO_QUEUE:
            return False
        if queue >= len(self._specs):
            raise Damaged("an entry stands in a queue that there is not")
        return self._specs[queue].ghosts is not None

    def entries_in(self, transaction: Any, opened: Opened) -> int:
        """How many entries there are in all queues."""
        rows: int = transaction.stat(opened.order)["entries"]
        ghosts = [index for index, spec in enumerate(self._specs) if spec.ghosts is not None]
        return rows - sum(opened.control.counts(index)[0] for index in ghosts)

    def admit(self, transaction: Any, opened: Opened, key: bytes, place: Place, ghost: Ghost | None) -> Place:
        """Give a new entry its place."""
        move = Move("main")
        if self._asks_admit:
            self._view.look(transaction, opened)
            move = self._policy.admit(Candidate(0, place.size, 0.0, 0.0, ""), ghost, self._view)
            self._view.keep_state(transaction, opened)
        opened.marks.set(key, move.mark)
        return self._enter(transaction, opened, key, place, move)

    def leave(self, transaction: Any, opened: Opened, place: Place) -> None:
        """An entry goes."""
        self._delete(transaction, opened, place)
        opened.control.count(place.queue, -1, -place.size)

    def recall(self, transaction: Any, opened: Opened, key: bytes, place: Place) -> Ghost:
        """What is remembered of ``key``, which is forgotten."""
        entered = opened.control.counts(place.queue)[1]
        self._delete(transaction, opened, place)
        transaction.delete(key, db=opened.places)
        opened.control.count(place.queue, -1, 0)
        return Ghost(self._specs[place.queue].name, max(0, entered - place.at))

    def remember(self, transaction: Any, opened: Opened, key: bytes, queue: str) -> None:
        """Leave a ghost of ``key``, and forget the oldest if there are too many."""
        index = self._index[queue]
        # What counts bytes elsewhere counts here how many have ever entered.
        opened.control.count(index, 1, 1)
        entered = opened.control.counts(index)[1]
        place = Place(index, entered, opened.control.number(), float("inf"), 0)
        transaction.put(place.order_key, key, db=opened.order)
        transaction.put(key, place.pack(), db=opened.places)
        most = (self._specs[index].ghosts or 0.0) * self._view.capacity
        while opened.control.counts(index)[0] > most:
            with transaction.cursor(opened.order) as cursor:
                if not cursor.set_range(queue_start(index)) or cursor.key()[0] != index:
                    break
                row, oldest = bytes(cursor.key()), bytes(cursor.value())
            transaction.delete(row, db=opened.order)
            transaction.delete(oldest, db=opened.places)
            opened.control.count(index, -1, 0)

    def victim(self, transaction: Any, opened: Opened) -> tuple[bytes, str | None] | None:
        """The next entry that the policy gives up, and where it is to be remembered; None if it refuses."""
        self._view.look(transaction, opened)
        self._hands.clear()  # another process may have moved them
        self._skipped = self._moves = 0
        total = self.entries_in(transaction, opened)
        ranked_after: dict[int, bytes] = {}
        found: tuple[bytes, str | None] | None = None
        while found is None:
            index = self._chosen(transaction, opened)
            if index is None:
                break
            front = self._front(transaction, opened, index, ranked_after)
            if front is None:
                break
            row, key = front
            found = self._judge(transaction, opened, index, row, key, total, ranked_after)
        self._view.keep_state(transaction, opened)
        return found

    def refusal(self) -> CacheFullError:
        """The error of a policy that lets nothing go."""
        return CacheFullError("the store is full and its eviction policy lets nothing go", backend="file_based")

    def _judge(
        self,
        transaction: Any,
        opened: Opened,
        index: int,
        row: bytes,
        key: bytes,
        total: int,
        ranked_after: dict[int, bytes],
    ) -> tuple[bytes, str | None] | None:
        place_row = transaction.get(key, db=opened.places)
        stored = transaction.get(key, db=opened.entries)
        if place_row is None or stored is None:
            raise Damaged("a queue holds a key that has no entry")
        place = Place.unpack(place_row)
        if place.order_key != row:
            raise Damaged("an entry is not where its place says")
        spec = self._specs[index]
        ranked = spec.order == "rank"
        cost = float(memoryview(stored)[_COST].cast("f")[0]) if len(stored) >= _COST.stop else 0.0
        rank = bits_to_rank(place.at) if ranked else 0.0
        verdict = self._policy.judge(Candidate(opened.marks.of(key), place.size, cost, rank, spec.name), self._view)
        if verdict is SKIP and self._skipped <= 2 * total:
            self._skipped += 1
            opened.marks.set(key, 0)
            if ranked:
                ranked_after[index] = row
            else:
                self._hands[index] = row
                transaction.put(b"hand%d" % index, row, db=opened.policy)
            return None
        if isinstance(verdict, Move) and self._moves <= _MOST_MOVES * (total + _MOST_MOVES):
            self._moves += 1
            self.leave(transaction, opened, place)
            opened.marks.set(key, verdict.mark)
            whole = place_row[len(place.pack()) :]
            moved = self._enter(transaction, opened, key, place, verdict)
            transaction.put(key, moved.pack(bytes(whole)), db=opened.places)
            return None
        return key, verdict.ghost if isinstance(verdict, Evict) else None

    @staticmethod
    def _delete(transaction: Any, opened: Opened, place: Place) -> None:
        if not transaction.delete(place.order_key, b"", opened.order):
            raise Damaged("an entry is not where its place says")

    def _enter(self, transaction: Any, opened: Opened, key: bytes, place: Place, move: Move) -> Place:
        index = self._index[move.queue]
        at = rank_to_bits(move.rank) if self._specs[index].order == "rank" else opened.control.number()
        entered = place._replace(queue=index, at=at)
        transaction.put(entered.order_key, key, db=opened.order)
        opened.control.count(index, 1, place.size)
        return entered

    def _chosen(self, transaction: Any, opened: Opened) -> int | None:
        name = self._policy.choose(self._view) if self._asks_where else "main"
        if name is None:
            return None
        chosen = self._index[name]
        lanes = [chosen, *(index for index, spec in enumerate(self._specs) if spec.ghosts is None and index != chosen)]
        with transaction.cursor(opened.order) as cursor:
            for index in lanes:
                if cursor.set_range(queue_start(index)) and cursor.key()[0] == index:
                    return index
        return None

    def _front(
        self, transaction: Any, opened: Opened, index: int, ranked_after: dict[int, bytes]
    ) -> tuple[bytes, bytes] | None:
        """The row to be looked at next, and its key."""
        if self._specs[index].order == "rank":
            after = ranked_after.get(index)
        else:
            after = self._hands.get(index)
            if after is None:
                stored = transaction.get(b"hand%d" % index, db=opened.policy)
                after = None if stored is None else bytes(stored)
        with transaction.cursor(opened.order) as cursor:
            there = cursor.set_range(after or queue_start(index))
            if there and after is not None and bytes(cursor.key()) == after:
                there = cursor.next()
            if not there or cursor.key()[0] != index:
                there = cursor.set_range(queue_start(index))
            if not there or cursor.key()[0] != index:
                return None
            return bytes(cursor.key()), bytes(cursor.value())
