"""`Gdsf` against the algorithm of its paper, written down as it stands there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import CacheManager


class Paper:
    """GDSF as in the paper: every use raises the priority at once, whatever is least goes.

    Args:
        limit: Bytes that it holds.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.age = 0.0
        self.sizes: dict[str, int] = {}
        self.uses: dict[str, int] = {}
        self.priorities: dict[str, float] = {}

    def get(self, key: str) -> bool:
        """Use it, if it is there."""
        if key not in self.sizes:
            return False
        self.uses[key] += 1
        self.priorities[key] = self.age + self.uses[key] / self.sizes[key]
        return True

    def set(self, key: str, size: int) -> None:
        """Make room and store it."""
        while sum(self.sizes.values()) + size > self.limit:
            least = min(self.priorities, key=self.priorities.__getitem__)
            self.age = self.priorities.pop(least)
            del self.sizes[least], self.uses[least]
        self.sizes[key], self.uses[key] = size, 1
        self.priorities[key] = self.age + 1 / size


def sizes(count: int, seed: int) -> list[int]:
    """Sizes of values, no two the same, most of them small."""
    return random.Random(seed).sample([int(50 * 1.01**power) for power in range(100, 600)], count)


@pytest.fixture
def manager() -> Iterator[CacheManager]:
    with CacheManager(environ={}) as manager:
        yield manager


@pytest.mark.parametrize("seed", range(20))
def test_what_goes_is_what_goes_in_the_paper(manager: CacheManager, seed: int) -> None:
    """Entries come, some are used, then others come: after each of them the same ones are left."""
    limit = 40_000
    cache = manager.get_cache("app", max_entries="none", max_bytes=limit, sizer=len, eviction="gdsf")
    paper = Paper(limit)
    choice = random.Random(seed)
    for number, size in enumerate(sizes(250, seed)):
        cache.set(f"key:{number}", "x" * size)
        paper.set(f"key:{number}", size)
        if paper.age == 0:
            for _ in range(choice.randrange(3)):
                assert paper.get(f"key:{number}") is (cache.get(f"key:{number}") is not None)
        assert set(paper.sizes) == set(cache.keys())
    assert paper.age > 0


@pytest.mark.parametrize("seed", range(5))
def test_a_store_of_files_keeps_the_same(manager: CacheManager, tmp_path: Path, seed: int) -> None:
    """Sizes are those of the stored records there; the limit is a number of entries."""
    settings: dict[str, Any] = {"backend": "file_based", "path": str(tmp_path), "serializer": "json"}
    cache = manager.get_cache("app", max_entries=40, eviction="gdsf", **settings)
    paper = Paper(40)
    choice = random.Random(seed)
    cache.set("empty", "")
    header = len(cache._driver.get("empty") or b"")  # once, because the driver counts it as a use
    cache.delete("empty")
    for number, size in enumerate(sizes(150, seed)):
        key = f"key:{number:03}"
        cache.set(key, "x" * size)
        count_one(paper, key, header + size)
        if paper.age == 0:
            for _ in range(choice.randrange(3)):
                assert paper.get(key) is (cache.get(key) is not None)
        assert set(paper.sizes) == set(cache.keys())
    assert paper.age > 0


def count_one(paper: Paper, key: str, size: int) -> None:
    """Store it where the limit is a number of entries: room for one is made as if it had no size."""
    if len(paper.sizes) == paper.limit:
        least = min(paper.priorities, key=paper.priorities.__getitem__)
        paper.age = paper.priorities.pop(least)
        del paper.sizes[least], paper.uses[least]
    paper.sizes[key], paper.uses[key] = size, 1
    paper.priorities[key] = paper.age + 1 / size


@pytest.mark.parametrize("seed", range(3))
def test_the_hit_ratio_is_that_of_the_paper(manager: CacheManager, seed: int) -> None:
    """Within three points, where uses come at any time; and far above that of LRU."""
    choice = random.Random(seed)
    size = [int(min(20_000, max(50, choice.lognormvariate(6.5, 1.3)))) for _ in range(1000)]
    popularity = [1 / (rank + 1) ** 0.9 for rank in range(1000)]
    trace = choice.choices(range(1000), popularity, k=6000)
    hits = {"paper": 0, "gdsf": 0, "lru": 0}
    paper = Paper(100_000)
    for one in trace:
        if paper.get(str(one)):
            hits["paper"] += 1
        else:
            paper.set(str(one), size[one])
    for policy in ("gdsf", "lru"):
        cache = manager.get_cache(policy, max_entries="none", max_bytes=100_000, sizer=int, eviction=policy)
        for one in trace:
            if cache.get(str(one)) is None:
                cache.set(str(one), size[one])
        hits[policy] = cache.stats.hits
    assert abs(hits["paper"] - hits["gdsf"]) < 0.03 * len(trace), hits
    assert hits["gdsf"] - hits["lru"] > 0.05 * len(trace), hits
