"""Operations as generators, and the loops that run them.

An operation (`_reads.py`, `_writes.py`, `_removals.py`) is a generator that yields one call at a time, ``(function,
arguments)``, and receives its result, or has its exception raised at the ``yield``. It decides; it never performs.
`Cache` drives it with `run`, `AsyncCache` with `_async_steps.arun`, so both share every decision without sharing a
line of I/O.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

from .errors import CacheError

T = TypeVar("T")
Step: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]
Steps: TypeAlias = Generator[Step, Any, T]

_MOST_ATTEMPTS = 10_000
_PATIENT_AFTER = 4
_SHORTEST_PAUSE = 0.0001
_LONGEST_PAUSE = 0.02


def pause(seconds: float) -> None:
    """Wait; `arun` replaces it by the event loop's own sleep."""
    time.sleep(seconds)


def before(attempt: int) -> Steps[None]:
    """Before another attempt at a swap: at once for the first few, then after a random, growing pause.

    Raises:
        CacheError: After 10,000 attempts.
    """
    if attempt >= _MOST_ATTEMPTS:
        raise CacheError(f"gave up after {attempt} attempts: others changed the entry each time")
    if attempt >= _PATIENT_AFTER:
        longest = min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2 ** min(attempt - _PATIENT_AFTER, 10))
        yield pause, (random.uniform(0, longest),)


def run(steps: Steps[T]) -> T:
    """Drive ``steps`` to its end with plain calls."""
    broken: BaseException | None = None
    while True:
        try:
            call, args = next(steps) if broken is None else steps.throw(broken)
            while True:
                try:
                    result = call(*args)
                except BaseException as error:
                    call, args = steps.throw(error)
                else:
                    call, args = steps.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        except BaseException as error:
            if getattr(steps, "gi_frame", None) is None:  # the steps have ended with it
                raise
            # Raised here, between two calls, by a signal's handler: the steps may have something to undo.
            broken = error
