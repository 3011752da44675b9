"""`memoize(batch=True)`: a function of many items, whose results are kept item by item.

Each item has a key as if the function had been called with it alone. A call reads them all at once and calls the
function once, with the items that are missing; one that somebody else is loading is waited for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, get_origin, overload

from ._bulk_loads import BulkLoads
from ._memo_keys import MemoKeys
from ._memo_setup import Setup, awaitable, dress, streams, unwrapped
from ._steps import Steps, run
from .errors import CacheConfigError

if TYPE_CHECKING:
    from ._async_cache import AsyncCache
    from ._cache import Cache

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")

_SINGLE = ("soft_timeout", "hard_timeout", "refresh_ahead", "early_refresh")
"""Options that a load of many keys hasn't got."""


class _Batch(Generic[P]):
    """A function of many items that is memoized.

    Args:
        setup: What was asked for.
        function: The function. Its first parameter, of a method the second, takes the items.
        kind: ``"class"`` or ``"static"`` for such a method, which came with its own decorator.
    """

    __qualname__: str

    def __init__(self, setup: Setup, function: Callable[..., Any], kind: str = "") -> None:
        for option in _SINGLE:
            if getattr(setup.options, option) is not None:
                raise CacheConfigError(f"memoize: {option} is for one result, and batch=True for many")
        if setup.tags_of is not None:
            raise CacheConfigError("memoize: tags by the arguments are for one result, and batch=True for many")
        dress(self, function)
        self._setup = setup
        self._function = function
        self._kind = kind
        self._keys: MemoKeys = setup.keys(function)
        self._signature = inspect.signature(function)
        names = list(self._signature.parameters)
        first = 1 if self._keys.method or kind == "class" else 0
        if len(names) <= first:
            raise CacheConfigError(f"memoize: {self._keys.name}() takes no items, as batch=True needs")
        self._name = names[first]
        self._maps = _gives_mapping(function)
        self._before: tuple[Any, ...] = ()

    def key(self, /, *args: P.args, **kwargs: P.kwargs) -> list[str]:
        """The keys of the results for these items."""
        return self._calls(args, kwargs).keys

    def _calls(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Calls:
        try:
            bound = self._signature.bind(*self._before, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._keys.name}(): {error}") from None
        given: Any = bound.arguments.get(self._name, ())
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            raise TypeError(
                f"{self._keys.name}(): {self._name!r} takes several items, got a single {type(given).__name__}"
            )
        items: list[Any] = [*given]
        keys: list[str] = []
        for item in items:
            bound.arguments[self._name] = item
            keys.append(self._keys.of(bound.args, bound.kwargs))
        return _Calls(self, bound, items, keys)

    def _steps(self, calls: _Calls, factory: Callable[..., Any]) -> Steps[dict[str, Any]]:
        view = self._setup.view
        loads = BulkLoads(view._lookup, view._reads, self._setup.loads)
        return loads.get_or_set_many(loads.job(calls.keys, factory, self._setup.options), errors=False)

    def _bound(self, instance: Any, owner: Any) -> Self:
        if self._kind == "static" or (instance is None and self._kind != "class"):
            return self
        bound = object.__new__(type(self))
        vars(bound).update(vars(self))
        bound._before = (type(instance) if owner is None else owner,) if self._kind == "class" else (instance,)
        return bound

    def __reduce__(self) -> str:
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<memoized {self._keys.name} of many in {self._setup.view!r}>"


class _Calls:
    """One call: its items and their keys."""

    def __init__(self, batch: _Batch[...], bound: inspect.BoundArguments, items: list[Any], keys: list[str]) -> None:
        self._batch = batch
        self._call = bound
        self._items = items
        self._by_key = dict(zip(keys, items, strict=True))
        self.keys = keys

    def compute(self, keys: list[str]) -> Any:
        """What the function gives for the items of ``keys``."""
        self._call.arguments[self._batch._name] = [self._by_key[key] for key in keys]
        return self._batch._function(*self._call.args, **self._call.kwargs)

    def by_key(self, keys: list[str], result: Any) -> dict[str, Any]:
        """The same by key.

        Raises:
            TypeError: It is not what the function's annotation says.
            ValueError: It has another length.
        """
        name, maps = self._batch._keys.name, isinstance(result, Mapping)
        if maps is not self._batch._maps:
            says = "a mapping" if self._batch._maps else "a list"
            raise TypeError(f"{name}() gave back a {type(result).__name__}, but its return annotation says {says}")
        if maps:
            return {key: result[self._by_key[key]] for key in keys if self._by_key[key] in result}
        values = list(result)
        if len(values) != len(keys):
            raise ValueError(f"{name}() gave back {len(values)} results for {len(keys)} items")
        return dict(zip(keys, values, strict=True))

    def given(self, values: Mapping[str, Any]) -> Any:
        """What the caller gets."""
        if self._batch._maps:
            return {item: values[key] for item, key in zip(self._items, self.keys, strict=True) if key in values}
        return [values.get(key) for key in self.keys]


class BatchMemoized(_Batch[P], Generic[P, R]):
    """A function of many items whose results are kept; it is called as the function is."""

    @property
    def cache(self) -> Cache[Any]:
        """Where the results are."""
        return cast("Cache[Any]", self._setup.view)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The results for these items: those that are kept, and the others computed by one call."""
        return self._computed(self._calls(args, kwargs))

    def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What ``cache.get_many`` finds for these items; in a list, None for what it doesn't."""
        calls = self._calls(args, kwargs)
        return cast(R, calls.given(self.cache.get_many(calls.keys)))

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """New results for these items: the old ones are removed first."""
        calls = self._calls(args, kwargs)
        self.cache.delete_many(calls.keys)
        return self._computed(calls)

    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> int:
        """Remove the results for these items; how many there were."""
        return self.cache.delete_many(self._calls(args, kwargs).keys)

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(
        self: BatchMemoized[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> BatchMemoized[Q, R]: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self._bound(instance, owner)

    def _computed(self, calls: _Calls) -> R:
        def factory(keys: list[str]) -> Any:
            return calls.by_key(keys, calls.compute(keys))

        return cast(R, calls.given(run(self._steps(calls, factory))))


class AsyncBatchMemoized(_Batch[P], Generic[P, R]):
    """A coroutine function of many items whose results are kept; the twin of `BatchMemoized`."""

    @property
    def cache(self) -> AsyncCache[Any]:
        """Where the results are."""
        return cast("AsyncCache[Any]", self._setup.view)

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """See `BatchMemoized.__call__`."""
        return await self._computed(self._calls(args, kwargs))

    async def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """See `BatchMemoized.peek`."""
        calls = self._calls(args, kwargs)
        return cast(R, calls.given(await self.cache.get_many(calls.keys)))

    async def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """See `BatchMemoized.refresh`."""
        calls = self._calls(args, kwargs)
        await self.cache.delete_many(calls.keys)
        return await self._computed(calls)

    async def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> int:
        """See `BatchMemoized.invalidate`."""
        return await self.cache.delete_many(self._calls(args, kwargs).keys)

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(
        self: AsyncBatchMemoized[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> AsyncBatchMemoized[Q, R]: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self._bound(instance, owner)

    async def _computed(self, calls: _Calls) -> R:
        from ._async_steps import arun

        async def factory(keys: list[str]) -> Any:
            return calls.by_key(keys, await calls.compute(keys))

        steps = self._steps(calls, factory)
        return cast(R, calls.given(await arun(steps, self._setup.view._shell.perform)))


def _gives_mapping(function: Callable[..., Any]) -> bool:
    """Whether a function says that it returns a mapping."""
    annotation = getattr(inspect.unwrap(function), "__annotations__", {}).get("return")
    if isinstance(annotation, str):  # not evaluated: its names may exist for type checkers only
        annotation = annotation.strip("'\" ")
        name = annotation.partition("[")[0].rpartition(".")[2].strip()
        return name.lower() == "dict" or name.endswith("Mapping")
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)


def batch_memoized(setup: Setup, function: Any) -> Any:
    """``function`` memoized for items, by the view that it needs.

    Raises:
        TypeError: It is no function, or none for this view.
    """
    original, kind = unwrapped(function)
    if streams(original):
        raise TypeError(f"{original.__qualname__} is a generator function: batch=True takes one that returns a list")
    if awaitable(original):
        return AsyncBatchMemoized[..., Any](setup if setup.asynchronous else setup.for_coroutines(), original, kind)
    setup.check_plain(original)
    return BatchMemoized[..., Any](setup, original, kind)
