"""A thousand callers, one missing key, one call of the factory: threads, tasks, both, processes, machines."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crowd import LONG
from loading import Call

from codomyrmex.cache import CacheManager

CROWD = 1_000
LEASE = 2.0
"""Seconds after which the load of a leader who died on another machine is taken over."""


class Calls:
    """A factory that takes a while and counts."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.count += 1
        time.sleep(LONG)
        return "value"

    async def in_task(self) -> str:
        """The same for an event loop."""
        self.count += 1
        await asyncio.sleep(LONG)
        return "value"


def threads(manager: CacheManager, calls: Calls, count: int) -> list[Any]:
    """What ``count`` threads get."""
    cache = manager.get_cache("crowd")
    return [call.result() for call in [Call(cache.get_or_set, "key", calls) for _ in range(count)]]


def tasks(manager: CacheManager, calls: Calls, count: int) -> list[Any]:
    """What ``count`` tasks of a new event loop get."""

    async def gathered() -> list[Any]:
        cache = manager.get_async_cache("crowd")
        return await asyncio.gather(*(cache.get_or_set("key", calls.in_task) for _ in range(count)))

    return asyncio.run(gathered())


def test_threads() -> None:
    """A thousand threads."""
    calls = Calls()
    with CacheManager(environ={}) as manager:
        assert threads(manager, calls, CROWD) == ["value"] * CROWD
    assert calls.count == 1


def test_tasks() -> None:
    """A thousand tasks."""
    calls = Calls()
    with CacheManager(environ={}) as manager:
        assert tasks(manager, calls, CROWD) == ["value"] * CROWD
    assert calls.count == 1


def test_two_loops_and_threads() -> None:
    """Tasks of two event loops, and threads."""
    calls = Calls()
    with CacheManager(environ={}) as manager:
        manager.get_cache("crowd")
        shares = [(tasks, 333), (tasks, 333), (threads, 334)]
        callers = [Call(share, manager, calls, count) for share, count in shares]
        assert [value for caller in callers for value in caller.result()] == ["value"] * CROWD
    assert calls.count == 1


@pytest.fixture(params=["file_based", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The settings of a cache that processes share."""
    if request.param == "file_based":
        return {"backend": "file_based", "path": str(tmp_path / "files"), "serializer": "json"}
    server = request.getfixturevalue("server")
    with server.client() as client:
        client.flushall()
    return {"backend": "redis", "url": server.url, "serializer": "json", "timeout": "10s"}


@pytest.fixture
def crowds(tmp_path: Path) -> Iterator[Callable[..., tuple[list[dict[str, Any]], int]]]:
    """Run processes of callers; what those say that live to say it, and how often the factory was called."""
    begun: list[subprocess.Popen[str]] = []

    def run(processes: int, **task: Any) -> tuple[list[dict[str, Any]], int]:
        calls = tmp_path / "calls"
        program = Path(__file__).with_name("crowd.py")
        for _ in range(processes):
            one = subprocess.Popen([sys.executable, program], stdin=-1, stdout=-1, text=True, encoding="utf-8")
            begun.append(one)
            tell(one, json.dumps({"calls": str(calls), "first_dies": False, **task}))
        for one in begun:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in begun:
            tell(one, "go")
        said = [one.communicate(timeout=100)[0] for one in begun]
        return [json.loads(line) for line in said if line], len(calls.read_text(encoding="ascii").split())

    yield run
    for one in begun:
        one.kill()
        one.communicate()


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Send a process a line."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


@pytest.mark.parametrize("view", ["sync", "async"])
def test_processes(settings: dict[str, Any], crowds: Any, view: str) -> None:
    """Eight processes that share files, or three with a hundred callers each at a server."""
    processes, callers = (8, 125) if settings["backend"] == "file_based" else (3, 100)
    answers, calls = crowds(processes, settings=settings, callers=callers, view=view)
    assert calls == 1
    assert [answer["count"] for answer in answers] == [callers] * processes
    assert len({value for answer in answers for value in answer["values"]}) == 1


@pytest.mark.parametrize("view", ["sync", "async"])
def test_a_leader_that_is_killed(
    settings: dict[str, Any], crowds: Any, view: str, record_property: Callable[[str, object], None]
) -> None:
    """One of the others loads, once, and all have the value within the lease and a second."""
    settings["lease"] = LEASE
    answers, calls = crowds(3, settings=settings, callers=20, view=view, first_dies=True)
    assert calls == 2
    assert [answer["count"] for answer in answers] == [20, 20]
    assert len({value for answer in answers for value in answer["values"]}) == 1
    slowest = max(answer["seconds"] for answer in answers)
    record_property("seconds", slowest)
    assert slowest <= 3 * (LEASE + 1 + 2 * LONG)
