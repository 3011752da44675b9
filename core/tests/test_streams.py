"""Generator functions that are memoized: items as they come, replayed for others, stored if all of them came."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from dict_driver import JSON, FailingDriver, managed
from loading import Call, until

from codomyrmex.cache import Cache, CacheConfigError, CacheError, CacheManager


class Origin:
    """A generator function whose items are let go one by one.

    Args:
        items: What it yields; an exception among them is raised.

    Attributes:
        calls: How often it has been called.
        closed: How many of its generators have ended.
    """

    def __init__(self, *items: Any) -> None:
        self.items = items
        self.calls = 0
        self.closed = 0
        self._permits = threading.Semaphore(0)

    def let(self, count: int = 1) -> None:
        """Let so many items go."""
        self._permits.release(count)

    def generate(self, prompt: str) -> Iterator[Any]:
        """To be memoized."""
        self.calls += 1
        try:
            for item in self.items:
                assert self._permits.acquire(timeout=20)
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1

    async def agenerate(self, prompt: str) -> AsyncIterator[Any]:
        """The same for event loops."""
        self.calls += 1
        try:
            for item in self.items:
                while not self._permits.acquire(blocking=False):
                    await asyncio.sleep(0.001)
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1


@pytest.fixture
def cache(manager: CacheManager) -> Cache[Any]:
    return manager.get_cache("app", **JSON)


def test_items_as_they_come(cache: Cache[Any]) -> None:
    """The first caller gets each item when it is there; the second what is there and then the rest; a third all."""
    origin = Origin("a", "b", "c")
    answer = cache.memoize(ttl=60, name="answer")(origin.generate)
    first = answer("prompt")
    origin.let()
    assert next(first) == "a"
    second = answer("prompt")
    assert next(second) == "a"
    assert answer.peek("prompt") is None
    origin.let(2)
    assert list(second) == ["b", "c"]
    assert list(first) == ["b", "c"]
    assert cache.get(answer.key("prompt")) == ["a", "b", "c"]
    assert list(answer("prompt")) == ["a", "b", "c"]
    peeked = answer.peek("prompt")
    assert peeked is not None
    assert list(peeked) == ["a", "b", "c"]
    assert (origin.calls, origin.closed, cache.stats.waits_joined) == (1, 1, 1)


def test_tags_by_the_arguments(cache: Cache[Any]) -> None:
    """A stream's tags may depend on its arguments."""
    origin = Origin("a")
    answer = cache.memoize(tags=lambda prompt: [prompt], name="answer")(origin.generate)
    origin.let(9)
    assert [list(answer("x")), list(answer("y")), list(answer("x"))] == [["a"]] * 3
    cache.invalidate_tags("x")
    assert (answer.peek("x"), answer.peek("y") is None) == (None, False)


def test_an_empty_stream(cache: Cache[Any]) -> None:
    """No items are a result as well."""
    origin = Origin()
    answer = cache.memoize(name="answer")(origin.generate)
    assert [list(answer("x")), list(answer("x"))] == [[], []]
    assert origin.calls == 1


def test_broken_off_by_its_reader(cache: Cache[Any]) -> None:
    """A stream that nobody reads any more is closed and not stored; the next caller begins anew."""
    origin = Origin("a", "b", "c")
    answer = cache.memoize(name="answer")(origin.generate)
    items = answer("x")
    origin.let()
    assert next(items) == "a"
    items.close()
    origin.let()
    until(lambda: origin.closed == 1, "the generator ends")
    until(lambda: cache.explain(answer.key("x")).state == "absent")
    origin.let(4)
    assert list(answer("x")) == ["a", "b", "c"]
    assert origin.calls == 2


def test_one_reader_is_left(cache: Cache[Any]) -> None:
    """A stream goes on as long as somebody reads it."""
    origin = Origin("a", "b")
    answer = cache.memoize(name="answer")(origin.generate)
    first, second = answer("x"), answer("x")
    origin.let()
    assert [next(first), next(second)] == ["a", "a"]
    first.close()
    origin.let()
    assert list(second) == ["b"]
    assert cache.get(answer.key("x")) == ["a", "b"]


