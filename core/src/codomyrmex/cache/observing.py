"""What a plugin needs that wants to know of single calls: `Observer`, made by the hook ``create_observer``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ._request import PluginRequest

__all__ = ["Observer", "ObserverRequest", "Outcome"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverRequest(PluginRequest):
    """What ``create_observer`` receives.

    Attributes:
        backend: Name of the cache's backend.
    """

    backend: str


class Outcome:
    """What came of a call, once it is over.

    Attributes:
        found: Whether a call that looks for one entry found it, or one that changes one entry changed it; None for
            other calls, and for one that raised.
    """

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: bool | None = None


class Observer(ABC):
    """Told of each call of one cache's driver, and of each load; by several threads and tasks at once."""

    @abstractmethod
    def watch(self, operation: str, key: str | None, outcome: Outcome) -> AbstractContextManager[Any]:
        """A context in which the call is made; it sees the call's exception, and can't keep it from the caller.

        Args:
            operation: ``load``, or the name of a method of `codomyrmex.cache.backend.Backend`.
            key: The user's key, with its namespaces; None if the call concerns several entries or the cache's own
                records.
            outcome: To be read when the call is over.
        """
