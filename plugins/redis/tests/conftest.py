"""Servers for all tests of this directory."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from servers import LiveServer, program_of

from codomyrmex.cache import CacheManager
from codomyrmex.cache.testing._views import Awaited

_numbers = itertools.count()


@pytest.fixture(
    scope="session", params=["valkey", *[pytest.param(name, marks=pytest.mark.slow) for name in ("redis", "redis-6.2")]]
)
def program(request: pytest.FixtureRequest) -> str:
    """Path of a server's program; with Valkey every test runs always, with Redis in the slow environment."""
    path = program_of(request.param)
    if path is None:
        reason = f"no server of {request.param} is installed"
        # Set by .ci/run, which has installed it: a test that is skipped there proves nothing.
        wanted = request.param != "redis-6.2" or sys.version_info < (3, 13)  # later there is no wheel of it
        if wanted and os.environ.get("CODOMYRMEX_TEST_SERVERS") == "all":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def shared_server(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server for tests that change nothing about it; their keys have prefixes of their own."""
    server = LiveServer(program, tmp_path_factory.mktemp("shared"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(program: str, tmp_path: Path) -> Iterator[LiveServer]:
    """A server of this test alone, to be stopped, killed and filled."""
    server = LiveServer(program, tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def settings() -> Callable[..., dict[str, Any]]:
    """Makes settings of a cache whose keys nobody else has."""

    def make(server: LiveServer, **options: Any) -> dict[str, Any]:
        return {
            "backend": "redis",
            "url": server.url,
            "prefix": f"test-{next(_numbers)}:",
            "serializer": "json",
            **options,
        }

    return make


@pytest.fixture(params=["sync", "async"])
def view(request: pytest.FixtureRequest) -> str:
    """Which view of its caches the test uses."""
    return str(request.param)


@pytest.fixture
def open_cache(view: str, settings: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., Any]]:
    """Opens caches in the view of the test; ``at`` is a server or a proxy in front of one."""
    with contextlib.ExitStack() as stack:

        def make(at: Any, name: str = "app", **options: Any) -> Any:
            manager = stack.enter_context(CacheManager(environ={}))
            chosen = settings(at, **options)
            if view == "sync":
                return manager.get_cache(name, **chosen)
            return Awaited(manager.get_async_cache(name, **chosen))

        yield make
