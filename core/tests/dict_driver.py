"""Drivers for tests of the core, so that these need no other distribution: bytes in a dict, working or failing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from codomyrmex.cache import CacheConnectionError, CacheManager, hookimpl
from codomyrmex.cache.backend import (
    BackendRequest,
    Capabilities,
    Field,
    ScanPage,
    SimpleBackend,
    Version,
    process_clock,
)
from codomyrmex.cache.options import option

JSON = {"backend": "dict", "serializer": "json"}


class DictStore:
    """As little as `SimpleBackend` asks for."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.closed = False

    def get(self, key: str) -> bytes | None:
        return self.data.get(key)

    def set(self, key: str, data: bytes) -> None:
        self.data[key] = data

    def delete(self, key: str) -> None:
        self.data.pop(key, None)

    def keys(self, prefix: str) -> list[str]:
        return [key for key in list(self.data) if key.startswith(prefix)]

    def close(self) -> None:
        self.data = {}
        self.closed = True


class DictDriver(SimpleBackend):
    """A complete driver of bytes for one process."""

    declares = Capabilities(swap=False, blocking="never")

    def __init__(self, request: BackendRequest) -> None:
        self.request = request
        self.store = DictStore()
        super().__init__(self.store, now=request.clock or process_clock, capabilities=self.declares)


class FailingDriver(DictDriver):
    """Can't be reached while ``down``."""

    down = False

    def check(self) -> None:
        if self.down:
            raise CacheConnectionError("connection refused") from ConnectionRefusedError(111)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        self.check()
        return super().get_many(keys)

    def put_many(self, records: Mapping[str, bytes]) -> None:
        self.check()
        super().put_many(records)

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        self.check()
        return super().remove_many(keys)

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        self.check()
        return super().scan(prefix, cursor, limit)

    def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool = False
    ) -> bool:
        self.check()
        return super().swap(key, field, expected, new, header_only)


@dataclass(frozen=True)
class DictOptions:
    """One option of every kind that a test asks for."""

    max_entries: int | None = option(None, kind="count", optional=True, help="Most entries.")
    max_bytes: int | None = option(None, kind="size", optional=True, help="Most bytes.")
    timeout: float = option(1.0, kind="duration", help="Longest wait.")
    path: str = option("here", kind="path", help="Where.")
    url: str = option("none", kind="text", help="Which server.")
    password: str = option("none", kind="secret", help="For the server.")
    sizer: Any = option(None, kind="object", optional=True, help="A function.")


class DictPlugin:
    """Makes drivers of one class and remembers them."""

    def __init__(self, driver: type[DictDriver] = DictDriver) -> None:
        self.driver = driver
        self.options: list[DictOptions] = []
        self.made: list[Any] = []

    @hookimpl
    def create_backend(self, request: BackendRequest) -> DictDriver:
        self.options.append(request.parse(DictOptions))
        self.made.append(self.driver(request))
        return self.made[-1]


@contextmanager
def managed(config: Any = None, driver: type[DictDriver] = DictDriver, **arguments: Any) -> Iterator[CacheManager]:
    """A manager that knows the backend ``dict``; caches without a table are on it, as JSON."""
    with CacheManager({"defaults": JSON} if config is None else config, **{"environ": {}, **arguments}) as manager:
        manager.register(DictPlugin(driver), "dict")
        yield manager
