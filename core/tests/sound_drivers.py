"""Sound drivers of the kinds that `DictDriver` is not: each of them, too, is there to have a mistake built in."""

from __future__ import annotations

import fcntl
import math
import os
import pickle
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from dict_driver import JSON, DictDriver, DictOptions, DictPlugin

from codomyrmex.cache import hookimpl
from codomyrmex.cache.backend import (
    AsyncBackend,
    Backend,
    BackendRequest,
    Capabilities,
    Direct,
    DirectPort,
    Field,
    Record,
    ScanPage,
    Version,
    machine_clock,
    process_clock,
)


class ObjectDriver(Backend[Record]):
    """Records as they are, in a dict."""

    declares = Capabilities(stores="objects", swap=False, blocking="never")

    def __init__(self, request: BackendRequest) -> None:
        self.request = request
        self.capabilities = self.declares
        self.now = request.clock or process_clock
        self.records: dict[str, Record] = {}
        self.lock = threading.RLock()

    def keep(self, key: str, record: Record) -> Record:
        """What is stored for a record; whatever is stored comes by here."""
        return record

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        found = ((key, self.records.get(key)) for key in keys)
        return {key: record for key, record in found if record is not None}

    def put_many(self, records: Mapping[str, Record]) -> None:
        with self.lock:
            self.records |= {key: self.keep(key, record) for key, record in records.items()}

    def remove_many(self, keys: Sequence[str]) -> dict[str, Record]:
        with self.lock:
            return {key: self.records.pop(key) for key in keys if key in self.records}

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[Record]:
        with self.lock:
            keys = sorted(key for key in self.records if key.startswith(prefix) and (cursor is None or key > cursor))
            page = keys[:limit]
            return ScanPage({key: self.records[key] for key in page}, page[-1] if len(keys) > limit else None)

    def swap(
        self, key: str, field: Field, expected: Version | None, new: Record | None, header_only: bool = False
    ) -> bool:
        with self.lock:
            old = self.records.get(key)
            found = None if old is None else old.version if field is Field.VERSION else old.lease
            if found != expected or (old is None) != (expected is None):
                return False
            if new is None:
                del self.records[key]
            else:
                if header_only and old is not None:
                    new = replace(new, value=old.value, tags=old.tags, token=old.token)
                self.records[key] = self.keep(key, new)
            return True

    def close(self) -> None:
        self.records = {}


class OneTripDriver(ObjectDriver):
    """Returns markers along with the records that need them."""

    declares = replace(ObjectDriver.declares, one_trip_tags=True)

    def get_tagged(self, keys: Sequence[str], marker: str) -> tuple[Mapping[str, Record], Mapping[str, Record]]:
        records = self.get_many(keys)
        tags = {tag for record in records.values() for tag, _ in record.tags}
        markers = self.get_many([marker + tag for tag in tags])
        return records, {tag: markers[marker + tag] for tag in tags if marker + tag in markers}


class DirectDriver(ObjectDriver):
    """Serves and stores plain entries itself."""

    declares = replace(ObjectDriver.declares, isolated=True, direct=True)
    closed = False

    def direct(self, port: DirectPort) -> Direct:
        return Direct(partial(self.direct_get, port), partial(self.direct_set, port))

    def direct_get(self, port: DirectPort, key: Any, default: Any = None) -> Any:
        record = self.records.get(key) if isinstance(key, str) else None
        if record is None or record.pending or record.tags or self.now() >= record.fresh_until:
            return port.get(key, default)
        port.hits.increment()
        return record.value

    def direct_set(
        self, port: DirectPort, key: Any, value: Any, ttl: Any = None, *, tags: Any = (), stale_for: Any = None
    ) -> Any:
        ordinary = isinstance(key, str) and key.isascii() and key > "\1"
        if self.closed or not ordinary or tags or not (ttl is None and stale_for is None):
            return port.set(key, value, ttl, tags=tags, stale_for=stale_for)
        self.store_direct(port, key, value, port.ttl)
        return True

    def store_direct(self, port: DirectPort, key: str, value: Any, ttl: float) -> None:
        version = port.sets.increment()
        until = math.inf if ttl == math.inf else self.now() + ttl
        self.put_many({key: Record(value, version, until, until, ttl)})

    def close(self) -> None:
        self.closed = True
        super().close()


