"""The pytest plugin: a cache of one's own for every test, on a clock that stands still.

    def test_something(cache, cache_clock):
        cache.set("key", 1, ttl=10)
        cache_clock.advance(11)
        assert cache.get("key") is None

The ini option ``cache_backends`` names the backends on which tests with these fixtures run; each test runs once on
every one of them. Apart from `testing` because pytest loads it in every project, and the kit brings hypothesis.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from . import AsyncCache, Cache, CacheManager
    from .testing._clock import ManualClock

pytest.register_assert_rewrite(
    "codomyrmex.cache.testing._laws_atomic",
    "codomyrmex.cache.testing._laws_basic",
    "codomyrmex.cache.testing._laws_driver",
    "codomyrmex.cache.testing._laws_tags",
    "codomyrmex.cache.testing._laws_time",
    "codomyrmex.cache.testing._machine",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini("cache_backends", "Names or URLs of the backends that cache fixtures use.", "args", ["in_memory"])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses the fixtures on every backend that is named."""
    if "cache_backend" in metafunc.fixturenames:
        metafunc.parametrize("cache_backend", metafunc.config.getini("cache_backends"), scope="function")


@pytest.fixture
def cache_clock() -> ManualClock:
    """The clock of `cache` and `async_cache`: it stands still until ``advance(seconds)``."""
    from .testing._clock import ManualClock

    return ManualClock()


@pytest.fixture
def cache_manager(cache_backend: str, cache_clock: ManualClock, tmp_path: Path) -> Iterator[CacheManager]:
    """A manager whose cache ``test`` is on the backend of this run."""
    from . import CacheManager

    settings: dict[str, Any] = {"backend": cache_backend}
    if cache_backend in ("file_based", "file"):
        settings["path"] = str(tmp_path / "cache")
    with CacheManager({"caches": {"test": settings}}, clock=cache_clock, environ={}) as manager:
        yield manager


@pytest.fixture
def cache(cache_manager: CacheManager) -> Cache[Any]:
    """An empty cache."""
    cache = cache_manager.get_cache("test")
    cache.clear()
    return cache


@pytest.fixture
def async_cache(cache: Cache[Any], cache_manager: CacheManager) -> AsyncCache[Any]:
    """The asynchronous view of `cache`."""
    return cache_manager.get_async_cache("test")
