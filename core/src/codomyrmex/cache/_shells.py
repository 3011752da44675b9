"""What differs between a load of threads and one of event loops: how it waits, computes and goes on by itself.

`ThreadShell` is here, `TaskShell` for event loops in `_async_shell.py`.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

from ._background import Background
from ._flights import Flight, Loop, computing
from ._steps import Steps, run


class Shell(Protocol):
    """What `Loads` needs of either kind; `wait` and `call` are steps, the others are called as they are."""

    inline: bool
    """Whether a load may run in its first caller."""

    def loop(self) -> Loop | None:
        """The event loop that a load runs on."""
        ...

    def blocks(self) -> Loop | None:
        """The event loop that does nothing else while a caller waits."""
        ...

    def wait(self, flight: Flight, timeout: float | None) -> Any:
        """Wait for ``flight``, up to ``timeout`` seconds."""
        ...

    def call(self, flights: tuple[Flight, ...], function: Callable[..., Any], *args: Any) -> Any:
        """``function(*args)`` as part of ``flights``."""
        ...

    def spawn(self, flight: Flight, steps: Steps[None], abandon: Callable[[], object]) -> bool:
        """Drive ``steps`` without the caller; False if that can't be. ``abandon`` is called when it has ended."""
        ...


def running_loop() -> Any:
    """The event loop that runs in this thread, if any."""
    asyncio = sys.modules.get("asyncio")  # whoever runs a loop has imported it
    return None if asyncio is None else asyncio._get_running_loop()


def is_awaitable(result: object) -> bool:
    """Whether ``result`` has to be awaited."""
    return hasattr(result.__class__, "__await__")


class ThreadShell:
    """For threads.

    Args:
        background: Where loads go on without a caller.
    """

    inline = True

    def __init__(self, background: Background) -> None:
        self._background = background

    def loop(self) -> Loop | None:
        """None: a load of threads needs no loop."""
        return None

    def blocks(self) -> Loop | None:
        """The loop of a coroutine that calls synchronous code."""
        loop: Loop | None = running_loop()
        return loop

    def wait(self, flight: Flight, timeout: float | None) -> None:
        """See `Shell.wait`."""
        there = threading.Event()
        flight.tell(there.set)
        there.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def call(self, flights: tuple[Flight, ...], function: Callable[..., Any], *args: Any) -> Any:
        """See `Shell.call`.

        Raises:
            TypeError: It gave back a coroutine.
        """
        token = computing.set(computing.get() + flights)
        try:
            result = function(*args)
        except BaseException as error:
            if not isinstance(error, Exception):
                for flight in flights:
                    flight.broken = error
            raise
        finally:
            computing.reset(token)
        if is_awaitable(result):
            if hasattr(result, "close"):
                result.close()
            raise TypeError(
                f"the factory gave back a {type(result).__name__}, which only an asynchronous cache awaits: "
                "use get_async_cache()"
            )
        return result

    def spawn(self, flight: Flight, steps: Steps[None], abandon: Callable[[], object]) -> bool:
        """See `Shell.spawn`; in a thread of its own."""
        context = contextvars.copy_context()
        context.run(computing.set, ())

        def work() -> None:
            try:
                context.run(run, steps)
            except BaseException as error:
                if error is not flight.broken:  # who leads it raises it, and what nobody raises has been logged
                    raise
            finally:
                self._background.end(flight)
                abandon()

        if not self._background.begin(flight, None):
            return False
        try:
            threading.Thread(target=work, name="codomyrmex-cache-load", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter is about to end
            self._background.end(flight)
            return False
        return True
