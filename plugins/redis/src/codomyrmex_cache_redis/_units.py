"""What waits for replies on an asynchronous connection: one request, some gets, a measurement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from ._clock import ServerClock
from ._errors import ReplyError
from ._operations import Operations, pack
from ._scripts import SCRIPTS

Makes: TypeAlias = Callable[[], Exception]
"""Makes an error: every caller gets one of its own, to which its key is added."""

MOST_GETS: Final = 200
"""Keys of one MGET: a server answers nobody else meanwhile."""
_TIME: Final = pack(("TIME",))
_SCRIPTS: Final = b"".join(pack(("SCRIPT", "LOAD", script.source)) for script in SCRIPTS)


class Unit:
    """A request on its way, and whose it is.

    Args:
        data: Packed commands.
        count: How many replies there will be.
        repeat: Whether they may be carried out twice.
        future: Gets the list of replies.
    """

    __slots__ = ("again", "count", "data", "deadline", "future", "repeat", "replies")

    def __init__(self, data: bytes, count: int, repeat: bool, future: asyncio.Future[list[Any]]) -> None:
        self.data = data
        self.count = count
        self.repeat = repeat
        self.future = future
        self.replies: list[Any] = []
        self.again = False
        self.deadline = 0.0

    def packed(self) -> bytes:
        """What to send; nothing if nobody waits any more."""
        return b"" if self.future.done() else self.data

    def finish(self) -> list[Unit]:
        """Hand on the replies, which are complete; returns what is to be asked instead."""
        if not self.future.done():
            self.future.set_result(self.replies)
        return []

    def fail(self, make: Makes) -> None:
        """Tell whoever waits."""
        if not self.future.done():
            self.future.set_exception(make())


class Gets(Unit):
    """Gets that were asked for in one turn of the loop: one MGET, each reply to its own caller.

    Args:
        operations: Packs keys and reads values.
    """

    __slots__ = ("futures", "keys", "operations")

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self.keys: list[str] = []
        self.futures: list[asyncio.Future[bytes | None]] = []
        self.count = 1
        self.repeat = True
        self.replies = []
        self.again = False
        self.deadline = 0.0

    def packed(self) -> bytes:
        """GET or MGET; nothing if nobody waits any more."""
        if any(future.done() for future in self.futures):
            waiting = [pair for pair in zip(self.keys, self.futures, strict=True) if not pair[1].done()]
            self.keys, self.futures = [key for key, _ in waiting], [future for _, future in waiting]
        if len(self.keys) == 1:
            return pack(("GET", self.operations.prefix + self.keys[0]))
        return self.operations.mget(self.keys) if self.keys else b""

    def finish(self) -> list[Unit]:
        """Each value to its caller; after an error each key is asked for alone, so that it hits whom it concerns."""
        reply = self.replies[0]
        futures = self.futures
        if len(futures) == 1:
            if not futures[0].done():
                try:
                    futures[0].set_result(self.operations.value(reply))
                except Exception as error:
                    futures[0].set_exception(error)
            return []
        if reply.__class__ is list and len(reply) == len(futures):
            for future, value in zip(futures, reply, strict=True):
                if not future.done():
                    future.set_result(value)
            return []
        alone: list[Unit] = []
        for key, future in zip(self.keys, futures, strict=True):
            one = Gets(self.operations)
            one.keys, one.futures = [key], [future]
            alone.append(one)
        return alone

    def fail(self, make: Makes) -> None:
        """Tell all who wait."""
        for future in self.futures:
            if not future.done():
                future.set_exception(make())


class Measurement(Unit):
    """TIME, in front of somebody's request; on a new connection the scripts as well.

    A script that the server doesn't know is asked for twice, and others come in between: a turn's order of what
    concerns one key would be lost.

    Args:
        clock: Told the reply.
        fresh: Whether the connection is new.
    """

    __slots__ = ("_asked", "_clock")

    def __init__(self, clock: ServerClock, fresh: bool) -> None:
        self._clock = clock
        self._asked = clock.machine()
        self.data = _TIME + _SCRIPTS if fresh else _TIME
        self.count = 1 + len(SCRIPTS) * fresh
        self.repeat = False
        self.replies = []
        self.again = False
        self.deadline = 0.0

    def packed(self) -> bytes:
        """Somebody always waits for it."""
        return self.data

    def finish(self) -> list[Unit]:
        """Take in the first reply; a user who may not load scripts will be told when it matters."""
        self._clock.measured(self._asked, self.replies[0])
        return []

    def fail(self, make: Makes) -> None:
        """Nobody waits for it."""


def too_much(unit: Unit) -> bool:
    """Whether the server closes the connection because this unit sent too much; its other replies are that, too."""
    last = unit.replies[-1] if unit.replies else None
    if not isinstance(last, ReplyError) or last.code != "BULK":
        return False
    unit.replies += [last] * (unit.count - len(unit.replies))
    return True
