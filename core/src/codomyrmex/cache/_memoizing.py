"""`Cache.memoize` and `AsyncCache.memoize`: what they take, and what type checkers are told.

The views inherit it from here. What does the work is imported with the first function that is memoized.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeVar, Unpack, overload

from ._load_context import ManyArguments, MemoizeArguments
from ._ttl import Ttl

if TYPE_CHECKING:
    from ._async_memoize import AsyncMemoized
    from ._batch_memoize import AsyncBatchMemoized, BatchMemoized
    from ._memo_streams import AsyncStreamMemoized
    from ._memoize import Memoized

__all__ = ["AsyncBatchMemoizer", "AsyncMemoizer", "BatchMemoizer", "Memoizer", "_AsyncMemoizing", "_Memoizing"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=AsyncIterator[Any])


class Memoizer(Protocol):
    """What `Cache.memoize` returns if it is given options only."""

    @overload
    def __call__(self, function: Callable[P, S], /) -> AsyncStreamMemoized[P, S]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncMemoized[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> Memoized[P, R]: ...


class AsyncMemoizer(Protocol):
    """What `AsyncCache.memoize` returns if it is given options only."""

    @overload
    def __call__(self, function: Callable[P, S], /) -> AsyncStreamMemoized[P, S]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncMemoized[P, R]: ...


class BatchMemoizer(Protocol):
    """What ``Cache.memoize(batch=True)`` returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncBatchMemoized[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> BatchMemoized[P, R]: ...


class AsyncBatchMemoizer(Protocol):
    """What ``AsyncCache.memoize(batch=True)`` returns."""

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncBatchMemoized[P, R]:
        """Decorate ``function``."""
        ...


class _Memoizing:
    @overload
    def memoize(self, function: Callable[P, S], /) -> AsyncStreamMemoized[P, S]: ...  # type: ignore[overload-overlap]
    @overload
    def memoize(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncMemoized[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def memoize(self, function: Callable[P, R], /) -> Memoized[P, R]: ...
    @overload
    def memoize(
        self,
        function: None = None,
        /,
        *,
        key: Callable[..., Any] | None = None,
        ignore: Iterable[str] = (),
        version: str | int | None = None,
        name: str | None = None,
        batch: Literal[False] = False,
        ttl: Ttl | None = None,
        **options: Unpack[MemoizeArguments],
    ) -> Memoizer: ...
    @overload
    def memoize(
        self,
        function: None = None,
        /,
        *,
        key: Callable[..., Any] | None = None,
        ignore: Iterable[str] = (),
        version: str | int | None = None,
        name: str | None = None,
        batch: Literal[True],
        ttl: Ttl | None = None,
        **options: Unpack[ManyArguments],
    ) -> BatchMemoizer: ...
    def memoize(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        key: Callable[..., Any] | None = None,
        ignore: Iterable[str] = (),
        version: str | int | None = None,
        name: str | None = None,
        batch: bool = False,
        ttl: Ttl | None = None,
        **options: Unpack[MemoizeArguments],
    ) -> Any:
        """Decorate a function so that its results are kept: ``@cache.memoize`` or ``@cache.memoize(ttl="1h")``.

        The function may be a method, a class or static method, or a coroutine function, which goes on being awaited.
        Of a generator function, asynchronous or not, the items are kept: who calls it while they come gets those that
        are there already, and then the others as they come. A stream that is broken off is not stored.
        It keeps its signature, and gets ``key``, ``peek``, ``refresh`` and ``invalidate``, which take the same
        arguments, and ``cache``. Its calls are loads: all that `get_or_set` promises holds for them.

        Args:
            function: What to decorate; None to decorate what follows.
            key: Takes the function's arguments and returns what stands for them in its keys, such as a text.
            ignore: Names of parameters that make no difference to the result.
            version: A text or number; another one makes all results so far those of another function.
            name: What its keys begin with; None for its module and qualified name. A lambda and a function inside
                of a function need one, because others may have the same.
            batch: The function takes several items, as its first argument, and returns a list of as many results, or
                a mapping if its annotation says so. Results are kept by item; the function is called with those
                whose result is missing.
            ttl: How long a result is served; None for the cache's default, inf for ever.
            options: By name, each optional: those of `get_or_set`, such as ``tags`` and ``stale_for``. Unless ``batch``
                is set, ``tags`` may be a function that takes the function's arguments and returns the result's tags.

        Raises:
            CacheConfigError: An option is unusable, or the function needs a name.
            TypeError: It is no function.
        """
        from ._memo_choice import memoized
        from ._memo_setup import Setup

        given: dict[str, Any] = {"key": key, "ignore": ignore, "version": version, "name": name, "ttl": ttl, **options}
        setup = Setup(self, asynchronous=False, **given)
        if batch:
            from ._batch_memoize import batch_memoized

            return setup.decorator(batch_memoized, function)
        return setup.decorator(memoized, function)


class _AsyncMemoizing:
    @overload
    def memoize(self, function: Callable[P, S], /) -> AsyncStreamMemoized[P, S]: ...
    @overload
    def memoize(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncMemoized[P, R]: ...
    @overload
    def memoize(
        self,
        function: None = None,
        /,
        *,
        key: Callable[..., Any] | None = None,
        ignore: Iterable[str] = (),
        version: str | int | None = None,
        name: str | None = None,
        batch: Literal[False] = False,
        ttl: Ttl | None = None,
        **options: Unpack[MemoizeArguments],
    ) -> AsyncMemoizer: ...
    @overload
    def memoize(
        self,
        function: None = None,
        /,
        *,
        key: Callable[..., Any] | None = None,
        ignore: Iterable[str] = (),
        version: str | int | None = None,
        name: str | None = None,
        batch: Literal[True],
        ttl: Ttl | None = None,
        **options: Unpack[ManyArguments],
    ) -> AsyncBatchMemoizer: ...
    def memoize(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        key: Callable[..., Any] | None = None,
        ignore: Iterable[str] = (),
        version: str | int | None = None,
        name: str | None = None,
        batch: bool = False,
        ttl: Ttl | None = None,
        **options: Unpack[MemoizeArguments],
    ) -> Any:
        """See `Cache.memoize`; for coroutine functions and asynchronous generator functions only."""
        from ._memo_choice import memoized
        from ._memo_setup import Setup

        given: dict[str, Any] = {"key": key, "ignore": ignore, "version": version, "name": name, "ttl": ttl, **options}
        setup = Setup(self, asynchronous=True, **given)
        if batch:
            from ._batch_memoize import batch_memoized

            return setup.decorator(batch_memoized, function)
        return setup.decorator(memoized, function)
