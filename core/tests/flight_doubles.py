"""What the tests of flights share: code that is part of a computation, and a loop that runs when it is told to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from codomyrmex.cache._flights import Flight, computing


@contextlib.contextmanager
def part_of(*inside: Flight) -> Iterator[None]:
    """The code in the block is part of these computations."""
    token = computing.set(inside)
    try:
        yield
    finally:
        computing.reset(token)


class LoopDouble:
    """An event loop as flights know one; calls are kept until `run`."""

    def __init__(self, *, closed: bool = False) -> None:
        self.calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.closed = closed

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.calls.append((callback, args))

    def run(self) -> None:
        for callback, args in self.calls:
            callback(*args)
