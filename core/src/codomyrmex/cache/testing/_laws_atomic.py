"""Laws of doing things at the same time: threads, and processes where the store is shared."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from .._capabilities import Capabilities
from ._clock import ManualClock
from ._fixtures import Fixtures
from ._views import close_loop

_THREADS = 8
_PROCESSES = 4


class AtomicLaws(Fixtures):
    """What one caller does is seen by the others whole or not at all."""

    def test_incr_among_threads(self, cache: Any) -> None:
        """No increment is lost."""
        together(lambda number: [cache.incr("n") for _ in range(100)])
        assert cache.get("n") == 100 * _THREADS

    def test_add_among_threads(self, cache: Any) -> None:
        """Of those who add one key, one does."""
        for attempt in range(10):
            key = f"key:{attempt}"
            results = together(partial(cache.add, key))
            assert results.count(True) == 1
            assert cache.get(key) == results.index(True)

    def test_pop_among_threads(self, cache: Any) -> None:
        """Of those who pop one key, one gets the value."""
        for attempt in range(10):
            key = f"key:{attempt}"
            cache.set(key, "value")
            results = together(partial(cache.pop, key))
            assert results.count("value") == 1

    def test_values_are_whole(self, cache: Any) -> None:
        """A reader sees a value that was written, never a mixture of two."""
        cache.set("key", [0] * 20)
        written: list[int] = []

        def work(number: int) -> list[Any]:
            seen: list[Any] = []
            try:
                for step in range(50 if number % 2 else 0):
                    cache.set("key", [number * 100 + step] * 20)
            finally:
                written.append(number)
            # Somebody who only reads comes at any time, not just after a write of his own.
            while len(written) < _THREADS:
                seen.append(cache.get("key"))
            return seen

        for seen in together(work):
            # A record in two halves fails its checksum: such a mixture shows up as a miss.
            assert None not in seen
            assert all(len(value) == 20 and len(set(value)) == 1 for value in seen)

    def test_scans_among_threads(self, cache: Any) -> None:
        """A scan that runs while others write and remove returns every key that stays."""
        stays = [f"stays:{number}" for number in range(50)]
        cache.set_many(dict.fromkeys(stays, 0))

        def work(number: int) -> list[set[str]]:
            seen: list[set[str]] = []
            for step in range(20):
                if number % 2:
                    cache.set(f"comes:{number}:{step}", step)
                    cache.delete(f"comes:{number}:{step - 1}")
                else:
                    seen.append(set(cache.keys()))
            return seen

        for scans in together(work):
            assert all(scan.issuperset(stays) for scan in scans)

    def test_invalidation_among_threads(self, cache: Any) -> None:
        """What was stored before an invalidation began is never served after it ended."""
        failures: list[Any] = []

        def work(number: int) -> None:
            for step in range(30):
                key, tag = f"{number}:{step}", f"tag:{number % 2}"
                cache.set(key, step, tags=[tag])
                cache.invalidate_tags(tag)
                if cache.get(key) is not None:
                    failures.append(key)

        together(work)
        assert failures == []

    def test_another_user_of_the_store(
        self, cache_settings: Mapping[str, Any], cache: Any, capabilities: Capabilities, clock: ManualClock, view: str
    ) -> None:
        """What one user of a shared store does, every other one sees at once."""
        if not capabilities.shared:
            pytest.skip("nobody else can reach the store")
        for manager in self.managers(cache_settings, clock):
            another = self.in_view(manager, "kit", view)
            cache.set("key", 1, tags=["tag"])
            assert another.get("key") == 1
            another.set("key", 2, tags=["tag"])
            assert cache.get("key") == 2
            cache.invalidate_tags("tag")
            assert another.get("key") is None
            another.set("key", 3)
            assert another.delete("key") is True
            assert cache.get("key") is None
            cache.set("key", 4)
            another.clear()
            assert cache.keys() == []

    def test_incr_among_processes(
        self, cache_settings: Mapping[str, Any], cache: Any, capabilities: Capabilities
    ) -> None:
        """No increment of another process is lost."""
        if not capabilities.shared:
            pytest.skip("the store belongs to one process")
        assert self.plugin is None, "a shared backend has to be installed to be tested among processes"
        program = (
            "import json, sys\n"
            "from codomyrmex.cache import CacheManager\n"
            "with CacheManager(json.loads(sys.argv[1])) as manager:\n"
            "    cache = manager.get_cache('processes')\n"
            "    for _ in range(500): cache.incr('n')\n"
        )
        config = json.dumps({"caches": {"processes": dict(cache_settings)}})
        workers = [
            subprocess.Popen([sys.executable, "-c", program, config], stderr=subprocess.PIPE, text=True)
            for _ in range(_PROCESSES)
        ]
        for worker in workers:
            _, problem = worker.communicate(timeout=120)
            assert worker.returncode == 0, problem
        from .._manager import CacheManager

        with CacheManager({"caches": {"processes": dict(cache_settings)}}) as manager:
            assert manager.get_cache("processes").get("n") == 500 * _PROCESSES


def together(work: Callable[[int], Any]) -> list[Any]:
    """What ``work(number)`` returns in each of several threads that begin at the same moment."""
    barrier = threading.Barrier(_THREADS)
    results: list[Any] = [None] * _THREADS
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(timeout=30)
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)
        finally:
            close_loop()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    if errors:
        raise errors[0]
    return results
