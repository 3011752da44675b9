"""The conformance kit on ``file_based``, its inner state checked after every test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from file_support import check_file

from codomyrmex.cache.testing import BackendContract, run_machine


class TestFile(BackendContract):
    machine_runs = 60

    @pytest.fixture
    def cache_settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"backend": "file_based", "path": str(tmp_path), "serializer": "json", "max_bytes": "64MiB"}

    def check_invariants(self, driver: Any) -> None:
        check_file(driver)


@pytest.mark.slow
def test_machine_at_length(tmp_path: Path) -> None:
    """The same, much longer."""
    settings = {"backend": "file_based", "path": str(tmp_path), "max_bytes": "64MiB"}
    run_machine(settings, runs=500, check=check_file)
