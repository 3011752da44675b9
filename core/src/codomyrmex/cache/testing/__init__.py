"""The conformance kit: what every backend has to pass, this project's own and anyone's.

    class TestSqlite(BackendContract):
        @pytest.fixture
        def cache_settings(self, tmp_path):
            return {"backend": "sqlite", "path": str(tmp_path / "cache.db"), "serializer": "json"}

One class, one fixture: pytest collects every law of `BackendContract`, on the synchronous and the asynchronous view.
It needs the extra ``testing`` (pytest and hypothesis).
"""

from __future__ import annotations

from ._clock import ManualClock
from ._contract import BackendContract
from ._machine import CacheMachine, run_machine
from ._views import Awaited

__all__ = ["Awaited", "BackendContract", "CacheMachine", "ManualClock", "run_machine"]
