"""Cached generators: items are handed on as they come, replayed for whoever comes later, and stored once all are there.

The load of such a value is one like any other; its factory is a pump that takes the items out of the generator and puts
them into `Parts`, from where every caller of this process reads at its own pace. What is broken off is not stored: by
an error, or because nobody is left who reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from itertools import islice
from typing import Any, cast

from ._flights import Flight, Waiting
from ._load import AGAIN, Failed, Loaded, Outcome
from ._load_context import LoadContext, LoadOptions
from ._loads import Arrived, Loads
from ._steps import run
from .errors import CacheConnectionError, CacheError, CacheFullError

_MISSING: Any = object()


class Parts:
    """The items that there are, and the bells of those who wait for more.

    Attributes:
        items: In their order.
        abandoned: Nobody reads any more.
    """

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.abandoned = False
        self._lock = threading.Lock()
        self._bells: list[Callable[[], object]] = []

    def put(self, item: Any) -> None:
        """One more."""
        with self._lock:
            self.items.append(item)
            bells = tuple(self._bells)
        for bell in bells:
            bell()

    def listen(self, bell: Callable[[], object]) -> None:
        """Have ``bell`` called after every item."""
        with self._lock:
            self._bells.append(bell)

    def forget(self, bell: Callable[[], object]) -> None:
        """Call it no more."""
        with self._lock:
            self._bells.remove(bell)

    def abandon(self) -> None:
        """Say that nobody reads any more."""
        self.abandoned = True


def broken_off(loads: Loads, key: str) -> CacheError:
    """For a caller who has read the first items of a stream of which no more will come."""
    store = loads.store
    return CacheError(
        f"cache {store.name!r}: the load of a stream was broken off", cache=store.name, backend=store.backend, key=key
    )


def items_of(loads: Loads, value: Any) -> Iterable[Any]:
    """The items of a stored stream; raises `CacheError` if it is none."""
    if isinstance(value, (list, tuple)):
        return cast("Iterable[Any]", value)
    store = loads.store
    raise CacheError(f"cache {store.name!r}: expected the items of a stream, found a {type(value).__name__}")


def rest(loads: Loads, arrived: Arrived, key: str, count: int) -> Iterable[Any] | None:
    """What comes after the first ``count`` items of a stream that has ended; None if another load has to be tried.

    Raises:
        CacheError: It was broken off, and some have been handed on already.
        BaseException: It has failed.
    """
    outcome: Outcome = arrived.flight.outcome
    if arrived.leads and arrived.flight.broken is not None:
        raise arrived.flight.broken
    if outcome is AGAIN or (isinstance(outcome, Loaded) and outcome.private):
        if count:
            raise broken_off(loads, key)
        return None
    if isinstance(outcome, Failed) and count:
        raise outcome.error
    return tuple(items_of(loads, loads.given(outcome)))[count:]


def prepare(flight: Flight) -> None:
    """Make a flight one whose outcome comes in parts."""
    flight.parts = Parts()
    flight.when_deserted = flight.parts.abandon


def stream(
    loads: Loads,
    get: Callable[..., Any],
    key: str,
    source: Callable[[], Generator[Any, Any, Any]],
    options: LoadOptions,
) -> Generator[Any, None, None]:
    """The items that ``source`` generates, from the cache, from a load under way, or from a new one.

    Args:
        loads: The view's.
        get: The view's `get`.
        key: The user's key.
        source: Makes the generator; its items are taken out in a thread of its own.
        options: How it is loaded.
    """
    parts: Parts | None = None

    def begin(flight: Flight) -> None:
        nonlocal parts
        prepare(flight)
        parts = flight.parts

    def pump(context: LoadContext[Any]) -> list[Any]:
        items: list[Any] = []
        with closing(source()) as generator:
            for item in generator:
                if parts is not None:
                    if parts.abandoned:
                        context.skipped = context.private = True
                        return []
                    parts.put(item)
                items.append(item)
        return items

    job = loads.job(key, pump, options)._replace(prepare=begin)
    try:
        value = get(key, _MISSING)
        while value is _MISSING:
            arrived = run(loads.arrive(job, None))
            if isinstance(arrived, Loaded):
                value = arrived.value
            elif arrived is not None and arrived.flight.parts is None:
                outcome = run(loads.outcome(job, arrived.flight, leads=arrived.leads, patience=arrived.patience))
                value = _MISSING if outcome is AGAIN else loads.given(outcome)
            elif arrived is not None and (yield from _read(loads, arrived, key, source)):
                return
    except (CacheConnectionError, CacheFullError) as error:
        loads.loader.failing(error, key)
        yield from source()
        return
    yield from items_of(loads, value)


def _read(loads: Loads, arrived: Arrived, key: str, source: Callable[[], Iterable[Any]]) -> Generator[Any, None, bool]:
    """Hand on what comes; False if nothing came and another load has to be tried."""
    flight, parts = arrived.flight, arrived.flight.parts
    bell = threading.Event()
    count, over, may = 0, False, True
    if not arrived.leads:
        loads.store.recorder.waits_joined.increment()
    parts.listen(bell.set)
    flight.tell(bell.set)
    try:
        while may and not over:
            bell.clear()
            over = flight.done  # asked before the items: none comes afterwards
            while count < len(parts.items):
                count += 1
                yield parts.items[count - 1]
            if not over:
                with Waiting(flight, loads.shell.blocks()) as may:
                    if may:
                        bell.wait()
    finally:
        parts.forget(bell.set)
        flight.leave()
    left = rest(loads, arrived, key, count) if over else islice(source(), count, None)  # a wait would never end
    if left is not None:
        yield from left
    return left is not None
