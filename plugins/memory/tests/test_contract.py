"""The conformance kit on ``in_memory``, under every policy and option that changes its paths."""

from __future__ import annotations

from typing import Any

import pytest
from invariants import check_memory

from codomyrmex.cache.testing import BackendContract


class TestSieve(BackendContract):
    """As most people use it; the state machine runs 500 times."""

    machine_runs = 500

    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return {"backend": "in_memory"}

    def check_invariants(self, driver: Any) -> None:
        check_memory(driver)


class TestLru(TestSieve):
    """A policy with a ranked queue, which wants to know when entries are used."""

    machine_runs = 100

    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return {"backend": "memory", "eviction": "lru"}


class TestBytes(TestSieve):
    """Bounded by bytes."""

    machine_runs = 100

    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return {"backend": "in_memory", "max_entries": "none", "max_bytes": "64MiB"}


class TestCopies(TestSieve):
    """With defensive copies there is no direct path."""

    machine_runs = 100

    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return {"backend": "in_memory", "copy": True}
