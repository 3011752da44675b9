"""Plugins with mistakes: they harm no more than what is theirs.

An eviction policy that fails costs the order of eviction, on every backend that asks one; a serializer that fails, the
values it fails on.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import (
    Cache,
    CacheFullError,
    CacheManager,
    CachePluginError,
    CacheSerializationError,
    hookimpl,
)
from codomyrmex.cache.eviction import EVICT, Evict, EvictionPolicy, Move, Queue, Skip
from codomyrmex.cache.serializers import Serializer

LIMIT = 20


class Raises(EvictionPolicy):
    """Fails at every other question."""

    queues = (Queue("new"), Queue("main"))
    asked = 0

    def answer(self, verdict: Any) -> Any:
        """``verdict``, or an error."""
        self.asked += 1
        return 1 / 0 if self.asked % 2 else verdict

    def admit(self, entry: Any, ghost: Any, view: Any) -> Any:
        """See `answer`."""
        return self.answer(Move("new"))

    def choose(self, view: Any) -> Any:
        """See `answer`."""
        return self.answer("new")

    def judge(self, entry: Any, view: Any) -> Any:
        """See `answer`."""
        return self.answer(Move("main") if entry.queue == "new" else EVICT)


class Answers(EvictionPolicy):
    """Gives one answer to each question, whatever it is.

    Args:
        question: The method that gives it.
        answer: What it gives.
    """

    queues = (Queue("main"), Queue("gone", ghosts=1.0))

    def __init__(self, question: str, answer: Any) -> None:
        self.question = question
        self.answer = answer

    def admit(self, entry: Any, ghost: Any, view: Any) -> Any:
        """In order, if that is not what is wrong."""
        return self.answer if self.question == "admit" else Move("main")

    def choose(self, view: Any) -> Any:
        """In order, if that is not what is wrong."""
        return self.answer if self.question == "choose" else "main"

    def judge(self, entry: Any, view: Any) -> Any:
        """In order, if that is not what is wrong."""
        if self.question == "state":
            view.state["seen"] = self.answer
        return self.answer if self.question == "judge" else EVICT


class Ranked(EvictionPolicy):
    """Ranks that are none."""

    queues = (Queue("main", order="rank"),)

    def admit(self, entry: Any, ghost: Any, view: Any) -> Any:
        """Nowhere."""
        return Move("main", float("nan"))

    def judge(self, entry: Any, view: Any) -> Any:
        """Fails."""
        raise KeyError("score")


MISTAKES = {
    "raises": Raises(),
    "ranks": Ranked(),
    "no verdict": Answers("judge", None),
    "an unknown queue": Answers("judge", Move("nowhere")),
    "to the ghosts": Answers("judge", Move("gone")),
    "a ghost among entries": Answers("judge", Evict(ghost="main")),
    "a rank that is no number": Answers("judge", Move("main", "first")),  # type: ignore[arg-type]
    "a rank beyond all floats": Answers("judge", Move("main", 10**400)),
    "a mark that is no number": Answers("judge", Move("main", 0.0, "used")),  # type: ignore[arg-type]
    "a negative mark": Answers("judge", Move("main", 0.0, -1)),
    "admits nowhere": Answers("admit", None),
    "admits to the ghosts": Answers("admit", Move("gone")),
    "chooses nothing known": Answers("choose", "nowhere"),
    "chooses a number": Answers("choose", 7),
    "chooses ghosts": Answers("choose", "gone"),
    "leaves what can't be stored": Answers("state", object()),
}


class Plugin:
    """Makes the one policy.

    Args:
        policy: It.
    """

    def __init__(self, policy: EvictionPolicy) -> None:
        self.policy = policy

    @hookimpl
    def create_eviction_policy(self) -> EvictionPolicy:
        """It."""
        return self.policy


def opened(manager: CacheManager, backend: str, policy: EvictionPolicy, directory: Path) -> Cache:
    """A bounded cache with the policy."""
    manager.register(Plugin(policy), name="mistaken")
    options = {"path": str(directory)} if backend == "file_based" else {}
    return manager.get_cache("cache", backend=backend, max_entries=LIMIT, eviction="mistaken", **options)


@pytest.mark.parametrize("backend", ["in_memory", "file_based"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(backend: str, mistake: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The cache goes on within its limit, counts every mistake, and logs one of them with its cause."""
    with CacheManager(environ={}) as manager, caplog.at_level(logging.ERROR, "codomyrmex.cache"):
        cache = opened(manager, backend, MISTAKES[mistake], tmp_path / "store")
        for number in range(5 * LIMIT):
            assert cache.set(f"key {number}", number)
            assert cache.get(f"key {number}") == number
            assert cache.stats.entries is not None
            assert cache.stats.entries <= LIMIT
        assert cache.stats.entries == LIMIT == len(cache.keys())
        assert cache.stats.evictions == 4 * LIMIT
        assert cache.stats.errors > 0
        cache.clear()
        assert cache.stats.entries == 0
    (record,) = caplog.records
    assert record.getMessage().startswith("cache 'cache': eviction policy 'mistaken' failed; entries go in order")
    assert record.exc_info is not None


