"""What the tests of this stage share: caches on a backend of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from codomyrmex.cache import Cache, CacheManager, hookimpl
from codomyrmex.cache.backend import Backend, BackendRequest, Capabilities, SimpleBackend, process_clock


class DictStore:
    """As little as `SimpleBackend` asks for."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

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


class DictPlugin:
    @hookimpl
    def create_backend(self, request: BackendRequest) -> Backend[bytes]:
        capabilities = Capabilities(swap=False, blocking="never")
        return SimpleBackend(DictStore(), now=process_clock, capabilities=capabilities)


@pytest.fixture
def open_cache() -> Iterator[Callable[..., Cache[Any]]]:
    """A function that opens a cache whose values pass this stage behind the serializer ``json``."""
    with CacheManager({}, environ={}) as manager:
        manager.register(DictPlugin(), "dict")

        def open_cache(name: str = "app", serializer: Any = ("json", "zstd")) -> Cache[Any]:
            return manager.get_cache(name, backend="dict", serializer=serializer)

        yield open_cache
