"""Eviction: each policy removes exactly what the model from its paper removes."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator

import pytest
from invariants import check_memory
from policies import GreedyDualSize, S3Fifo

from codomyrmex.cache import Cache, CacheFullError, CacheManager, hookimpl
from codomyrmex.cache.eviction import EvictionPolicy, PluginRequest

CAPACITY = 20


@pytest.fixture
def manager() -> Iterator[CacheManager]:
    with CacheManager(environ={}) as manager:
        yield manager


def requests(seed: int, number: int = 4000) -> Iterator[str]:
    """Keys with a few favourites, some loops and some noise."""
    source = random.Random(seed)
    for step in range(number):
        kind = source.random()
        if kind < 0.6:
            yield f"hot{int(source.paretovariate(0.8)) % 60}"
        elif kind < 0.85:
            yield f"loop{step % 45}"
        else:
            yield f"cold{step}"


def run(cache: Cache[int], seed: int) -> list[bool]:
    """Ask for every key and store it on a miss; whether each was a hit."""
    hits = []
    for key in requests(seed):
        hit = cache.get(key) is not None
        hits.append(hit)
        if not hit:
            cache.set(key, 1)
    check_memory(cache._driver)
    return hits


def model_fifo(seed: int) -> list[bool]:
    entries: OrderedDict[str, None] = OrderedDict()
    hits = []
    for key in requests(seed):
        hits.append(key in entries)
        if key not in entries:
            if len(entries) >= CAPACITY:
                entries.popitem(last=False)
            entries[key] = None
    return hits


def model_lru(seed: int) -> list[bool]:
    entries: OrderedDict[str, None] = OrderedDict()
    hits = []
    for key in requests(seed):
        hits.append(key in entries)
        if key in entries:
            entries.move_to_end(key)
            continue
        if len(entries) >= CAPACITY:
            entries.popitem(last=False)
        entries[key] = None
    return hits


def model_sieve(seed: int) -> list[bool]:
    """The list of the paper, newest first, with a hand that walks from old to new."""
    order: list[str] = []
    visited: dict[str, bool] = {}
    hand: str | None = None
    hits = []
    for key in requests(seed):
        hits.append(key in visited)
        if key in visited:
            visited[key] = True
            continue
        if len(order) >= CAPACITY:
            at = len(order) - 1 if hand is None else order.index(hand)
            while visited[order[at]]:
                visited[order[at]] = False
                at = at - 1 if at > 0 else len(order) - 1
            hand = order[at - 1] if at > 0 else None
            del visited[order.pop(at)]
        order.insert(0, key)
        visited[key] = False
    return hits


def model_s3fifo(seed: int) -> list[bool]:
    """Small queue of a tenth, main queue, ghosts as many as entries; two bits of frequency."""
    small: OrderedDict[str, int] = OrderedDict()
    main: OrderedDict[str, int] = OrderedDict()
    ghosts: OrderedDict[str, None] = OrderedDict()
    hits = []

    def evict() -> None:
        while True:
            if len(small) >= CAPACITY // 10 or not main:
                key, uses = small.popitem(last=False)
                if uses > 1:
                    main[key] = 0
                    continue
                ghosts[key] = None
                if len(ghosts) > CAPACITY:
                    ghosts.popitem(last=False)
                return
            key, uses = main.popitem(last=False)
            if not uses:
                return
            main[key] = uses - 1

    for key in requests(seed):
        queue = small if key in small else main
        hits.append(key in queue)
        if key in queue:
            queue[key] = min(queue[key] + 1, 3)
            continue
        back = key in ghosts
        ghosts.pop(key, None)
        while len(small) + len(main) >= CAPACITY:
            evict()
        (main if back else small)[key] = 0
    return hits


MODELS = {"fifo": model_fifo, "lru": model_lru, "sieve": model_sieve}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", MODELS)
def test_same_as_its_model(manager: CacheManager, name: str, seed: int) -> None:
    """Hit for hit, miss for miss."""
    cache = manager.get_cache("cache", max_entries=CAPACITY, eviction=name)
    assert MODELS[name](seed) == run(cache, seed)
    assert cache.stats.entries == CAPACITY


class OnePolicy:
    """A plugin for a policy object."""

    def __init__(self, policy: EvictionPolicy) -> None:
        self._policy = policy

    @hookimpl
    def create_eviction_policy(self, request: PluginRequest) -> EvictionPolicy:
        return self._policy


@pytest.mark.parametrize("seed", range(5))
def test_s3fifo_fits_the_contract(manager: CacheManager, seed: int) -> None:
    """A policy with two queues, ghosts and frequencies can be written against the contract."""
    manager.register(OnePolicy(S3Fifo()), "s3fifo")
    cache = manager.get_cache("cache", max_entries=CAPACITY, eviction="s3fifo")
    assert model_s3fifo(seed) == run(cache, seed)


def test_size_and_cost_fit_the_contract(manager: CacheManager) -> None:
    """A policy that knows size and use keeps small and used values and lets large ones go."""
    manager.register(OnePolicy(GreedyDualSize()), "gdsf")
    cache = manager.get_cache("cache", max_entries="none", max_bytes=10_000, sizer=len, eviction="gdsf")
    for number in range(20):
        cache.set(f"small{number}", "x" * 100)
    for number in range(30):
        cache.set(f"large{number}", "x" * 3000)
        cache.get("small3")
    check_memory(cache._driver)
    assert cache.get("small3") is not None
    assert (cache.stats.bytes or 0) <= 10_000
    assert len(cache.keys("small")) >= 10


def test_none_refuses(manager: CacheManager) -> None:
    """The policy ``none`` refuses new entries, changes nothing, and takes them again when there is room."""
    cache = manager.get_cache("cache", max_entries=2, eviction="none")
    cache.set_many({"a": 1, "b": 2})
    with pytest.raises(CacheFullError):
        cache.set("c", 3)
    with pytest.raises(CacheFullError):
        cache.add("c", 3)
    cache.set("a", 4)
    assert cache.get_many(["a", "b", "c"]) == {"a": 4, "b": 2}
    cache.delete("b")
    cache.set("c", 3)
    assert sorted(cache.keys()) == ["a", "c"]


def test_a_policy_that_spares_all(manager: CacheManager) -> None:
    """A policy that would never let anything go can't hang the cache."""
    from codomyrmex.cache.eviction import SKIP, Entry, Move, Verdict, View

    class Spares(EvictionPolicy):
        def judge(self, entry: Entry, view: View) -> Verdict:
            return SKIP

    class Moves(EvictionPolicy):
        def judge(self, entry: Entry, view: View) -> Verdict:
            return Move("main")

    for number, policy in enumerate((Spares(), Moves())):
        manager.register(OnePolicy(policy), f"policy{number}")
        cache = manager.get_cache(f"cache{number}", max_entries=3, eviction=f"policy{number}")
        for key in range(20):
            cache.set(str(key), key)
        assert cache.stats.entries == 3
        check_memory(cache._driver)


@pytest.mark.parametrize("capacity", [1, 2, 127, 1000])
def test_never_more_than_allowed(manager: CacheManager, capacity: int) -> None:
    """The limit holds after every write, and a full cache is never emptier than one part in a hundred."""
    cache = manager.get_cache("cache", max_entries=capacity)
    fewest = capacity
    for number in range(3 * capacity + 10):
        cache.set(str(number), number)
        entries = cache.stats.entries or 0
        assert entries <= capacity
        if number >= capacity:
            fewest = min(fewest, entries)
    assert fewest >= capacity - max(capacity // 100, 0)
    check_memory(cache._driver)
