"""The conformance kit on a driver of bytes with nothing but get, set and delete below it."""

from __future__ import annotations

from typing import Any

import pytest
from dict_driver import JSON, DictDriver, DictPlugin

from codomyrmex.cache.backend import Capabilities
from codomyrmex.cache.testing import BackendContract


class TestSimple(BackendContract):
    """A store with get, set and delete behind `SimpleBackend` keeps every law."""

    plugin = DictPlugin()
    machine_runs = 60

    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return dict(JSON)


class InThreads(DictDriver):
    """As a driver that waits for a disk."""

    declares = Capabilities(swap=False, blocking="always")


class TestInThreads(TestSimple):
    """It does so too where the asynchronous view has to call it in threads."""

    plugin = DictPlugin(InThreads)
    machine_runs = 10


class TestPickled(TestSimple):
    """And with signed pickles as values."""

    machine_runs = 10

    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return {"backend": "dict", "serializer": {"name": "pickle", "key": "0123456789abcdef"}}
