"""What the tests of the core share: a clock that stands still and a manager with a driver of bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import CacheManager
from codomyrmex.cache.testing import ManualClock

# Test modules are imported one by one, by path: without this they could not import their helper.
sys.path.insert(0, str(Path(__file__).parent))

from dict_driver import managed
from loading import InRoom, Room


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def manager(clock: ManualClock) -> Iterator[CacheManager]:
    with managed(clock=clock) as manager:
        yield manager


@pytest.fixture
def room() -> Iterator[Room]:
    """An event loop in a thread of its own."""
    room = Room()
    yield room
    room.close()


@pytest.fixture(params=["sync", "async"])
def loader(request: pytest.FixtureRequest, manager: CacheManager, room: Room) -> Any:
    """The cache ``loads`` in either view, to be called from threads."""
    return manager.get_cache("loads") if request.param == "sync" else InRoom(manager.get_async_cache("loads"), room)
