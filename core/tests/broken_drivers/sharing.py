"""Mistakes of drivers whose store outlives the process, or is shared by several."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, ClassVar
from weakref import WeakKeyDictionary

from dict_driver import DictDriver
from sound_drivers import FileDriver

from codomyrmex.cache.backend import BackendRequest, Capabilities, Clock, Field, Version, machine_clock

from ._caught import caught_by


@caught_by("test_capabilities_hold_together")
class SaysTooMuch(DictDriver):
    """Promises what can't be: times of a process that outlive it."""

    declares = Capabilities(swap=False, blocking="never", persistent=True)


@caught_by("test_another_user_of_the_store", "test_incr_among_processes")
class KeepsToItself(FileDriver):
    """Says that it is shared, and never opens the file."""

    @contextmanager
    def held(self) -> Iterator[None]:
        with self.mutex:
            yield


@caught_by("test_incr_among_processes")
class LocksOutThreadsOnly(FileDriver):
    """Has a lock, in this process."""

    def acquire(self, lock: IO[str]) -> None:
        time.sleep(0.0002)  # otherwise one process may be through before the next one starts


@caught_by("test_another_user_of_the_store", "test_state_machine")
class ReadsFromItsCopy(FileDriver):
    """Remembers what it has read until it changes that itself."""

    def __init__(self, request: BackendRequest) -> None:
        super().__init__(request)
        self.copy: dict[str, bytes] = {}

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        unknown = [key for key in keys if key not in self.copy]
        self.copy |= super().get_many(unknown)
        return {key: self.copy[key] for key in keys if key in self.copy}

    def put_many(self, records: Mapping[str, bytes]) -> None:
        super().put_many(records)
        self.copy |= records

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        for key in keys:
            self.copy.pop(key, None)
        return super().remove_many(keys)

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        self.copy.pop(key, None)
        return super().swap(key, field, expected, new, header_only)


@caught_by("test_state_machine")
class ForgetsAtTheEnd(FileDriver):
    """Says that it is persistent, and tidies up."""

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


@caught_by("test_two_caches_that_close")
class WritesAllAtTheEnd(DictDriver):
    """Reads a file when it is opened and writes it when it is closed: one and the same for all caches."""

    declares = Capabilities(swap=False, blocking="never", persistent=True, clock="boot")
    files: ClassVar[WeakKeyDictionary[Clock, dict[str, bytes]]] = WeakKeyDictionary()

    def __init__(self, request: BackendRequest) -> None:
        super().__init__(request)
        self.now = request.clock or machine_clock
        self.store.data = dict(self.files.get(self.now, {}))

    def close(self) -> None:
        if not self.store.closed:
            self.files[self.now] = self.store.data
        super().close()


@caught_by("test_two_caches_that_close")
class ClosesForAll(DictDriver):
    """Empties, when it is closed, the dict that all caches are in."""

    data: ClassVar[WeakKeyDictionary[Clock, dict[str, bytes]]] = WeakKeyDictionary()

    def __init__(self, request: BackendRequest) -> None:
        super().__init__(request)
        self.store.data = self.data.setdefault(self.now, {})

    def close(self) -> None:
        self.store.data.clear()
