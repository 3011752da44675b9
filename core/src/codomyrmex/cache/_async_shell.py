"""`TaskShell`: how the loads of an asynchronous cache wait, compute and go on by themselves."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from ._async_steps import Perform, arun
from ._background import Background
from ._flights import Flight, Loop, computing
from ._steps import Steps


class TaskShell:
    """For event loops: every load is a task of its own, so that no caller's cancellation ends it for the others.

    Args:
        perform: How calls of the driver are made.
        background: Where loads go on without a caller.
    """

    inline = False

    def __init__(self, perform: Perform, background: Background) -> None:
        self._perform = perform
        self._background = background
        self._own: set[Callable[..., Any]] = {self.wait, self.call}

    def perform(self, call: Callable[..., Any], *args: Any) -> Awaitable[Any]:
        """One step, of this shell or of the driver."""
        if call in self._own:
            result: Awaitable[Any] = call(*args)
            return result
        return self._perform(call, *args)

    def loop(self) -> Loop | None:
        """The loop of the caller."""
        return asyncio.get_running_loop()

    def blocks(self) -> Loop | None:
        """None: who awaits lets others go on."""
        return None

    async def wait(self, flight: Flight, timeout: float | None) -> None:
        """See `Shell.wait`."""
        loop = asyncio.get_running_loop()
        there: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not there.done():
                there.set_result(None)

        flight.tell(wake, loop)
        timer = None if timeout is None else loop.call_later(timeout, wake)
        try:
            await there
        finally:
            if timer is not None:
                timer.cancel()

    async def call(self, flights: tuple[Flight, ...], function: Callable[..., Any], *args: Any) -> Any:
        """See `Shell.call`; what can be awaited is."""
        token = computing.set(computing.get() + flights)
        try:
            result = function(*args)
            return await result if inspect.isawaitable(result) else result
        except BaseException as error:
            if not (isinstance(error, Exception) or _ordered(error)):
                for flight in flights:
                    flight.broken = error
            raise
        finally:
            computing.reset(token)

    def spawn(self, flight: Flight, steps: Steps[None], abandon: Callable[[], object]) -> bool:
        """See `Shell.spawn`; in a task of its own."""
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        context.run(computing.set, ())
        task: asyncio.Task[None] | None = None

        def cancel() -> None:
            if task is not None:
                try:
                    loop.call_soon_threadsafe(task.cancel)
                except RuntimeError:  # the loop is closed, and the task with it
                    abandon()

        def ended(task: asyncio.Task[None]) -> None:
            self._background.end(flight)
            abandon()
            if not task.cancelled():
                task.exception()  # the callers have been told; what nobody was told has been logged

        if not self._background.begin(flight, cancel):
            return False
        flight.when_deserted = cancel
        task = loop.create_task(arun(steps, self.perform), context=context)
        task.add_done_callback(ended)
        return True


def _ordered(error: BaseException) -> bool:
    """Whether the running task was told to end by ``error``, rather than what it computes having raised it."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
