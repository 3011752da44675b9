"""`PolicyView`: what an eviction policy sees of a store (`codomyrmex.cache.eviction.View`), and of an entry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from codomyrmex.cache.eviction import EvictionPolicy

from ._errors import Damaged
from ._opened import Opened

_STATE = b"state"


@dataclass(slots=True)
class Candidate:
    """An entry (`codomyrmex.cache.eviction.Entry`)."""

    mark: int
    size: int
    cost: float
    rank: float
    queue: str


class PolicyView:
    """The store at the moment at which the policy decides.

    Args:
        policy: Whose queues there are.
        max_entries: The store's limit, None for none.

    Attributes:
        state: Numbers that the store keeps for the policy.
    """

    def __init__(self, policy: EvictionPolicy, max_entries: int | None) -> None:
        self._index = {spec.name: index for index, spec in enumerate(policy.queues)}
        self._lanes = [spec.name for spec in policy.queues if spec.ghosts is None]
        self._max_entries = max_entries
        self._opened: Opened
        self._before: dict[str, float] = {}
        self.state: dict[str, float] = {}

    def look(self, transaction: Any, opened: Opened) -> None:
        """See this store from now on, as another process may have left it."""
        self._opened = opened
        stored = transaction.get(_STATE, db=opened.policy)
        try:
            self.state = {} if stored is None else json.loads(bytes(stored))
        except ValueError as error:
            raise Damaged("what the eviction policy has left cannot be read") from error
        self._before = dict(self.state)

    def keep_state(self, transaction: Any, opened: Opened) -> None:
        """Store what the policy has changed."""
        if self.state != self._before:
            transaction.put(_STATE, json.dumps(self.state).encode(), db=opened.policy)

    def entries(self, queue: str) -> int:
        """How many entries or ghosts a queue holds."""
        return self._opened.control.counts(self._index[queue])[0]

    def bytes(self, queue: str) -> int:
        """How many bytes the entries of a queue count for."""
        return self._opened.control.counts(self._index[queue])[1]

    def stamp(self) -> int:
        """The rank of "used just now"."""
        return self._opened.control.number()

    @property
    def capacity(self) -> int:
        """How many entries the store may hold, or holds now if only its bytes are bounded."""
        return self._max_entries or sum(map(self.entries, self._lanes))
