"""What the tests of this serializer share: caches on a backend of bytes, with the default serializer or another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import Cache, CacheManager, hookimpl
from codomyrmex.cache.backend import Backend, BackendRequest, Capabilities, SimpleBackend, process_clock

# Test modules are imported one by one, by path: without this they could not import their helper.
sys.path.insert(0, str(Path(__file__).parent))


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
    """A function that opens a cache on a backend of bytes, by default with the default serializer."""
    with CacheManager({}, environ={}) as manager:
        manager.register(DictPlugin(), "dict")
        yield lambda name="app", **options: manager.get_cache(name, backend="dict", **options)
