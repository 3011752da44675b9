"""The conformance kit on ``sqlite``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache.testing import BackendContract


class TestSqlite(BackendContract):
    """Every law of a backend."""

    machine_runs = 500

    @pytest.fixture
    def cache_settings(self, tmp_path: Path) -> dict[str, Any]:
        return {"backend": "sqlite", "path": str(tmp_path / "cache.db"), "serializer": "json"}
