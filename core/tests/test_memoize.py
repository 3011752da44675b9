"""`memoize` in both views: what is computed when, for whom, and what the decorated function still is."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import gc
import inspect
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dict_driver import JSON, FailingDriver, managed
from loading import until

from codomyrmex.cache import Cache, CacheConfigError, CacheError, CacheKeyError, CacheManager, get_cache
from codomyrmex.cache._memo_keys import _instances
from codomyrmex.cache.testing import ManualClock

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    calls.clear()
    yield
    calls.clear()


@pytest.fixture
def cache(manager: CacheManager) -> Cache[Any]:
    return manager.get_cache("app", **JSON)


def add(a: int, b: int = 2) -> int:
    """Add them."""
    calls.append((a, b))
    return a + b


async def aadd(a: int, b: int = 2) -> int:
    """Add them, later."""
    calls.append((a, b))
    return a + b


def fails(a: int) -> int:
    calls.append(a)
    raise ValueError(a)


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


VIEWS = ["sync", "async", "coroutine on sync"]


class Both:
    """A function memoized in one of three ways, called in one."""

    def __init__(self, manager: CacheManager, view: str, **options: Any) -> None:
        self.cache = manager.get_cache("app", **JSON)
        on: Any = manager.get_async_cache("app") if view == "async" else self.cache
        function: Any = add if view == "sync" else aadd
        self.memoized = on.memoize(**options)(function) if options else on.memoize(function)

    def do(self, name: str, *args: Any, **kwargs: Any) -> Any:
        result = getattr(self.memoized, name)(*args, **kwargs)
        return asyncio.run(result) if inspect.iscoroutine(result) else result

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.do("__call__", *args, **kwargs)


@pytest.fixture(params=VIEWS)
def both(request: pytest.FixtureRequest, manager: CacheManager) -> Both:
    return Both(manager, request.param)


def test_computed_once(both: Both) -> None:
    """A function is called once for the same arguments, however they are given, and what it gave is counted."""
    assert [3, 3, 3, 3, 5] == [both(1), both(1), both(1, 2), both(b=2, a=1), both(1, b=4)]
    assert [(1, 2), (1, 4)] == calls
    stats = both.cache.stats
    assert (2, 3, 2) == (stats.loads, stats.hits, stats.misses)


def test_what_it_carries(both: Both) -> None:
    """`key`, `peek`, `refresh`, `invalidate` take the function's arguments, `cache` is where results are."""
    key = both.memoized.key(1)
    assert key == both.memoized.key(a=1, b=2) == f"{__name__}.{both.memoized.__name__}(a=1, b=2)"
    assert both.do("peek", 1) is None
    assert [] == calls
    assert both(1) == 3
    assert both.do("peek", 1) == both.cache.get(key) == 3
    both.cache.set(key, 7)
    assert both(1) == 7
    assert both.do("refresh", 1) == 3
    assert both(1) == both.cache.get(key) == 3
    assert both.do("invalidate", a=1) is True
    assert both.do("invalidate", 1) is False
    assert [(1, 2)] * 2 == calls
    assert both(1) == 3
    assert [(1, 2)] * 3 == calls
    assert both.memoized.cache.name == "app"


@pytest.mark.parametrize("view", VIEWS)
def test_namespaces(manager: CacheManager, view: str) -> None:
    """Results of a namespace are its own, also where a coroutine function is decorated by a synchronous one."""
    cache: Any = manager.get_cache("app", **JSON).namespace("a").namespace("b")
    if view == "async":
        cache = manager.get_async_cache("app").namespace("a").namespace("b")
    function = cache.memoize(add if view == "sync" else aadd)
    result = function(1)
    assert (asyncio.run(result) if inspect.iscoroutine(result) else result) == 3
    assert [f"a:b:{function.key(1)}"] == manager.get_cache("app").keys()


@pytest.mark.parametrize("view", VIEWS)
def test_options(manager: CacheManager, clock: ManualClock, view: str) -> None:
    """Options of a load hold for every call."""
    both = Both(manager, view, ttl="1m", tags=["sums"], stale_for="1h")
    assert both(1) == 3
    assert both.cache.ttl(both.memoized.key(1)) == 60
    clock.advance(61)
    assert both.do("peek", 1) is None
    assert both(1) == 3
    assert len(calls) == 2
    both.cache.invalidate_tags("sums")
    both(1)
    assert len(calls) == 3


