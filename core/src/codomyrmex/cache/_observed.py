"""A driver, and factories, whose calls observers are told of. Only caches that have observers are made of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any

from ._capabilities import Usage
from ._driver import AnyAsyncBackend, AnyBackend, AsyncBackend, Backend
from ._stats import Recorder
from .observing import Observer, Outcome


class Observers:
    """The observers of one cache.

    Args:
        observers: Each with the name of its plugin.
        recorder: Counts what they raise.
    """

    def __init__(self, observers: Sequence[tuple[str, Observer]], recorder: Recorder) -> None:
        self.observers = tuple(observers)
        self.prefix = ""
        """What stands in front of the user's keys in the store."""
        self._recorder = recorder
        self._failing: set[str] = set()

    def watch(self, operation: str, storage: object = None) -> _Watch:
        """The context of one call.

        Args:
            operation: What is called.
            storage: The storage key that it is called with, if it is one.
        """
        key = None
        if isinstance(storage, str) and storage.startswith(self.prefix) and not storage.startswith("\0"):
            key = storage[len(self.prefix) :]
        return _Watch(self, operation, key)

    def factory(self, storage: str | None, factory: Callable[..., Any], *, awaited: bool) -> Callable[..., Any]:
        """``factory``, its calls watched as loads.

        Args:
            storage: Where its value is kept; None if it computes several.
            factory: Computes the value.
            awaited: Whether what it gives back is awaited if it can be.
        """

        def call(*args: Any) -> Any:
            with self.watch("load", storage):
                return factory(*args)

        async def call_and_await(*args: Any) -> Any:
            with self.watch("load", storage):
                result = factory(*args)
                return await result if hasattr(result.__class__, "__await__") else result

        return call_and_await if awaited else call

    def worked(self, name: str) -> None:
        """Note that the observer of plugin ``name`` did not raise."""
        if self._failing:
            self._failing.discard(name)

    def failed(self, name: str) -> None:
        """Count what the observer of plugin ``name`` raises just now; log the first one of an outage."""
        self._recorder.errors.increment()
        if name not in self._failing:
            self._failing.add(name)
            import logging

            logging.getLogger("codomyrmex.cache").exception("observer %r failed", name)


class _Watch:
    """All observers' contexts around one call; none of them can get in its way."""

    __slots__ = ("_entered", "_key", "_observers", "_operation", "_outcome")

    def __init__(self, observers: Observers, operation: str, key: str | None) -> None:
        self._observers = observers
        self._operation = operation
        self._key = key
        self._outcome = Outcome()
        self._entered: list[tuple[str, AbstractContextManager[Any]]] = []

    def __enter__(self) -> Outcome:
        for name, observer in self._observers.observers:
            try:
                context = observer.watch(self._operation, self._key, self._outcome)
                context.__enter__()
            except Exception:
                self._observers.failed(name)
            else:
                self._entered.append((name, context))
        return self._outcome

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._entered:
            name, context = self._entered.pop()
            try:
                context.__exit__(kind, error, trace)
            except BaseException as raised:
                if raised is error:  # as a generator does that has no try around its yield
                    self._observers.worked(name)
                elif isinstance(raised, Exception):
                    self._observers.failed(name)
                else:
                    raise
            else:
                self._observers.worked(name)


def _found(result: object) -> bool | None:
    return result is not None


def _done(result: object) -> bool | None:
    return bool(result)


def _several(result: object) -> bool | None:
    return None


_Judge = Callable[[object], "bool | None"]


def _watched(operation: str, judge: _Judge = _several) -> Any:
    """A method that calls the driver's, watched."""

    def method(self: ObservedBackend, *args: Any, **options: Any) -> Any:
        with self.observers.watch(operation, args[0] if args else None) as outcome:
            result = getattr(self.driver, operation)(*args, **options)
            outcome.found = judge(result)
            return result

    return method


def _awaited(operation: str, judge: _Judge = _several) -> Any:
    """The same for a driver that is awaited."""

    async def method(self: ObservedAsyncBackend, *args: Any, **options: Any) -> Any:
        with self.observers.watch(operation, args[0] if args else None) as outcome:
            result = await getattr(self.driver, operation)(*args, **options)
            outcome.found = judge(result)
            return result

    return method


class ObservedBackend(Backend[Any]):
    """A driver whose calls are watched.

    Args:
        driver: The driver itself.
        observers: Who watches.
    """

    def __init__(self, driver: AnyBackend, observers: Observers) -> None:
        self.driver = driver
        self.observers = observers
        # A read path of the driver's own would go past those who watch.
        self.capabilities = replace(driver.capabilities, direct=False)
        self.now = driver.now
        self.crc32 = driver.crc32

    get = _watched("get", _found)
    get_many = _watched("get_many")
    get_tagged = _watched("get_tagged")
    read = _watched("read", _found)
    put = _watched("put")
    put_many = _watched("put_many")
    swap = _watched("swap", _done)
    swap_many = _watched("swap_many")
    remove = _watched("remove", _found)
    remove_many = _watched("remove_many")
    scan = _watched("scan")
    clear = _watched("clear")
    purge = _watched("purge")
    open = _watched("open")
    ping = _watched("ping")
    compact = _watched("compact")
    wait = _watched("wait")

    def inspect(self) -> Any:
        """The driver's own, for people."""
        return self.driver.inspect()

    def usage(self) -> Usage:
        """The driver's own: it never waits."""
        return self.driver.usage()

    def leader_alive(self, lease: bytes) -> bool:
        """The driver's own."""
        return self.driver.leader_alive(lease)

    def close(self) -> None:
        """The driver's own."""
        self.driver.close()


class ObservedAsyncBackend(AsyncBackend[Any]):
    """An asynchronous driver whose calls are watched; see `ObservedBackend`."""

    def __init__(self, driver: AnyAsyncBackend, observers: Observers) -> None:
        self.driver = driver
        self.observers = observers
        self.capabilities = replace(driver.capabilities, direct=False)
        self.now = driver.now
        self.crc32 = driver.crc32

    get = _awaited("get", _found)
    get_many = _awaited("get_many")
    get_tagged = _awaited("get_tagged")
    put = _awaited("put")
    put_many = _awaited("put_many")
    swap = _awaited("swap", _done)
    swap_many = _awaited("swap_many")
    remove = _awaited("remove", _found)
    remove_many = _awaited("remove_many")
    scan = _awaited("scan")
    clear = _awaited("clear")
    purge = _awaited("purge")
    open = _awaited("open")
    ping = _awaited("ping")
    compact = _awaited("compact")
    wait = _awaited("wait")

    async def inspect(self) -> Any:
        """The driver's own, for people."""
        return await self.driver.inspect()

    def usage(self) -> Usage:
        """The driver's own: it never waits."""
        return self.driver.usage()

    def leader_alive(self, lease: bytes) -> bool:
        """The driver's own."""
        return self.driver.leader_alive(lease)

    async def close(self) -> None:
        """The driver's own."""
        await self.driver.close()
