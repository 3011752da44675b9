"""Waiting for somebody else's lease: a hint of the server, and behind it a look now and then.

Scripts that end a lease publish on a channel that is called like the record. Who waits subscribes to it on the
connection that it has anyway, which RESP3 allows, and looks at the record in the same trip: whatever happens later is
told. A hint may be lost (plain SET and UNLINK give none, a user may not be allowed to subscribe, a connection ends):
so the record is looked at all the same, ever more seldom.
"""

from __future__ import annotations

import time
from typing import Any, Final

from codomyrmex.cache.backend import Field

from ._errors import ReplyError
from ._operations import Operations, Request, pack

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.1
_LEASE: Final = Field.LEASE.value
_ANSWERS: Final = [b"subscribe"], [b"unsubscribe"]


def answers(push: list[Any]) -> bool:
    """Whether what the server pushes is the reply to a command, and no message."""
    return push[:1] in _ANSWERS


class Waiting:
    """One wait.

    Attributes:
        channel: Where hints come.
        leave: Packed command that ends them; it has one reply.

    Args:
        operations: Reads replies.
        key: The record's key.
        lease: What is waited for to be gone.
        timeout: Longest wait, in seconds.
    """

    __slots__ = ("_end", "_lease", "_look", "_operations", "_pause", "_subscribe", "channel", "leave")

    def __init__(self, operations: Operations, key: str, lease: bytes, timeout: float) -> None:
        name = operations.prefix + key
        self.channel = name.encode()
        self.leave = pack(("UNSUBSCRIBE", name))
        self._subscribe = pack(("SUBSCRIBE", name))
        self._look = pack(("GETRANGE", name, str(_LEASE.start), str(_LEASE.stop - 1)))
        self._operations = operations
        self._lease = lease
        self._end = time.monotonic() + timeout
        self._pause = _FIRST_PAUSE

    def look(self, listening: bool) -> Request:
        """What to ask, subscribing first unless ``listening``; the lease is the last reply."""
        return Request(self._look) if listening else Request(self._subscribe + self._look, 2)

    def over(self, replies: list[Any]) -> bool:
        """Whether the lease is gone; raises what an error reply means."""
        found = replies[-1]
        if found.__class__ is ReplyError and found.code == "WRONGTYPE":
            return True
        if found.__class__ is not bytes:
            raise self._operations.wrong(found)
        return bool(found != self._lease)

    def pause(self) -> float:
        """Seconds until the next look, should there be no hint; 0 or less at the end of the wait."""
        pause, self._pause = self._pause, min(self._pause * 1.5, _LONGEST_PAUSE)
        return min(pause, self._end - time.monotonic())
