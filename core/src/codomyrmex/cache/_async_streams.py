"""Cached asynchronous generators: the twin of `_streams.py`, whose pump is a task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from ._async_shell import TaskShell
from ._async_steps import arun
from ._flights import Flight, Waiting
from ._load import AGAIN, Loaded
from ._load_context import LoadContext, LoadOptions
from ._loads import Arrived, Loads
from ._streams import Parts, items_of, prepare, rest
from .errors import CacheConnectionError, CacheFullError

_MISSING: Any = object()


async def astream(
    loads: Loads,
    shell: TaskShell,
    get: Callable[..., Awaitable[Any]],
    key: str,
    source: Callable[[], AsyncGenerator[Any, Any]],
    options: LoadOptions,
) -> AsyncGenerator[Any, None]:
    """The items that ``source`` generates; see `_streams.stream`, whose generator runs in a task of its own here.

    Args:
        loads: The view's.
        shell: Its shell.
        get: The view's `get`.
        key: The user's key.
        source: Makes the generator.
        options: How it is loaded.
    """
    parts: Parts | None = None

    def begin(flight: Flight) -> None:
        nonlocal parts
        prepare(flight)
        parts = flight.parts

    async def pump(_: LoadContext[Any]) -> list[Any]:
        items: list[Any] = []
        async with aclosing(source()) as generator:
            async for item in generator:
                if parts is not None:
                    parts.put(item)
                items.append(item)
        return items

    job = loads.job(key, pump, options)._replace(prepare=begin)
    try:
        value = await get(key, _MISSING)
        while value is _MISSING:
            arrived = await arun(loads.arrive(job, None), shell.perform)
            if isinstance(arrived, Loaded):
                value = arrived.value
            elif arrived is not None and arrived.flight.parts is None:
                steps = loads.outcome(job, arrived.flight, leads=arrived.leads, patience=arrived.patience)
                outcome = await arun(steps, shell.perform)
                value = _MISSING if outcome is AGAIN else loads.given(outcome)
            elif arrived is not None:
                reader = _Reader(loads, arrived, key)
                async with aclosing(reader.items()) as items:
                    async for item in items:
                        yield item
                if reader.served:
                    return
                if reader.alone:
                    break
    except (CacheConnectionError, CacheFullError) as error:
        loads.loader.failing(error, key)
        value = _MISSING
    if value is not _MISSING:
        for item in items_of(loads, value):
            yield item
        return
    async with aclosing(source()) as generator:
        async for item in generator:
            yield item


class _Reader:
    """One caller's way through a stream.

    Args:
        loads: The view's.
        arrived: The caller, at the load.
        key: The user's key.

    Attributes:
        served: Everything has been handed on.
        alone: A wait would never end: the caller has to compute for itself.
    """

    def __init__(self, loads: Loads, arrived: Arrived, key: str) -> None:
        self._loads = loads
        self._arrived = arrived
        self._key = key
        self.served = False
        self.alone = False

    async def items(self) -> AsyncGenerator[Any, None]:
        """What comes, as it comes."""
        flight = self._arrived.flight
        parts: Parts = flight.parts
        loop = asyncio.get_running_loop()
        there = asyncio.Event()
        count, over = 0, False

        def bell() -> None:
            with suppress(RuntimeError):  # the loop is closed, and the caller with it
                loop.call_soon_threadsafe(there.set)

        if not self._arrived.leads:
            self._loads.store.recorder.waits_joined.increment()
        parts.listen(bell)
        flight.tell(there.set, loop)
        try:
            while not over:
                there.clear()
                over = flight.done  # asked before the items: none comes afterwards
                while count < len(parts.items):
                    count += 1
                    yield parts.items[count - 1]
                if not over:
                    with Waiting(flight, None) as may:
                        if not may:
                            self.alone = not count
                            break
                        await there.wait()
        finally:
            parts.forget(bell)
            flight.leave()
        if not over:
            if count:
                raise RuntimeError("a stream waits for itself")
            return
        left = rest(self._loads, self._arrived, self._key, count)
        for item in left or ():
            yield item
        self.served = left is not None
