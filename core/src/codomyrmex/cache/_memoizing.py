"""`Cache.memoize` and `AsyncCache.memoize`: what they take, and what type checkers are told.

The views inherit it from here. What does the work is imported with the first function that is memoized.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from ._ttl import Ttl

if TYPE_CHECKING:
    from ._async_memoize import AsyncMemoized
    from ._memoize import Memoized

__all__ = ["AsyncMemoizer", "Memoizer", "_AsyncMemoizing", "_Memoizing"]

P = ParamSpec("P")
R = TypeVar("R")


class Memoizer(Protocol):
    """What `Cache.memoize` returns if it is given options only."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncMemoized[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> Memoized[P, R]: ...


class AsyncMemoizer(Protocol):
    """What `AsyncCache.memoize` returns if it is given options only."""

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncMemoized[P, R]:
        """Decorate ``function``."""
        ...


class _Memoizing:
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
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
        ttl_for: Callable[[Any], Ttl | None] | None = None,
        soft_timeout: Ttl | None = None,
        hard_timeout: Ttl | None = None,
        refresh_ahead: float | None = None,
        early_refresh: float | None = None,
        retry_after: Ttl | None = None,
        lease: Ttl | None = None,
    ) -> Memoizer: ...
    def memoize(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        key: Callable[..., Any] | None = None,
        ignore: Iterable[str] = (),
        version: str | int | None = None,
        name: str | None = None,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
        ttl_for: Callable[[Any], Ttl | None] | None = None,
        soft_timeout: Ttl | None = None,
        hard_timeout: Ttl | None = None,
        refresh_ahead: float | None = None,
        early_refresh: float | None = None,
        retry_after: Ttl | None = None,
        lease: Ttl | None = None,
    ) -> Any:
        """Decorate a function so that its results are kept: ``@cache.memoize`` or ``@cache.memoize(ttl="1h")``.

        The function may be a method, a class or static method, or a coroutine function, which goes on being awaited.
        It keeps its signature, and gets ``key``, ``peek``, ``refresh`` and ``invalidate``, which take the same
        arguments, and ``cache``. Its calls are loads: all that `get_or_set` promises holds for them.

        Args:
            function: What to decorate; None to decorate what follows.
            key: Takes the function's arguments and returns what stands for them in its keys, such as a text.
            ignore: Names of parameters that make no difference to the result.
            version: A text or number; another one makes all results so far those of another function.
            name: What its keys begin with; None for its module and qualified name. A lambda and a function inside
                of a function need one, because others may have the same.
            ttl: How long a result is served; None for the cache's default, inf for ever.
            tags: Texts by which `invalidate_tags` finds all of them.
            stale_for: How long a result is kept as a fallback after its ttl; None for the cache's default.
            ttl_for: Chooses the ttl by the result; None from it means ``ttl``.
            soft_timeout: With a kept result, wait no longer than this for a new one; it comes in the background.
            hard_timeout: Wait no longer than this for any.
            refresh_ahead: See `get_or_set`, also for all that follow.
            early_refresh: Likewise.
            retry_after: Likewise.
            lease: Likewise.

        Raises:
            CacheConfigError: An option is unusable, or the function needs a name.
            TypeError: It is no function, or a generator function.
        """
        from ._memo_setup import Setup
        from ._memoize import memoized

        setup = Setup(
            self,
            key=key,
            ignore=ignore,
            version=version,
            name=name,
            ttl=ttl,
            tags=tags,
            stale_for=stale_for,
            ttl_for=ttl_for,
            soft_timeout=soft_timeout,
            hard_timeout=hard_timeout,
            refresh_ahead=refresh_ahead,
            early_refresh=early_refresh,
            retry_after=retry_after,
            lease=lease,
        )
        return setup.decorator(memoized, function)


class _AsyncMemoizing:
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
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
        ttl_for: Callable[[Any], Ttl | None] | None = None,
        soft_timeout: Ttl | None = None,
        hard_timeout: Ttl | None = None,
        refresh_ahead: float | None = None,
        early_refresh: float | None = None,
        retry_after: Ttl | None = None,
        lease: Ttl | None = None,
    ) -> AsyncMemoizer: ...
    def memoize(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        key: Callable[..., Any] | None = None,
        ignore: Iterable[str] = (),
        version: str | int | None = None,
        name: str | None = None,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
        stale_for: Ttl | None = None,
        ttl_for: Callable[[Any], Ttl | None] | None = None,
        soft_timeout: Ttl | None = None,
        hard_timeout: Ttl | None = None,
        refresh_ahead: float | None = None,
        early_refresh: float | None = None,
        retry_after: Ttl | None = None,
        lease: Ttl | None = None,
    ) -> Any:
        """See `Cache.memoize`; for coroutine functions and such methods only."""
        from ._async_memoize import async_memoized
        from ._memo_setup import Setup

        setup = Setup(
            self,
            key=key,
            ignore=ignore,
            version=version,
            name=name,
            ttl=ttl,
            tags=tags,
            stale_for=stale_for,
            ttl_for=ttl_for,
            soft_timeout=soft_timeout,
            hard_timeout=hard_timeout,
            refresh_ahead=refresh_ahead,
            early_refresh=early_refresh,
            retry_after=retry_after,
            lease=lease,
        )
        return setup.decorator(async_memoized, function)