def test_broken_off_by_an_error(cache: Cache[Any]) -> None:
    """Every reader gets the items that came, and then the error; nothing is stored."""
    origin = Origin("a", ValueError("the line is dead"))
    answer = cache.memoize(name="answer")(origin.generate)
    first, second = answer("x"), answer("x")
    origin.let()
    assert [next(first), next(second)] == ["a", "a"]
    origin.let()
    for items in (first, second):
        with pytest.raises(ValueError, match="the line is dead"):
            next(items)
    assert cache.explain(answer.key("x")).state == "absent"
    assert cache.stats.load_failures == 1


def test_invalidated_while_it_comes(cache: Cache[Any]) -> None:
    """Its readers get it to the end; who comes after the invalidation does not join, and nothing of it is stored."""
    origin = Origin("a", "b")
    answer = cache.memoize(name="answer")(origin.generate)
    first = answer("x")
    origin.let()
    assert next(first) == "a"
    assert answer.invalidate("x") is False  # it is not there yet
    later = answer("x")
    origin.let(3)
    assert sorted([*first, *later]) == ["a", "b", "b"]
    assert origin.calls == 2
    assert cache.get(answer.key("x")) == ["a", "b"]


def test_stale_items_if_the_first_one_fails(manager: CacheManager, clock: Any) -> None:
    """What is kept is served if the stream fails before it has begun."""
    cache = manager.get_cache("app", **JSON)
    origin = Origin("a")
    answer = cache.memoize(name="answer", ttl=10, stale_for=100)(origin.generate)
    origin.let(2)
    assert list(answer("x")) == ["a"]
    clock.advance(11)
    origin.items = (ValueError(),)
    assert list(answer("x")) == ["a"]


def test_refresh(cache: Cache[Any]) -> None:
    """`refresh` gives new items."""
    origin = Origin("a")
    answer = cache.memoize(name="answer")(origin.generate)
    origin.let(2)
    assert list(answer("x")) == ["a"]
    origin.items = ("b",)
    assert list(answer("x")) == ["a"]
    assert list(answer.refresh("x")) == ["b"]
    assert list(answer("x")) == ["b"]


def test_methods(cache: Cache[Any]) -> None:
    """Methods are bound as everybody's are."""

    class Model:
        def __init__(self, name: str) -> None:
            self.name = name

        @cache.memoize(name="answer")
        def answer(self, prompt: str) -> Iterator[str]:
            yield self.name + prompt

    one, two = Model("one"), Model("two")
    assert [list(one.answer("x")), list(two.answer("x")), list(one.answer("x"))] == [["onex"], ["twox"], ["onex"]]
    assert one.answer.invalidate("x") is True
    assert one.answer.peek("x") is None


def test_another_value_under_its_key(cache: Cache[Any]) -> None:
    """What is no list of items is an error that says so."""
    answer = cache.memoize(name="answer")(Origin("a").generate)
    cache.set(answer.key("x"), 5)
    with pytest.raises(CacheError, match="int"):
        next(answer("x"))


@pytest.mark.parametrize("option", ["soft_timeout", "hard_timeout", "refresh_ahead", "early_refresh"])
def test_options_that_make_no_sense(cache: Cache[Any], option: str) -> None:
    """Refused where the function is decorated."""
    with pytest.raises(CacheConfigError, match=option):
        cache.memoize(name="answer", **{option: 0.5})(Origin().generate)  # type: ignore[call-overload]


def test_waiting_for_itself(cache: Cache[Any]) -> None:
    """A generator that reads its own stream computes a second one, instead of waiting for ever."""
    depth = 0

    @cache.memoize(name="answer")
    def answer(prompt: str) -> Iterator[str]:
        nonlocal depth
        depth += 1
        if depth == 1:
            yield from answer(prompt)
        yield "a"

    assert list(answer("x")) == ["a", "a"]


def test_a_dead_backend() -> None:
    """Items come straight from the generator; nothing is kept."""
    with managed(driver=FailingDriver) as manager:
        cache = manager.get_cache("app", **JSON)
        origin = Origin("a", "b")
        answer = cache.memoize(name="answer")(origin.generate)
        origin.let(2)
        driver: Any = cache._driver
        driver.down = True
        assert list(answer("x")) == ["a", "b"]