@pytest.mark.parametrize("view", VIEWS)
def test_tags_by_the_arguments(manager: CacheManager, view: str) -> None:
    """`tags` may be a function of the arguments, asked when a result is loaded."""
    asked: list[Any] = []

    def tags_of(a: int, b: int = 2) -> list[str]:
        asked.append((a, b))
        return ["sums", f"of:{a}"]

    both = Both(manager, view, tags=tags_of)
    assert [3, 5, 4, 3] == [both(1), both(1, b=4), both(2), both(1)]
    assert [(1, 2), (1, 4), (2, 2)] == asked
    both.cache.invalidate_tags("of:1")
    assert [None, None, 4] == [both.do("peek", 1), both.do("peek", 1, 4), both.do("peek", 2)]
    assert both.do("refresh", 1) == 3
    both.cache.invalidate_tags("of:1")
    assert both.do("peek", 1) is None
    both.cache.invalidate_tags("sums")
    assert both.do("peek", 2) is None


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("given", ["text", [5], None])
def test_unusable_tags_by_the_arguments(manager: CacheManager, view: str, given: Any) -> None:
    """They are refused before the function is called."""
    both = Both(manager, view, tags=lambda a, b=2: given)
    with pytest.raises(CacheKeyError, match="tag"):
        both(1)
    assert [] == calls


def test_tags_by_the_instance(cache: Cache[Any]) -> None:
    """A method's tags may depend on its instance, which comes first."""

    @dataclasses.dataclass(frozen=True)
    class Shop:
        name: str

        @cache.memoize(tags=lambda shop, month: [shop.name], name="sales")
        def sales(self, month: int) -> int:
            calls.append((self.name, month))
            return month

    shops = [Shop("north"), Shop("south")]
    for _ in range(2):
        assert [5, 5] == [shop.sales(5) for shop in shops]
    cache.invalidate_tags("north")
    assert [5, 5] == [shop.sales(5) for shop in shops]
    assert [("north", 5), ("south", 5), ("north", 5)] == calls


@pytest.mark.parametrize("view", VIEWS)
def test_refresh_ahead(manager: CacheManager, clock: ManualClock, view: str) -> None:
    """A read after most of the ttl has the value loaded in the background, though its key is remembered."""
    both = Both(manager, view, ttl=100, refresh_ahead=0.5)

    async def read() -> None:
        result = both.memoized(1)
        assert (await result if inspect.iscoroutine(result) else result) == 3
        while both.cache._store.background.busy or both.cache._store.flights._newest:
            await asyncio.sleep(0.001)

    for _ in range(3):
        asyncio.run(read())
    assert len(calls) == 1
    clock.advance(60)
    asyncio.run(read())
    assert len(calls) == 2
    assert both.cache.ttl(both.memoized.key(1)) == 100


@pytest.mark.parametrize(
    "option", [{"ttl": 0}, {"tags": "text"}, {"refresh_ahead": 2}, {"lease": "inf"}, {"name": "("}]
)
def test_options_are_checked_at_once(cache: Cache[Any], option: dict[str, Any]) -> None:
    """What is unusable is refused where the decorator stands, not at the first call."""
    with pytest.raises((CacheConfigError, CacheKeyError)):
        cache.memoize(**option)(add)


def test_unknown_options(cache: Cache[Any]) -> None:
    options: Any = {"tll": 5}
    with pytest.raises(TypeError, match="tll"):
        cache.memoize(**options)(add)


@pytest.mark.parametrize("view", VIEWS)
def test_keys_of_ones_own(manager: CacheManager, view: str) -> None:
    """`key`, `ignore`, `version` and `name` say what the key of a call is."""
    both = Both(manager, view, version=3, name="sum", ignore=["b"])
    assert (both(1, 2), both(1, 5)) == (3, 3)
    assert both.memoized.key(1) == "sum#3(a=1)"
    other = Both(manager, view, name="parity", key=lambda a, b=2: a % 2)
    assert (other(1), other(3), other(2)) == (3, 3, 4)
    assert other.memoized.key(5, b=7) == "parity(1)"


def test_errors(cache: Cache[Any]) -> None:
    """The function's own exception comes out as it is, and is not kept."""
    function = cache.memoize(fails)
    for _ in range(2):
        with pytest.raises(ValueError, match="5") as caught:
            function(5)
        assert type(caught.value) is ValueError
    assert [5, 5] == calls


