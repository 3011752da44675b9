"""Loads and changes at random, by threads, tasks and processes: every value that was seen could have been seen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import load_history
import pytest
from load_history import History
from servers import LiveServer, program_of

from codomyrmex.cache._fences import Fences
from codomyrmex.cache._record import Record
from codomyrmex.cache._steps import Steps

PROCESSES = {"in_memory": 1, "file_based": 3, "redis": 3}


@pytest.fixture(params=PROCESSES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The settings of a cache."""
    if request.param == "in_memory":
        yield {"backend": "in_memory"}
    elif request.param == "file_based":
        yield {"backend": "file_based", "path": str(tmp_path / "files"), "serializer": "json"}
    else:
        program = program_of("valkey")
        assert program is not None
        server = LiveServer(program, tmp_path)
        server.start()
        yield {"backend": "redis", "url": server.url, "serializer": "json", "timeout": "10s"}
        server.kill()


def run(settings: dict[str, Any], seconds: float) -> History:
    """What all processes did."""
    count = PROCESSES[settings["backend"]]
    if count == 1:
        return load_history.run(settings, seconds, 1)
    processes = [
        subprocess.Popen([sys.executable, load_history.__file__], stdin=-1, stdout=-1, text=True, encoding="utf-8")
        for _ in range(count)
    ]
    for number, process in enumerate(processes):
        assert process.stdin is not None
        json.dump({"settings": settings, "seconds": seconds, "seed": number}, process.stdin)
        process.stdin.close()
        process.stdin = None
    return History.joined(json.loads(process.communicate(timeout=seconds + 100)[0]) for process in processes)


def check(settings: dict[str, Any], seconds: float) -> None:
    """Run, and look at every read."""
    history = run(settings, seconds)
    computed = {value for _, value, _ in history.factories}
    assert len(history.factories) > 50
    assert sum(value in computed for _, value, _, _ in history.reads) > 100
    assert history.impossible() == []


def test_every_value_was_possible(settings: dict[str, Any]) -> None:
    """Two seconds of it."""
    check(settings, 2)


@pytest.mark.slow
def test_every_value_was_possible_for_a_minute(settings: dict[str, Any]) -> None:
    """A minute of it."""
    check(settings, 60)


def store_by_put(self: Any, key: str, storage: str, lease: bytes, record: Record) -> Steps[bool]:
    """No fence: what a load brings is stored whatever has happened."""
    yield self._lookup.driver.put, (storage, self._store.encode(key, storage, record))
    return True


def test_it_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fence, values are seen that could not have been."""
    monkeypatch.setattr(Fences, "store", store_by_put)
    assert load_history.run({"backend": "in_memory"}, 2, 1).impossible() != []


def test_the_checker() -> None:
    """It finds a value that came back, one from the future, one of another key, and one that nobody made."""
    history = History(
        sets=[("key", "old", 0, 10), ("key", "new", 60, 90)],
        removals=[("key", 20, 30)],
        factories=[("key", "before", 15), ("key", "within", 25), ("other", "other", 0)],
        reads=[("key", "old", 10, 20), ("key", "old", 30, 40), ("key", "new", 50, 70), ("key", "before", 29, 40)],
    )
    history.reads += [("key", "within", 35, 50), ("other", "other", 100, 200)]
    assert history.impossible() == []
    wrong = [("key", "old", 31, 50), ("key", "before", 31, 50), ("key", "new", 40, 50), ("key", "other", 31, 50)]
    history.reads += [*wrong, ("key", "never", 31, 50)]
    assert history.impossible() == [*wrong, ("key", "never", 31, 50)]