@pytest.mark.parametrize("backend", ["in_memory", "file_based"])
def test_answers_that_are_like_the_right_ones(backend: str, tmp_path: Path) -> None:
    """``Skip()`` is as good as ``SKIP``, and ``Evict()`` as ``EVICT``."""

    class Spares(EvictionPolicy):
        def judge(self, entry: Any, view: Any) -> Any:
            return Skip() if entry.mark else Evict()

    with CacheManager(environ={}) as manager:
        cache = opened(manager, backend, Spares(), tmp_path / "store")
        for number in range(LIMIT):
            cache.set(f"key {number}", number)
        assert cache.get("key 0") == 0
        cache.set("another", 1)
        assert cache.get("key 0") == 0
        assert cache.get("key 1") is None
        assert cache.stats.errors == 0


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"marks": "often"}, "has marks = 'often'; 'use', 'frequency' and 'recency' are known"),
        ({"queues": Queue("main")}, "which is no tuple of Queue"),
        ({"queues": ()}, "has no queue for entries"),
        ({"queues": (Queue("main"), Queue("main"))}, "has several queues of one name among main, main"),
        ({"queues": (Queue("main", order="size"),)}, "with order = 'size'"),  # type: ignore[arg-type]
        ({"queues": (Queue("main"), Queue("gone", ghosts=-1))}, "with ghosts = -1"),
        ({"queues": (Queue("new"),)}, "has no queue 'main': without it, it has to answer both admit and choose"),
    ],
)
def test_policies_that_no_store_can_serve(attributes: dict[str, Any], message: str) -> None:
    """They are refused when the cache is made."""

    class Unclear(EvictionPolicy):
        def judge(self, entry: Any, view: Any) -> Any:
            return EVICT

    for name, value in attributes.items():
        setattr(Unclear, name, value)
    with CacheManager(environ={}) as manager, pytest.raises(CachePluginError) as raised:
        opened(manager, "in_memory", Unclear(), Path())
    assert str(raised.value).startswith("cache 'cache': the eviction policy Unclear ")
    assert message in str(raised.value)


@pytest.mark.parametrize("backend", ["in_memory", "file_based"])
@pytest.mark.parametrize("order", ["arrival", "rank"])
def test_an_eviction_that_is_interrupted(backend: str, order: Any, tmp_path: Path) -> None:
    """Ctrl-C in the middle of one leaves no entry behind that could never be evicted."""

    class Interrupted(EvictionPolicy):
        queues = (Queue("main", order=order),)
        asked = 0

        def judge(self, entry: Any, view: Any) -> Any:
            self.asked += 1
            if self.asked % 3 == 1:
                raise KeyboardInterrupt
            return EVICT

    with CacheManager(environ={}) as manager:
        cache = opened(manager, backend, Interrupted(), tmp_path / "store")
        interrupted = 0
        for number in range(5 * LIMIT):
            try:
                cache.set(f"key {number}", number)
            except KeyboardInterrupt:
                interrupted += 1
                assert cache.set(f"key {number}", number)
            assert cache.get(f"key {number}") == number
        assert interrupted > LIMIT
        assert cache.stats.entries == LIMIT
        assert sorted(cache.keys()) == sorted(f"key {number}" for number in range(4 * LIMIT, 5 * LIMIT))
        assert cache.stats.evictions == 4 * LIMIT


def test_refusing_is_no_mistake(tmp_path: Path) -> None:
    """A policy may choose nothing: then the write is refused."""
    with CacheManager(environ={}) as manager:
        cache = opened(manager, "in_memory", Answers("choose", None), tmp_path)
        for number in range(LIMIT):
            cache.set(f"key {number}", number)
        with pytest.raises(CacheFullError):
            cache.set("one more", 1)
        assert cache.stats.errors == 0


class Failing(Serializer):
    """What somebody's serializer may do that doesn't keep to the rules."""

    def dumps(self, value: Any, context: bytes) -> Any:
        """Nothing good, unless the value is 1."""
        return {1: b"1", 2: "no bytes"}[value]

    def loads(self, data: bytes, context: bytes) -> Any:
        """Nothing good."""
        raise KeyError(data)


@pytest.mark.parametrize("tags", [(), ("tag",)])
def test_a_serializer_that_fails(tags: tuple[str, ...], tmp_path: Path) -> None:
    """Its errors are ours: a value that it fails on is refused, one that it can't read is a miss and counted."""

    class Plugin:
        @hookimpl
        def create_serializer(self) -> Serializer:
            return Failing()

    with CacheManager(environ={}) as manager:
        manager.register(Plugin(), name="failing")
        cache = manager.get_cache("cache", backend="file_based", path=str(tmp_path / "store"), serializer="failing")
        for value, cause in ((2, TypeError), (3, KeyError)):
            with pytest.raises(CacheSerializationError) as raised:
                cache.set("key", value, tags=tags)
            said = f"cache 'cache', key 'key': the serializer failing failed on a value of type int: {cause.__name__}"
            assert str(raised.value) == said
            assert isinstance(raised.value.__cause__, cause)
        assert cache.set("key", 1, tags=tags)
        assert cache.get("key", "absent") == "absent"
        assert cache.get_many(["key"]) == {}
        assert cache.stats.unreadable == 2
        assert "the serializer failing failed: KeyError" in str(cache.explain("key"))
