"""A project of modules, a manager, and a backend for bytes that the tests look into and break."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import Cache, CacheManager, hookimpl
from codomyrmex.cache.backend import Backend, BackendRequest, Capabilities, SimpleBackend, Usage, process_clock
from codomyrmex.cache.options import option
from codomyrmex_cache_cli import _access, _whole
from codomyrmex_cache_cli._run import run


class Store:
    """A dict of bytes that remembers what happened to it."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.written: list[str] = []
        self.removed: list[str] = []
        self.spoil: Callable[[bytes], bytes] | None = None
        self.failure: Exception | None = None

    def get(self, key: str) -> bytes | None:
        if self.failure is not None:
            raise self.failure
        found = self.data.get(key)
        return found if found is None or self.spoil is None else self.spoil(found)

    def set(self, key: str, data: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.written.append(key)
        self.data[key] = data

    def delete(self, key: str) -> None:
        self.removed.append(key)
        self.data.pop(key, None)

    def keys(self, prefix: str) -> list[str]:
        return [key for key in self.data if key.startswith(prefix)]

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class StoreOptions:
    path: str | None = option(None, kind="path", optional=True, help="Remembered, not used.")
    limit: int | None = option(None, kind="count", optional=True, help="What usage says.")


class StorePlugin:
    """The backend, with one store for all of its caches, as a persistent one has."""

    def __init__(self) -> None:
        self.store = Store()
        self.shared = True
        self.paths: list[str | None] = []

    @hookimpl
    def create_backend(self, request: BackendRequest) -> Backend[bytes]:
        options = request.parse(StoreOptions)
        self.paths.append(options.path)
        declared = Capabilities(swap=self.shared, shared=self.shared, persistent=True, blocking="never")
        backend = SimpleBackend(self.store, now=process_clock, capabilities=declared)
        store = self.store
        backend.usage = lambda: Usage(  # type: ignore[method-assign]
            entries=len(store.data), bytes=sum(map(len, store.data.values())), max_entries=options.limit
        )
        return backend


@pytest.fixture
def manager() -> Iterator[CacheManager]:
    with CacheManager({}) as manager:
        yield manager


@pytest.fixture
def bytes_plugin(manager: CacheManager) -> StorePlugin:
    """The backend ``bytes``, registered with the manager."""
    plugin = StorePlugin()
    manager.register(plugin, "bytes")
    return plugin


@pytest.fixture
def app(bytes_plugin: StorePlugin, monkeypatch: pytest.MonkeyPatch) -> Cache[Any]:
    """What a program sees of the cache ``app`` on the backend ``bytes``, on which commands work, too."""

    def manager(config: Any = None, **options: Any) -> CacheManager:
        made = CacheManager(config or {"caches": {"app": {"backend": "bytes", "serializer": "json"}}}, **options)
        made.register(bytes_plugin, "bytes")
        return made

    monkeypatch.setattr(_access, "CacheManager", manager)
    monkeypatch.setattr(_whole, "CacheManager", manager)
    return manager().get_cache("app")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory of modules, two of which can't be parsed."""
    root = tmp_path / "project"
    (root / "package" / "site-packages").mkdir(parents=True)
    (root / "good.py").write_text("import os\n\n\ndef f(x):\n    return x if x else os.sep\n")
    (root / "bad.py").write_text("def f(:\n    pass\n")
    (root / "package" / "nul.py").write_bytes(b"x = 1\0\n")
    (root / "package" / "empty.py").write_bytes(b"")
    (root / "package" / "site-packages" / "foreign.py").write_text("x = 1\n")
    (root / "notes.txt").write_text("no module\n")
    return root


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process; returns its exit code, what it printed and its errors."""

    def call(*arguments: Any) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(autouse=True)
def _nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a config nor the wish for colours or a width."""
    for name in list(os.environ):
        if name.startswith("CODOMYRMEX_CACHE") or name in {"COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"}:
            monkeypatch.delenv(name)
