"""The loop that drives an operation for `AsyncCache`, and the three ways to perform one call of it.

Apart from `_steps.py` because importing asyncio costs more than the rest of this package together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from ._steps import Steps, pause

T = TypeVar("T")
Perform: TypeAlias = Callable[..., Awaitable[Any]]


async def arun(steps: Steps[T], perform: Perform) -> T:
    """Drive ``steps`` to its end, each call through ``perform``."""
    try:
        call, args = next(steps)
        while True:
            try:
                result = await (asyncio.sleep(*args) if call is pause else perform(call, *args))
            except BaseException as error:
                call, args = steps.throw(error)
            else:
                call, args = steps.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def inline(call: Callable[..., Any], *args: Any) -> Any:
    """For synchronous drivers that never block."""
    return call(*args)


def native(call: Callable[..., Awaitable[Any]], *args: Any) -> Awaitable[Any]:
    """For asynchronous drivers."""
    return call(*args)


in_thread: Perform = asyncio.to_thread