def test_none_is_a_result(cache: Cache[Any]) -> None:
    function = cache.memoize(name="nothing")(lambda: calls.append(1))
    assert [function(), function()] == [None, None]
    assert [1] == calls


def test_wrong_calls(both: Both) -> None:
    """A call that the function can't be called with is the TypeError that it would be, for every attribute."""
    for name in ("__call__", "key", "peek", "refresh", "invalidate"):
        with pytest.raises(TypeError, match="argument"):
            both.do(name)
        with pytest.raises(TypeError, match="argument"):
            both.do(name, 1, c=3)
    assert [] == calls


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("what", ["missing", "invalidated", "down"])
def test_what_a_function_raises(view: str, what: str) -> None:
    """It is raised as it is, without a word of how its result was looked for."""
    with managed(driver=FailingDriver) as manager:
        cache: Any = manager.get_cache("app", **JSON)
        on: Any = manager.get_async_cache("app") if view == "async" else cache

        async def later(a: int) -> int:
            return fails(a)

        function = on.memoize(name="f")(fails if view == "sync" else later)
        if what == "invalidated":
            cache.set(function.key(1), 1, tags=["tag"])
            cache.invalidate_tags("tag")
        cache._driver.down = what == "down"
        result = functools.partial(function, 1) if view == "sync" else functools.partial(asyncio.run, function(1))
        with pytest.raises(ValueError, match="1") as caught:
            result()
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("view", VIEWS)
def test_a_backend_that_fails(view: str) -> None:
    """A call goes on without the backend, also one whose key is remembered, and is kept when it answers again."""
    with managed(driver=FailingDriver) as manager:
        both = Both(manager, view)
        driver: Any = both.cache._driver
        assert (both(1), both(1)) == (3, 3)
        driver.down = True
        before = both.cache.stats.misses
        assert (both(1), both(1), both(2)) == (3, 3, 4)
        assert both.cache.stats.misses == before + 3
        with pytest.raises(CacheError):
            both.do("invalidate", 1)
        driver.down = False
        assert (both(1), both(2)) == (3, 4)
        assert [(1, 2), (1, 2), (1, 2), (2, 2), (2, 2)] == calls


def test_what_the_function_still_is(cache: Cache[Any], manager: CacheManager) -> None:
    """Name, documentation, signature, and whether it is a coroutine function; but none of its own attributes."""
    function, coroutine = cache.memoize(add), manager.get_async_cache("app").memoize(aadd)
    for memoized, original in ((function, add), (coroutine, aadd)):
        seen: Any = memoized
        assert (original.__name__, original.__qualname__, original.__module__, original.__doc__) == (
            seen.__name__,
            seen.__qualname__,
            seen.__module__,
            seen.__doc__,
        )
        assert inspect.signature(original) == inspect.signature(seen)
        assert seen.__wrapped__ is original
        assert copy.copy(seen) is copy.deepcopy(seen) is seen
    assert inspect.iscoroutinefunction(coroutine) or sys.version_info < (3, 12)
    assert inspect.iscoroutinefunction(type(coroutine).__call__)
    assert not inspect.iscoroutinefunction(function)
    assert repr(function) == f"<memoized {__name__}.add in <Cache 'app' on dict>>"


def test_attributes_of_the_function_are_not_taken_over(cache: Cache[Any]) -> None:
    def function() -> int:
        return 1

    function.key = "mine"  # type: ignore[attr-defined]
    function.cache = None  # type: ignore[attr-defined]
    memoized = cache.memoize(name="f")(function)
    assert memoized.key() == "f()"
    assert memoized.cache is cache


module_cache = get_cache("tests-of-memoize", backend="null")


@module_cache.memoize
def at_the_top(a: int) -> int:
    return a


def test_pickled_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like a function, it can be sent to another process."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or inspect.getmodule(add))
    assert pickle.loads(pickle.dumps(at_the_top)) is at_the_top


def test_twice(manager: CacheManager) -> None:
    """A memoized function can be memoized again, in another cache: a near one in front of a far one."""
    far, near = manager.get_cache("far", **JSON), manager.get_cache("near", **JSON)
    both = near.memoize(far.memoize(add))
    assert (both(1), both(1)) == (3, 3)
    assert (1, 0, 1) == (near.stats.hits, far.stats.hits, len(calls))
    near.clear()
    assert both(1) == 3
    assert (far.stats.hits, len(calls)) == (1, 1)
    coroutine: Any = near.memoize(far.memoize(aadd))
    assert asyncio.run(coroutine(5)) == 7


