"""What type checkers say about memoized functions: ``reveal_type`` stands before what must be revealed.

Checked by tools/check_types.py, with mypy and pyright; never run. A line that ends in ``# error`` must be an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, reveal_type

from codomyrmex.cache import AsyncCache, Cache


def tags_of(a: int) -> list[str]:
    return [f"of:{a}"]


def plain(cache: Cache[Any]) -> None:
    @cache.memoize
    def bare(a: int, *, b: str = "") -> float:
        return 1.0

    @cache.memoize(ttl="1h", tags=["t"], version=2)
    def given(a: int) -> list[str]:
        return []

    reveal_type(bare(1, b="x"))  # float
    reveal_type(bare.peek(1))  # float | None
    reveal_type(bare.refresh(1))  # float
    reveal_type(bare.key(1))  # str
    reveal_type(bare.invalidate(1))  # bool
    reveal_type(bare.cache)  # Cache[Any]
    reveal_type(given(1))  # list[str]
    bare("x")  # error
    bare()  # error
    bare(1, c=2)  # error
    bare.peek("x")  # error
    bare.key("x")  # error
    bare.refresh("x")  # error
    bare.invalidate("x")  # error
    given("x")  # error
    cache.memoize(tags=tags_of)(given)
    cache.memoize(tags=float)  # error
    cache.memoize(batch=True, tags=tags_of)  # error
    cache.memoize(tll=5)  # error
    cache.memoize(ttl=[])  # error


async def coroutines(cache: Cache[Any], other: AsyncCache[Any]) -> None:
    @cache.memoize
    async def on_sync(a: int) -> float:
        return 1.0

    @other.memoize(ttl=5)
    async def on_async(a: int) -> float:
        return 1.0

    reveal_type(await on_sync(1))  # float
    reveal_type(await on_async(1))  # float
    reveal_type(await on_async.peek(1))  # float | None
    reveal_type(await on_async.refresh(1))  # float
    reveal_type(await on_async.invalidate(1))  # bool
    reveal_type(on_async.key(1))  # str
    reveal_type(on_async.cache)  # AsyncCache[Any]
    await on_sync("x")  # error
    await on_async("x")  # error
    await on_async.peek("x")  # error

    @other.memoize  # error
    def refused(a: int) -> float:
        return 1.0


def methods(cache: Cache[Any]) -> None:
    class Shop:
        @cache.memoize
        def total(self, a: int) -> float:
            return 1.0

        @cache.memoize(ttl=5)
        async def later(self, a: int) -> float:
            return 1.0

        @cache.memoize
        @classmethod
        def of_class(cls, a: int) -> float:
            return 1.0

        @classmethod
        @cache.memoize(ttl=5)
        def of_class_inside(cls, a: int) -> float:
            return 1.0

    class Branch(Shop):
        pass

    shop = Shop()
    reveal_type(shop.total(1))  # float
    reveal_type(shop.total.peek(1))  # float | None
    reveal_type(shop.total.key(1))  # str
    reveal_type(Branch().total(1))  # float
    reveal_type(Shop.of_class(1))  # float
    reveal_type(shop.of_class.key(1))  # str
    reveal_type(Branch.of_class_inside(1))  # float
    shop.total("x")  # error
    shop.total(shop, 1)  # error
    shop.total.peek("x")  # error
    Shop.of_class("x")  # error


async def batches(cache: Cache[Any], other: AsyncCache[Any]) -> None:
    @cache.memoize(batch=True, ttl=5)
    def many(items: list[int]) -> list[str]:
        return []

    @other.memoize(batch=True)
    async def later(items: list[int]) -> dict[int, str]:
        return {}

    reveal_type(many([1]))  # list[str]
    reveal_type(many.key([1]))  # list[str]
    reveal_type(many.invalidate([1]))  # int
    reveal_type(await later([1]))  # dict[int, str]
    reveal_type(await later.peek([1]))  # dict[int, str]
    many(["x"])  # error
    cache.memoize(batch=True, refresh_ahead=0.5)  # error


async def coroutine_methods(cache: AsyncCache[Any]) -> None:
    class Shop:
        @cache.memoize
        async def later(self, a: int) -> float:
            return 1.0

        @cache.memoize(ttl=5)
        @classmethod
        async def of_class(cls, a: int) -> float:
            return 1.0

    reveal_type(await Shop().later(1))  # float
    reveal_type(await Shop().later.peek(1))  # float | None
    reveal_type(await Shop.of_class(1))  # float
    await Shop().later("x")  # error


async def streams(cache: Cache[Any], other: AsyncCache[Any]) -> None:
    @cache.memoize(ttl=5)
    def words(text: str) -> Iterator[str]:
        yield text

    @cache.memoize
    async def tokens(text: str) -> AsyncIterator[str]:
        yield text

    @other.memoize(ttl=5)
    async def lines(text: str) -> AsyncIterator[bytes]:
        yield text.encode()

    reveal_type(words("a"))  # Iterator[str]
    reveal_type(words.peek("a"))  # Iterator[str] | None
    reveal_type(tokens("a"))  # AsyncIterator[str]
    reveal_type(await tokens.peek("a"))  # AsyncIterator[str] | None
    reveal_type(lines("a"))  # AsyncIterator[bytes]
    reveal_type(lines.key("a"))  # str
    words(1)  # error
    lines(1)  # error
