"""What of `Gdsf` is not in the paper: costs, its option, restarts and several processes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from acme_cache_gdsf import Gdsf

from codomyrmex.cache import Cache, CacheConfigError, CacheManager
from codomyrmex.cache.eviction import EVICT, Move


@dataclass
class OneEntry:
    """An entry as a store shows it."""

    mark: int = 0
    size: int = 100
    cost: float = 0.0
    rank: float = 0.0
    queue: str = "main"


@dataclass
class OneView:
    """A store as a policy sees it."""

    state: dict[str, float] = field(default_factory=dict[str, float])
    capacity: int = 10

    def entries(self, queue: str) -> int:
        return 1

    def bytes(self, queue: str) -> int:
        return 100

    def stamp(self) -> int:
        return 1


def files(path: Path) -> dict[str, Any]:
    """A config of a cache in files that holds 20 entries."""
    table = {"backend": "file_based", "path": str(path), "serializer": "json", "max_entries": 20, "eviction": "gdsf"}
    return {"caches": {"app": table}}


def grow_old(cache: Cache[Any], prefix: str) -> None:
    """Let the cache age: many entries come and go, and none is asked for again."""
    for number in range(200):
        cache.set(f"{prefix}:{number}", "x" * 100)


def test_a_use_is_worth_the_cost_of_a_byte() -> None:
    """Rank rises by uses × cost / size."""
    policy, view = Gdsf(), OneView()
    assert Move("main", rank=7.0 + 2 * 5.0 / 100) == policy.judge(OneEntry(mark=2, cost=5.0, rank=7.0), view)
    assert Move("main", rank=7.0 + 2 * 1.0 / 100) == policy.judge(OneEntry(mark=2, rank=7.0), view)
    assert Move("main", rank=7.0 + 2 * 0.1 / 100) == Gdsf(0.1).judge(OneEntry(mark=2, rank=7.0), view)
    assert Move("main", rank=7.0 + 1.0) == policy.judge(OneEntry(mark=1, size=0, rank=7.0), view)


def test_what_goes_leaves_its_rank_as_the_age_of_the_cache() -> None:
    """And what comes then starts from there."""
    policy, view = Gdsf(), OneView()
    assert Move("main", rank=0.0, mark=1) == policy.admit(OneEntry(), None, view)
    assert EVICT is policy.judge(OneEntry(rank=3.5), view)
    assert Move("main", rank=3.5, mark=1) == policy.admit(OneEntry(), None, view)


def test_an_expensive_value_outlives_cheap_ones() -> None:
    """Of two values of one size and as many uses the one goes that took less time."""
    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("app", max_entries=10, eviction="gdsf")
        cache.set_many({str(number): "value" for number in range(10)})
        record = cache._driver.get("0")
        assert record is not None
        cache._driver.put("0", dataclasses.replace(record, cost=60.0))
        for number in range(10, 100):
            cache.set(str(number), "value")
        assert cache.get("0") == "value"
        assert cache.get("1") is None


@pytest.mark.parametrize("backend", ["in_memory", "file_based"])
def test_chosen_in_a_file(tmp_path: Path, backend: str) -> None:
    """A TOML file names the policy, with its option, on either backend."""
    place = f'path = "{tmp_path}"\nserializer = "json"\n' if backend == "file_based" else ""
    config = tmp_path / "cache.toml"
    config.write_text(
        f'[caches.app]\nbackend = "{backend}"\n{place}max_entries = 10\n'
        'eviction = { name = "gdsf", unknown_cost = "100ms" }\n'
    )
    with CacheManager(config, environ={}) as manager:
        cache = manager.get_cache("app")
        for number in range(30):
            cache.set(str(number), "value")
        assert 10 == cache.stats.entries
        assert 20 == cache.stats.evictions


def test_an_unknown_option_is_refused() -> None:
    """With the name of the cache and what is allowed."""
    eviction = {"name": "gdsf", "cost": 1}
    with CacheManager(environ={}) as manager, pytest.raises(CacheConfigError, match="unknown_cost"):
        manager.get_cache("app", eviction=eviction)


def test_small_values_stay_in_a_store_of_files_that_is_full(tmp_path: Path) -> None:
    """Where bytes are the limit, large values that nobody asks for make room, small ones stay."""
    settings: dict[str, Any] = {"backend": "file_based", "path": str(tmp_path), "serializer": "json"}
    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("app", max_bytes="16MiB", eviction="gdsf", **settings)
        cache.set_many({f"small:{number}": "x" for number in range(500)})
        for number in range(2000):
            cache.set(f"large:{number}", "x" * 20_000)
        assert (cache.stats.bytes or 0) <= 16 * 2**20
        assert cache.stats.evictions > 1000
        assert 500 == len(cache.keys("small:"))


def test_the_age_survives_a_restart(tmp_path: Path) -> None:
    """What comes after one is not taken for as old as the cache once was: it outlives what was there before."""
    with CacheManager(files(tmp_path), environ={}) as manager:
        grow_old(manager.get_cache("app"), "before")
    with CacheManager(files(tmp_path), environ={}) as manager:
        cache = manager.get_cache("app")
        for number in range(10):
            cache.set(f"after:{number}", "x" * 100)
        assert 10 == len(cache.keys("after:"))
        assert 10 == len(cache.keys("before:"))


def test_processes_share_the_age(tmp_path: Path) -> None:
    """What one stores is as old as what the other has stored meanwhile, not as the cache was when it was opened."""
    with CacheManager(files(tmp_path), environ={}) as manager:
        cache = manager.get_cache("app")
        cache.set("first", 1)
        program = (
            "import json, sys\nfrom codomyrmex.cache import CacheManager\n"
            "with CacheManager(json.loads(sys.argv[1])) as manager:\n"
            "    cache = manager.get_cache('app')\n"
            "    for number in range(200): cache.set(f'theirs:{number}', 'x' * 100)\n"
        )
        subprocess.run([sys.executable, "-c", program, json.dumps(files(tmp_path))], check=True)
        for number in range(10):
            cache.set(f"mine:{number}", "x" * 100)
        assert 10 == len(cache.keys("mine:"))