class Shop:
    """Made anew for every test by `shops`."""

    total: Any
    later: Any
    of_class: Any
    of_class_inside: Any
    static: Any
    static_inside: Any
    keyed: Any
    size: Any

    def __init__(self, base: int = 0) -> None:
        self.base = base

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shop)

    __hash__ = None  # type: ignore[assignment]


def shops(cache: Any) -> type[Shop]:
    """A class with every kind of method."""

    class Here(Shop):
        @cache.memoize(name="total")
        def total(self, a: int, b: int = 0) -> int:
            """Count."""
            calls.append(a)
            return self.base + a + b

        @cache.memoize(name="later")
        async def later(self, a: int) -> int:
            calls.append(a)
            return self.base + a

        @classmethod
        @cache.memoize(name="of_class_inside", key=lambda cls, a: (cls.__name__, a))
        def of_class_inside(cls, a: int) -> Any:
            calls.append(a)
            return [cls.__name__, a]

        @cache.memoize(name="of_class", key=lambda cls, a: (cls.__name__, a))
        @classmethod
        def of_class(cls, a: int) -> Any:
            calls.append(a)
            return [cls.__name__, a]

        @staticmethod
        @cache.memoize(name="static_inside")
        def static_inside(a: int) -> int:
            calls.append(a)
            return a

        @cache.memoize(name="static")
        @staticmethod
        def static(a: int) -> int:
            calls.append(a)
            return a

        @cache.memoize(name="shared", ignore=["self"])
        def shared(self, a: int) -> int:
            calls.append(a)
            return a

        @property
        @cache.memoize(name="size")
        def size(self) -> int:
            calls.append("size")
            return self.base

    return Here


def test_methods(cache: Cache[Any]) -> None:
    """Instances never share, though they are equal and can't be hashed; every way to call a method is one call."""
    cls = shops(cache)
    one, two = cls(10), cls(20)
    assert [11, 21, 11, 21] == [one.total(1), two.total(1), one.total(a=1, b=0), cls.total(two, 1)]
    assert [1, 1] == calls
    assert one.total.key(1) == cls.total.key(one, 1) == cls.total.key(self=one, a=1) != two.total.key(1)
    assert one.total.peek(1) == 11
    one.base = 100
    assert (one.total(1), one.total.refresh(1), one.total(1)) == (11, 101, 101)
    assert (one.total.invalidate(1), one.total.invalidate(1), two.total.peek(1)) == (True, False, 21)
    assert one.total.cache is cache
    assert (one.size, one.size, two.size) == (100, 100, 20)
    assert one.total([1] and 1, 3) == 104


def test_bound_methods(cache: Cache[Any]) -> None:
    """A bound method is like any other."""
    cls = shops(cache)
    one, two = cls(), cls()
    bound = one.total
    assert bound == one.total != two.total
    assert hash(bound) == hash(one.total)
    assert (bound.__self__ is one, bound.__func__ is cls.total, bound.__name__, bound.__doc__) == (
        True,
        True,
        "total",
        "Count.",
    )
    assert str(inspect.signature(bound)) == "(a: 'int', b: 'int' = 0) -> 'int'"
    assert repr(bound) == "<memoized total of one Here>"


def test_coroutine_methods(cache: Cache[Any], manager: CacheManager) -> None:
    for view in (cache, manager.get_async_cache("app").namespace("n")):
        calls.clear()

        class Here(Shop):
            @view.memoize(name="later")
            async def later(self, a: int) -> int:
                calls.append(a)
                return self.base + a

        async def main() -> None:
            one, two = Here(10), Here(20)
            assert [11, 21, 11] == [await one.later(1), await two.later(1), await Here.later(one, 1)]
            assert await one.later.peek(1) == 11
            assert await one.later.refresh(1) == 11
            assert await one.later.invalidate(1)
            assert not await one.later.invalidate(1)
            assert one.later == one.later
            assert inspect.iscoroutinefunction(type(one.later).__call__)

        asyncio.run(main())
        assert [1, 1, 1] == calls


