"""What the tests of loads share: a factory that can be held, calls in other threads, and a view whose loop runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from codomyrmex.cache._load_context import positionals

PATIENCE = 30.0


class Source:
    """A factory that gives its values one after the other, the last one for ever; errors among them are raised.

    Args:
        values: What it gives.
        held: Every call waits for `go`.

    Attributes:
        calls: How often it has been called.
        begun: Set by every call.
        go: Lets those go on that are held.
    """

    def __init__(self, *values: Any, held: bool = False) -> None:
        self.values = values
        self.calls = 0
        self.begun = threading.Event()
        self.go = threading.Event()
        self._lock = threading.Lock()
        if not held:
            self.go.set()

    def __call__(self) -> Any:
        with self._lock:
            self.calls += 1
            value = self.values[min(self.calls, len(self.values)) - 1]
        self.begun.set()
        assert self.go.wait(PATIENCE)
        if isinstance(value, BaseException):
            raise value
        return value


class Call(threading.Thread):
    """``function(*args, **options)`` in another thread."""

    def __init__(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        super().__init__(daemon=True)
        self._work = (function, args, options)
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        function, args, options = self._work
        try:
            self._value = function(*args, **options)
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        """What it gives or raises."""
        self.join(PATIENCE)
        assert not self.is_alive(), "a call doesn't come back"
        if self._error is not None:
            raise self._error
        return self._value


def until(condition: Callable[[], Any], what: str = "it") -> None:
    """Wait for something that has no bell."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} doesn't happen"
        time.sleep(0.001)


def waiting(cache: Any, key: str = "key") -> int:
    """How many callers the load of ``key`` has whose factory runs; the one who leads it is among them."""
    flight = cache._store.flights.newest(cache._store.keys.prefix + key)
    return flight._callers if flight is not None and flight.started else 0


class Room:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(ThreadPoolExecutor(64))  # factories that are held each take a thread
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """The result of a coroutine function there, in the caller's context."""

        async def call() -> Any:
            return await function(*args, **options)

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(PATIENCE)

    def close(self) -> None:
        """Cancel what is left, and end."""

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self.loop.shutdown_default_executor()

        self.do(end)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


class InRoom:
    """An asynchronous cache, called from threads; its factories are coroutines that wait for a thread."""

    def __init__(self, target: Any, room: Room) -> None:
        self._target = target
        self._room = room

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if not asyncio.iscoroutinefunction(attribute) and name != "get_or_set":
            return attribute

        def call(*args: Any, **options: Any) -> Any:
            if name == "get_or_set":
                args = (args[0], in_coroutine(args[1]), *args[2:])
            return self._room.do(attribute, *args, **options)

        return call

    def namespace(self, prefix: str) -> InRoom:
        """A namespace of it."""
        return InRoom(self._target.namespace(prefix), self._room)


def in_coroutine(factory: Any) -> Any:
    """The coroutine function that a plain factory corresponds to."""
    if not callable(factory) or asyncio.iscoroutinefunction(factory):
        return factory

    async def with_context(context: Any) -> Any:
        return await asyncio.to_thread(factory, context)

    async def without() -> Any:
        return await asyncio.to_thread(factory)

    return with_context if positionals(factory) else without
