"""`BackendContract`: every law in one class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ._laws_atomic import AtomicLaws
from ._laws_basic import BasicLaws
from ._laws_driver import DriverLaws
from ._laws_loads import LoadLaws
from ._laws_tags import LeaseLaws, TagLaws
from ._laws_time import LifetimeLaws, SlidingLaws
from ._machine import run_machine


class BackendContract(BasicLaws, LifetimeLaws, SlidingLaws, TagLaws, LeaseLaws, LoadLaws, DriverLaws, AtomicLaws):
    """Subclass it, override the fixture ``cache_settings``, and pytest collects every law.

        class TestSqlite(BackendContract):
            @pytest.fixture
            def cache_settings(self, tmp_path):
                return {"backend": "sqlite", "path": str(tmp_path / "cache.db"), "serializer": "json"}

    The settings are those of a cache in config. Values that JSON can keep are enough. The store must be empty, hold
    some 3,000 small entries and be no other test's. A shared backend has to be installed, since other processes open
    it by name. Override `check_invariants` to look into the driver after every test.
    """

    machine_runs: ClassVar[int] = 50
    """Runs of the state machine."""

    def test_state_machine(self, cache_settings: Mapping[str, Any]) -> None:
        """Any sequence of operations, in either view, has the results of a dict with a clock."""
        run_machine(cache_settings, plugin=self.plugin, runs=self.machine_runs, check=self.check_invariants)