def test_class_and_static_methods(cache: Cache[Any]) -> None:
    """Either decorator may come first; classes never share, and a class method may be called on an instance."""
    cls = shops(cache)
    other = type("Other", (cls,), {})
    for name in ("of_class", "of_class_inside"):
        calls.clear()
        results = [getattr(cls, name)(1), getattr(cls(), name)(1), getattr(other, name)(1), getattr(other(), name)(1)]
        assert [["Here", 1]] * 2 + [["Other", 1]] * 2 == results
        assert [1, 1] == calls
    assert cls.of_class.key(1) == "of_class(('Here', 1))"
    assert cls.of_class.peek(1) == ["Here", 1]
    assert cls.of_class.invalidate(1)
    assert cls.of_class_inside.key(*([] if sys.version_info < (3, 13) else [cls]), 1) == "of_class_inside(('Here', 1))"
    for name in ("static", "static_inside"):
        calls.clear()
        assert [5, 5] == [getattr(cls, name)(5), getattr(cls(), name)(5)]
        assert [5] == calls
        assert getattr(cls, name).key(5) == f"{name}(a=5)" == getattr(cls(), name).key(5)


def test_ignoring_the_instance(cache: Cache[Any]) -> None:
    """Who wants all instances to share says so."""
    cls: Any = shops(cache)
    assert (cls().shared(1), cls().shared(1)) == (1, 1)
    assert [1] == calls


class Customer:
    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __cache_key__(self) -> int:
        return self.number

    @module_cache.memoize
    def orders(self, a: int) -> int:
        return a

    @module_cache.memoize
    @classmethod
    def named(cls, a: int) -> int:
        return a


class Slotted:
    __slots__ = ()

    @module_cache.memoize
    def orders(self, a: int) -> int:
        return a


def test_instances_with_a_key() -> None:
    """`__cache_key__` stands for an instance, in every process; class and value both count."""
    derived = type("Customer", (Customer,), {"__module__": "elsewhere"})
    assert Customer(1).orders.key(5) == f"{__name__}.Customer.orders(self={__name__}.Customer(1), a=5)"
    assert Customer(1).orders.key(5) == Customer.orders.key(Customer(1), 5) != Customer(2).orders.key(5)
    assert derived(1).orders.key(5) == f"{__name__}.Customer.orders(self=elsewhere.Customer(1), a=5)"
    assert Customer.named.key(5) == f"{__name__}.Customer.named(cls={__name__}.Customer, a=5)"


def test_instances_that_can_not_be_told_apart() -> None:
    with pytest.raises(CacheKeyError, match="__cache_key__") as caught:
        Slotted().orders(5)
    assert "Slotted" in str(caught.value)


def test_instances_that_are_gone(cache: Cache[Any]) -> None:
    """The next instance at the same address is another one, and nothing is kept for those that are gone."""
    cls = shops(cache)
    gc.collect()
    before = len(_instances)
    keys = set()
    for _ in range(200):
        keys.add(cls().total.key(1))
        gc.collect(0)
    assert len(keys) == 200
    gc.collect()
    assert len(_instances) == before


def test_instances_in_many_threads(cache: Cache[Any]) -> None:
    """However many threads meet a new instance at once, it has one key."""
    cls = shops(cache)
    for _ in range(50):
        shop, barrier, keys = cls(), threading.Barrier(4), []

        def look(
            shop: Shop = shop, barrier: threading.Barrier = barrier, found: Callable[[str], None] = keys.append
        ) -> None:
            barrier.wait()
            found(shop.total.key(1))

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(keys) == 4
        assert len(set(keys)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_instances_after_a_fork(cache: Cache[Any]) -> None:
    """A child's copy of an instance is another instance."""
    shop = shops(cache)()
    mine = shop.total.key(1)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, shop.total.key(1).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as file:
        theirs = file.read()
    assert theirs.startswith("total(self=")
    assert theirs != mine == shop.total.key(1)


def test_one_load(manager: CacheManager) -> None:
    """Threads and tasks that call it at once share one call of the function."""
    cache = manager.get_cache("app", **JSON)
    begun, go = threading.Event(), threading.Event()

    @cache.memoize(name="slow")
    def slow(a: int) -> int:
        calls.append(a)
        begun.set()
        go.wait(20)
        return a

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(slow(1))) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert begun.wait(20)
    until(lambda: sum(one._callers for one in cache._store.flights._newest.values()) == 20)
    go.set()
    for thread in threads:
        thread.join()
    assert ([1] * 20, [1], 19) == (results, calls, cache.stats.waits_joined)


