"""Generator functions that are memoized: a call gives an iterator over items that are kept, come, or are replayed.

See `_streams.py` for what happens between the generator and those who go through it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from ._async_memoize import AsyncBoundMemoized, AsyncMemoized
from ._async_streams import astream
from ._memo_setup import Setup, asynchronous
from ._memoize import Memoized
from ._streams import stream
from .errors import CacheConfigError

P = ParamSpec("P")
R = TypeVar("R")

_REFUSED = ("soft_timeout", "hard_timeout", "refresh_ahead", "early_refresh")


class StreamMemoized(Memoized[P, R]):
    """A generator function whose items are kept."""

    _replays = True

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """An iterator over the items for these arguments."""
        return self._found(self._keys.of(args, kwargs), args, kwargs)

    def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """An iterator over what ``cache.get`` finds for these arguments, None if nothing; computes nothing."""
        items: Any = super().peek(*args, **kwargs)
        return None if items is None else cast(R, (item for item in items))

    def _found(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        setup = self._setup
        source: Any = partial(self._function, *args, **kwargs)
        return cast(R, stream(setup.loads, self._get, key, source, setup.options_of(args, kwargs)))

    def _refreshed(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        def items() -> Generator[Any, None, None]:
            self.cache.delete(key)
            found: Any = self._found(key, args, kwargs)
            yield from found

        return cast(R, items())


class AsyncStreamMemoized(AsyncMemoized[P, R]):
    """An asynchronous generator function whose items are kept."""

    _awaited = False

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """An asynchronous iterator over the items for these arguments."""
        return self.items(self._keys.of(args, kwargs), args, kwargs)

    async def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """An iterator over what ``cache.get`` finds for these arguments, None if nothing; computes nothing."""
        items: Any = await super().peek(*args, **kwargs)
        return None if items is None else cast(R, _replayed(items))

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """New items for these arguments, computed and stored whatever is kept."""
        return self.new_items(self._keys.of(args, kwargs), args, kwargs)

    def items(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """The items under ``key``."""
        setup = self._setup
        source: Any = partial(self._function, *args, **kwargs)
        return cast(R, astream(setup.loads, setup.view._shell, self._get, key, source, setup.options_of(args, kwargs)))

    def new_items(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """New ones in their place."""

        async def items() -> AsyncGenerator[Any, None]:
            await self.cache.delete(key)
            found: Any = self.items(key, args, kwargs)
            async for item in found:
                yield item

        return cast(R, items())

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        bound: Any = super().__get__(instance, owner)
        return bound if bound is self else _BoundAsyncStream(self, bound.__self__)


class _BoundAsyncStream(AsyncBoundMemoized[P, R]):
    """A memoized method of one instance, or of a class."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """See `AsyncStreamMemoized.__call__`."""
        items: R = self._memoized.items(self.key(*args, **kwargs), (self._instance, *args), kwargs)
        return items

    async def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """See `AsyncStreamMemoized.peek`."""
        items: Any = await super().peek(*args, **kwargs)
        return None if items is None else cast(R, _replayed(items))

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """See `AsyncStreamMemoized.refresh`."""
        items: R = self._memoized.new_items(self.key(*args, **kwargs), (self._instance, *args), kwargs)
        return items


async def _replayed(items: list[Any]) -> AsyncGenerator[Any, None]:
    for item in items:
        yield item


def stream_memoized(setup: Setup, original: Any, kind: str) -> Any:
    """A generator function memoized, an asynchronous one by the asynchronous view of the same cache.

    Raises:
        CacheConfigError: An option makes no sense for items that come one by one.
        TypeError: The view is missing.
    """
    given = [name for name in _REFUSED if getattr(setup.options, name) is not None]
    if given:
        raise CacheConfigError(
            f"memoize: {', '.join(given)} makes no sense for a generator, whose items come one by one"
        )
    if asynchronous(original):
        return AsyncStreamMemoized(setup if setup.asynchronous else setup.for_coroutines(), original, kind)
    setup.check_plain(original)
    return StreamMemoized(setup, original, kind)