def test_many_readers(cache: Cache[Any]) -> None:
    """However many read it, the generator runs once."""
    origin = Origin(*range(20))
    answer = cache.memoize(name="answer")(origin.generate)
    readers = [Call(lambda: list(answer("x"))) for _ in range(50)]
    origin.let(20)
    assert all(reader.result() == list(range(20)) for reader in readers)
    assert origin.calls == 1


async def collect(items: Any) -> list[Any]:
    return [item async for item in items]


def run(manager: CacheManager, test: Any) -> None:
    """Run a test on the asynchronous view."""

    async def main() -> None:
        cache = manager.get_async_cache("app", **JSON)
        await test(cache)

    asyncio.run(main())


def test_async_items_as_they_come(manager: CacheManager) -> None:
    """As in the synchronous view; a thousand tasks share one generator."""

    async def test(cache: Any) -> None:
        origin = Origin("a", "b", "c")
        answer = cache.memoize(name="answer")(origin.agenerate)
        first = answer("x")
        origin.let()
        assert await anext(first) == "a"
        others = [asyncio.create_task(collect(answer("x"))) for _ in range(1000)]
        await asyncio.sleep(0)
        origin.let(2)
        assert await collect(first) == ["b", "c"]
        assert await asyncio.gather(*others) == [["a", "b", "c"]] * 1000
        assert await collect(await answer.peek("x")) == ["a", "b", "c"]
        assert origin.calls == 1
        origin.let(3)
        assert await collect(answer.refresh("x")) == ["a", "b", "c"]
        assert origin.calls == 2

    run(manager, test)


def test_async_broken_off(manager: CacheManager) -> None:
    """The generator's task is cancelled when nobody reads any more, and its lease is given back at once."""

    async def test(cache: Any) -> None:
        origin = Origin("a", "b")
        answer = cache.memoize(name="answer")(origin.agenerate)
        async with contextlib.aclosing(answer("x")) as items:
            origin.let()
            assert await anext(items) == "a"
        while origin.closed == 0:
            await asyncio.sleep(0.001)
        while (await cache.explain(answer.key("x"))).state != "absent":
            await asyncio.sleep(0.001)
        origin.let(2)
        assert await collect(answer("x")) == ["a", "b"]

    run(manager, test)


def test_async_cancelled_reader(manager: CacheManager) -> None:
    """Who is cancelled takes nobody else along."""

    async def test(cache: Any) -> None:
        origin = Origin("a", "b")
        answer = cache.memoize(name="answer")(origin.agenerate)
        first, second = (asyncio.create_task(collect(answer("x"))) for _ in range(2))
        origin.let()
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        origin.let()
        assert await second == ["a", "b"]
        with pytest.raises(asyncio.CancelledError):
            await first

    run(manager, test)


def test_async_error_and_methods(manager: CacheManager) -> None:
    """An error comes after the items; a method is bound."""

    async def test(cache: Any) -> None:
        origin = Origin("a", ValueError("no"))
        answer = cache.memoize(name="answer")(origin.agenerate)
        origin.let(2)
        items = answer("x")
        assert await anext(items) == "a"
        with pytest.raises(ValueError, match="no"):
            await anext(items)

        class Model:
            @cache.memoize(name="method")
            async def answer(self, prompt: str) -> AsyncIterator[str]:
                yield prompt

        model = Model()
        assert await collect(model.answer("y")) == ["y"]
        assert await collect(await model.answer.peek("y")) == ["y"]
        assert await collect(model.answer.refresh("y")) == ["y"]
        assert await model.answer.invalidate("y") is True

    run(manager, test)


def test_both_views_share_a_stream(manager: CacheManager) -> None:
    """A thread reads what a task produces."""
    cache = manager.get_cache("app", **JSON)
    origin = Origin("a", "b")
    answer = cache.memoize(name="answer")(origin.agenerate)
    plain = Origin("never")

    async def main() -> None:
        items = answer("x")
        origin.let()
        assert await anext(items) == "a"
        from codomyrmex.cache._load_context import load_options
        from codomyrmex.cache._streams import stream

        options = load_options(30, 10)
        reader = Call(
            lambda: list(stream(cache._loads, cache.get, answer.key("x"), lambda: plain.generate("x"), options))
        )
        origin.let()
        assert await collect(items) == ["b"]
        assert await asyncio.to_thread(reader.result) == ["a", "b"]
        assert plain.calls == 0

    asyncio.run(main())