def test_invalidation_wins(cache: Cache[Any]) -> None:
    """What was computed before an invalidation is given to its caller, and to nobody after that."""

    @cache.memoize(name="f")
    def function(a: int) -> int:
        calls.append(a)
        if len(calls) == 1:
            assert function.invalidate(1) is False
        return len(calls)

    assert [1, 2, 2] == [function(1), function(1), function(1)]


def test_recursion(cache: Cache[Any]) -> None:
    """A function may call itself."""

    @cache.memoize(name="fibonacci")
    def fibonacci(n: int) -> int:
        calls.append(n)
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(30) == 832040
    assert sorted(calls) == list(range(31))


def doubled(items: list[Any], factor: int = 2) -> list[Any]:
    calls.append((list(items), factor))
    return [item * factor for item in items]


async def adoubled(items: list[Any], factor: int = 2) -> list[Any]:
    return doubled(items, factor)


def named(items: list[Any]) -> dict[Any, str]:
    """Leaves odd ones out."""
    calls.append(list(items))
    return {item: f"no {item}" for item in items if item % 2 == 0}


async def anamed(items: list[Any]) -> "dict[Any, str]":  # noqa: UP037
    return named(items)


class Many:
    """A function of many items, memoized in one of three ways."""

    def __init__(self, manager: CacheManager, view: str, functions: tuple[Any, Any], **options: Any) -> None:
        self.cache = manager.get_cache("app", **JSON)
        on: Any = manager.get_async_cache("app") if view == "async" else self.cache
        self.memoized = on.memoize(batch=True, **options)(functions[view != "sync"])

    def do(self, name: str, *args: Any, **kwargs: Any) -> Any:
        result = getattr(self.memoized, name)(*args, **kwargs)
        return asyncio.run(result) if inspect.iscoroutine(result) else result


@pytest.mark.parametrize("view", VIEWS)
def test_batches(manager: CacheManager, view: str) -> None:
    """A function of many items is called once, with those that are missing; the order is that of the items."""
    many = Many(manager, view, (doubled, adoubled), ttl="1m", name="doubled")
    assert many.do("__call__", [1, 2]) == [2, 4]
    assert many.do("__call__", [3, 2, "1", 1, 3]) == [6, 4, "11", 2, 6]
    assert many.do("__call__", (1, 3)) == [2, 6]
    assert many.do("__call__", []) == []
    assert many.do("__call__", items=[1], factor=3) == [3]
    assert [([1, 2], 2), ([3, "1"], 2), ([1], 3)] == calls
    assert many.memoized.key([1, "1"]) == ["doubled(items=1, factor=2)", "doubled(items='1', factor=2)"]
    assert many.cache.ttl("doubled(items=1, factor=2)") == 60
    assert many.do("peek", [1, 9]) == [2, None]
    assert many.do("invalidate", [1, 9]) == 1
    assert many.do("peek", [1, 2]) == [None, 4]
    assert many.do("refresh", [2, 1]) == [4, 2]
    assert calls[3:] == [([2, 1], 2)]
    assert many.memoized.cache.name == "app"


@pytest.mark.parametrize("view", VIEWS)
def test_batches_of_mappings(manager: CacheManager, view: str) -> None:
    """A function may give a mapping, if it says so, and leave items out; those it is asked for again."""
    many = Many(manager, view, (named, anamed))
    assert many.do("__call__", [1, 2, 4]) == {2: "no 2", 4: "no 4"}
    assert many.do("__call__", [1, 2]) == {2: "no 2"}
    assert [[1, 2, 4], [1]] == calls
    assert many.do("peek", [1, 2]) == {2: "no 2"}


def test_batches_of_methods(cache: Cache[Any]) -> None:
    class Here(Shop):
        @cache.memoize(batch=True, name="many")
        def many(self, items: list[int]) -> list[int]:
            calls.append(items)
            return [self.base + item for item in items]

        @cache.memoize(batch=True, name="of_class", key=lambda cls, items: items)
        @classmethod
        def of_class(cls, items: list[int]) -> list[int]:
            return items

    one, two = Here(10), Here(20)
    assert [11, 12] == one.many([1, 2]) == Here.many(one, [1, 2])
    assert [21] == two.many([1])
    assert [[1, 2], [1]] == calls
    assert (one.many.invalidate([1]), one.many.peek([1, 2]), two.many.peek([1])) == (1, [None, 12], [21])
    assert Here.of_class([1, 2]) == [1, 2] == one.of_class([1, 2])


