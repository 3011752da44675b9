"""The fixtures under the laws: a manager on an injected clock, a cache in either view, and its driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest

from .._capabilities import Capabilities
from .._driver import AsyncBackend
from .._manager import CacheManager
from ._clock import ManualClock
from ._views import Awaited


class Fixtures:
    """What `BackendContract` builds on."""

    plugin: ClassVar[object | None] = None
    """A plugin to register under the backend's name, for a backend that is not installed."""

    @pytest.fixture
    def cache_settings(self) -> Mapping[str, Any]:
        """The settings of a cache on the backend under test: the one fixture that has to be overridden."""
        raise NotImplementedError("override the fixture cache_settings: the options of a cache, 'backend' among them")

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock of every cache in this test."""
        return ManualClock()

    @pytest.fixture
    def manager(self, cache_settings: Mapping[str, Any], clock: ManualClock) -> Iterator[CacheManager]:
        """A manager with two caches of the same settings, ``kit`` and ``other``."""
        yield from self.managers(cache_settings, clock)

    def managers(self, settings: Mapping[str, Any], clock: ManualClock) -> Iterator[CacheManager]:
        """Make the manager of one test, and check and close its caches afterwards."""
        with CacheManager({"caches": {"kit": settings, "other": settings}}, clock=clock, environ={}) as manager:
            if self.plugin is not None:
                manager.register(self.plugin, settings["backend"])
            yield manager
            if manager._open.get("kit") and not manager.get_cache("kit")._store.closed:
                self.check_invariants(manager.get_cache("kit")._driver)

    @pytest.fixture(params=["sync", "async"])
    def view(self, request: pytest.FixtureRequest) -> str:
        """Which view the test uses."""
        return str(request.param)

    @pytest.fixture
    def cache(self, manager: CacheManager, view: str) -> Any:
        """The cache under test."""
        return self.in_view(manager, "kit", view)

    @pytest.fixture
    def other(self, manager: CacheManager, view: str) -> Any:
        """A second cache with the same settings and another name."""
        return self.in_view(manager, "other", view)

    @pytest.fixture
    def driver(self, cache: Any) -> Any:
        """The driver below the cache under test."""
        driver = cache._driver
        return Awaited(driver) if isinstance(driver, AsyncBackend) else driver

    @pytest.fixture
    def capabilities(self, cache: Any) -> Capabilities:
        """What the driver declares."""
        declared: Capabilities = cache._driver.capabilities
        return declared

    def in_view(self, manager: CacheManager, name: str, view: str) -> Any:
        """The cache ``name`` in the view ``sync`` or ``async``."""
        return manager.get_cache(name) if view == "sync" else Awaited(manager.get_async_cache(name))

    def check_invariants(self, driver: Any) -> None:
        """Called after every test with the synchronous driver: override it to check sizes, orders, indexes."""
