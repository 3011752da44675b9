"""The conformance kit on every server that there is, both views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from servers import LiveServer

from codomyrmex.cache.testing import BackendContract


class TestRedis(BackendContract):
    """Over TCP."""

    machine_runs: ClassVar[int] = 50

    @pytest.fixture
    def cache_settings(self, shared_server: LiveServer, settings: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        # The kit is not about speed: a machine that is busy with other things must not fail it.
        return settings(shared_server, timeout="10s")


@pytest.mark.slow
class TestMachine(TestRedis):
    """Many more sequences of operations."""

    machine_runs = 500