def test_batches_that_go_wrong(cache: Cache[Any], manager: CacheManager) -> None:
    def wrong(items: list[int]) -> Any:
        return {1: 1} if items == [1] else items[1:]

    function = cache.memoize(batch=True, name="wrong")(wrong)
    with pytest.raises(TypeError, match="annotation"):
        function([1])
    with pytest.raises(ValueError, match="1 results for 2 items"):
        function([5, 6])
    for items in ("text", 5):
        with pytest.raises(TypeError, match="several items"):
            function(items)  # type: ignore[arg-type]
    for option in ("soft_timeout", "hard_timeout", "refresh_ahead"):
        options: Any = {"batch": True, option: 0.5}
        with pytest.raises(CacheConfigError, match=option):
            cache.memoize(**options)(doubled)
    with pytest.raises(CacheConfigError, match="tags"):
        cache.memoize(batch=True, tags=lambda items: [])(doubled)  # type: ignore[call-overload]
    with pytest.raises(CacheConfigError, match="no items"):
        cache.memoize(batch=True, name="none")(lambda: [1])
    with pytest.raises(TypeError, match="get_cache"):
        manager.get_async_cache("app").memoize(batch=True)(doubled)  # type: ignore[arg-type]


def refusing(view: Any, function: Any, *words: str) -> None:
    with pytest.raises(TypeError) as caught:
        view.memoize(function)
    for word in words:
        assert word in str(caught.value)


def test_refused(cache: Cache[Any], manager: CacheManager) -> None:
    """What can't be memoized is refused where it is decorated, and the message says what to do instead."""
    view = manager.get_async_cache("app")
    refusing(view, add, "add", "get_cache()")
    refusing(view, numbers, "numbers", "get_cache()")
    for either in (cache, view):
        refusing(either, Shop, "class Shop")
        refusing(either, 5, "int")
        refusing(either, property(add), "property")
        refusing(either, functools.cached_property(add), "cached_property")


def test_wrapped_coroutine_functions(manager: CacheManager) -> None:
    """What a plain wrapper around a coroutine function gives back is awaited as well."""

    @functools.wraps(aadd)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return aadd(*args, **kwargs)

    for view in (manager.get_async_cache("app", **JSON), manager.get_cache("app").namespace("n")):
        function: Any = view.memoize(wrapper)
        assert asyncio.run(function(1)) == 3
        assert asyncio.run(function.peek(1)) == 3
    assert len(calls) == 2


def test_no_asynchronous_view(cache: Cache[Any]) -> None:
    """A cache that nobody can make another view of says what to use."""
    cache._store.async_view = None
    refusing(cache, aadd, "get_async_cache()")


def test_a_name_that_is_taken(cache: Cache[Any]) -> None:
    """Two functions of one name would be given each other's results: the second is refused, a reloaded one isn't."""
    cache.memoize(name="taken")(add)
    cache.memoize(name="taken")(add)
    cache.namespace("n").memoize(name="taken")(fails)
    with pytest.raises(CacheConfigError, match="taken by"):
        cache.memoize(name="taken")(fails)
    cache.memoize(add)
    with pytest.raises(CacheConfigError, match="taken by"):
        cache.memoize(name=f"{__name__}.add")(fails)


def test_interactive_programs(manager: CacheManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function typed in by hand shares its name with those of other sessions: only a store of its own is safe."""
    monkeypatch.setattr("codomyrmex.cache._memo_keys.module_name", lambda module: "__main__")
    cache = manager.get_cache("app", **JSON)
    assert cache.memoize(add).key(1) == "__main__.add(a=1, b=2)"
    monkeypatch.setattr(cache._driver, "capabilities", dataclasses.replace(cache.capabilities, persistent=True))
    with pytest.raises(CacheConfigError, match="interactive"):
        cache.memoize(add)


def test_closed(manager: CacheManager) -> None:
    cache = manager.get_cache("app", **JSON)
    function = cache.memoize(add)
    function(1)
    cache.close()
    with pytest.raises(CacheError, match="closed"):
        function(1)
    with pytest.raises(CacheError, match="closed"):
        cache.memoize(add)
