"""One way to write a test for both views: the asynchronous one, driven from synchronous code."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import threading
from collections.abc import Awaitable
from contextlib import suppress
from types import TracebackType
from typing import Any

_threads = threading.local()
_runners: set[asyncio.Runner] = set()


class Awaited:
    """An asynchronous cache (or driver, or lock) whose methods wait for their result.

    Each thread gets an event loop of its own, so a test with several threads is one with several event loops here.

    Args:
        target: What is driven.
    """

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if not callable(attribute) or inspect.isclass(attribute):
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            result = attribute(*args, **kwargs)
            if inspect.isawaitable(result):
                return wait_for(result)
            return Awaited(result) if hasattr(result, "__aenter__") else result

        return call

    def __getitem__(self, key: str) -> Any:
        return wait_for(self._target[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.delete(key):
            self[key]

    def __contains__(self, key: object) -> bool:
        return bool(self.exists(key))

    def __enter__(self) -> Awaited:
        wait_for(self._target.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wait_for(self._target.__aexit__(kind, error, trace))


def wait_for(awaitable: Awaitable[Any]) -> Any:
    """Run ``awaitable`` on this thread's event loop to its end."""
    runner: asyncio.Runner | None = getattr(_threads, "runner", None)
    if runner is None:
        runner = _threads.runner = asyncio.Runner()
        _runners.add(runner)

    async def wait() -> Any:
        return await awaitable

    return runner.run(wait())


def close_loop() -> None:
    """Close this thread's event loop, if it has one: for threads that end before the program does."""
    runner: asyncio.Runner | None = getattr(_threads, "runner", None)
    if runner is not None:
        del _threads.runner
        _runners.discard(runner)
        runner.close()


@atexit.register
def _close_loops() -> None:
    for runner in _runners:
        # A loop joins its executor from a new thread, which some versions of Python refuse this late. By then the
        # executor's own threads have ended, and the loop is closed all the same.
        with suppress(RuntimeError):
            runner.close()