class FileDriver(DictDriver):
    """A dict in a file, read and written anew by every call, for all the processes of a machine.

    The class is a plugin itself, because other processes find a driver only if it is installed under a name.
    """

    declares = Capabilities(shared=True, persistent=True, clock="boot")

    def __init__(self, request: BackendRequest) -> None:
        super().__init__(request)
        self.now = request.clock or machine_clock
        self.path = Path(request.parse(DictOptions).path)
        self.mutex = threading.RLock()
        self.inside = False

    @classmethod
    @hookimpl
    def create_backend(cls, request: BackendRequest) -> FileDriver:
        return cls(request)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The dict is what the file holds, and nobody else has it meanwhile."""
        with self.mutex:
            if self.inside:  # `scan` calls `get_many`
                yield
                return
            with self.path.with_suffix(".lock").open("w") as lock:
                self.acquire(lock)
                before = self.path.read_bytes() if self.path.exists() else pickle.dumps({})
                self.store.data = pickle.loads(before)
                self.inside = True
                try:
                    yield
                finally:
                    self.inside = False
                    if (after := pickle.dumps(self.store.data)) != before:
                        scratch = self.path.with_suffix(f".{os.getpid()}")
                        scratch.write_bytes(after)
                        scratch.replace(self.path)

    def acquire(self, lock: IO[str]) -> None:
        """Lock other processes out, until ``lock`` is closed."""
        fcntl.flock(lock, fcntl.LOCK_EX)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        with self.held():
            return super().get_many(keys)

    def put_many(self, records: Mapping[str, bytes]) -> None:
        with self.held():
            super().put_many(records)

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        with self.held():
            return super().remove_many(keys)

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        with self.held():
            return super().scan(prefix, cursor, limit)

    def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool = False
    ) -> bool:
        with self.held():
            return super().swap(key, field, expected, new, header_only)

    def close(self) -> None:
        """Every call has closed the file itself."""


class AsyncDriver(AsyncBackend[bytes]):
    """The asynchronous twin of a `DictDriver`."""

    def __init__(self, twin: DictDriver) -> None:
        self.capabilities, self.now, self.twin = twin.capabilities, twin.now, twin

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return self.twin.get_many(keys)

    async def put_many(self, records: Mapping[str, bytes]) -> None:
        self.twin.put_many(records)

    async def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return self.twin.remove_many(keys)

    async def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        return self.twin.scan(prefix, cursor, limit)

    async def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool = False
    ) -> bool:
        return self.twin.swap(key, field, expected, new, header_only)

    async def close(self) -> None:
        """The twin is closed for itself."""


class AsyncPlugin:
    """Makes asynchronous drivers of one class, and their synchronous twins."""

    def __init__(self, driver: type[AsyncDriver]) -> None:
        self.driver = driver
        self.twins: dict[str, DictDriver] = {}

    @hookimpl
    def create_backend(self, request: BackendRequest) -> DictDriver:
        self.twins[request.cache] = DictDriver(request)
        return self.twins[request.cache]

    @hookimpl
    def create_async_backend(self, request: BackendRequest) -> AsyncDriver:
        return self.driver(self.twins[request.cache])


def plugin_for(driver: type[Any]) -> object | None:
    """What the kit has to register for a driver; None for one that is installed."""
    if issubclass(driver, FileDriver):
        return None
    return AsyncPlugin(driver) if issubclass(driver, AsyncDriver) else DictPlugin(driver)


def settings_for(driver: type[Any], directory: Path) -> dict[str, Any]:
    """The settings of a cache on a driver."""
    if issubclass(driver, FileDriver):
        return {**JSON, "backend": driver.__name__, "path": str(directory / "store")}
    return {"backend": "dict"} if issubclass(driver, ObjectDriver) else dict(JSON)
