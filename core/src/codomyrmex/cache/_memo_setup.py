"""What a decorated function is and what was asked for it, checked once, when it is decorated."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from ._load import Job
from ._load_context import LoadOptions, load_options
from ._loads import Loads
from ._memo_keys import MemoKeys
from ._memo_values import class_of
from ._tags import check_tags
from .errors import CacheConfigError

Decorate = Callable[["Setup", Any], Any]


class Setup:
    """What `memoize` was asked for.

    Args:
        view: The cache it was asked of.
        asynchronous: Whether that is an asynchronous one.
        key: See `Cache.memoize`.
        ignore: Likewise.
        version: Likewise.
        name: Likewise.
        tags: Likewise.
        options: Likewise: all those of a load.
    """

    def __init__(
        self,
        view: Any,
        *,
        asynchronous: bool,
        key: Callable[..., Any] | None,
        ignore: Iterable[str],
        version: str | int | None,
        name: str | None,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        **options: Any,
    ) -> None:
        self.view = view
        self.store = view._store
        self.loads: Loads = view._loads
        self.asynchronous = asynchronous
        self.store.check_open()
        self._keys: dict[str, Any] = {"key": key, "ignore": ignore, "version": version, "name": name}
        self.tags_of = tags if callable(tags) else None
        """Gives the tags of a result for the arguments of the call; None if all have the same ones."""
        options["tags"] = () if callable(tags) else tags
        self.options: LoadOptions = load_options(self.store.lease, self.store.retry_after, **options)

    def decorator(self, decorate: Decorate, function: Any) -> Any:
        """``function`` decorated, or what decorates it."""
        if function is None:
            return functools.partial(decorate, self)
        return decorate(self, function)

    @property
    def ahead(self) -> bool:
        """Whether a value that is there may have to be loaded all the same."""
        return self.options.refresh_ahead is not None or self.options.early_refresh is not None

    def keys(self, function: Callable[..., Any]) -> MemoKeys:
        """The keys of ``function``; nobody else's on this cache.

        Raises:
            CacheConfigError: Another function has that name, or other programs may have one.
        """
        keys = MemoKeys(function, **self._keys)
        capabilities = self.view.capabilities
        if keys.name.startswith("__main__.") and (capabilities.shared or capabilities.persistent):
            raise CacheConfigError(
                f"memoize: {keys.name} is also the name of other interactive programs' functions, "
                "whose results would be its own: give it another with name="
            )
        taken = self.store.memoized
        owner = (str(getattr(function, "__module__", "")), str(getattr(function, "__qualname__", "")))
        there = taken.setdefault(self.view._namespace + keys.name, owner)
        if there != owner:
            raise CacheConfigError(
                f"memoize: the name {keys.name!r} is taken by {'.'.join(there)}, and results would be mixed up",
                cache=self.store.name,
            )
        return keys

    def job(self, key: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
        """The load of one call."""
        return self.loads.job(key, lambda: function(*args, **kwargs), self.options_of(args, kwargs))

    def options_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LoadOptions:
        """What is asked of the load of one call.

        Raises:
            CacheKeyError: Its tags are unusable.
        """
        if self.tags_of is None:
            return self.options
        return dataclasses.replace(self.options, tags=check_tags(self.tags_of(*args, **kwargs)))

    def check_plain(self, function: Any) -> None:
        """Raise `TypeError` where only coroutine functions can be memoized."""
        if self.asynchronous:
            raise TypeError(
                f"{getattr(function, '__qualname__', function)} is no coroutine function: memoize it with get_cache(), "
                "which is another view of the same cache"
            )

    def for_coroutines(self) -> Setup:
        """The same for the asynchronous view of the cache; raises `TypeError` if there is none."""
        make, namespace = self.store.async_view, self.view._namespace
        if make is None:
            raise TypeError("this cache has no asynchronous view: memoize coroutine functions with get_async_cache()")
        view = make()
        setup = copy.copy(self)
        setup.view = view.namespace(namespace) if namespace else view
        setup.loads = setup.view._loads
        setup.asynchronous = True
        return setup


def unwrapped(given: Any) -> tuple[Any, str]:
    """A function, and whether it came as a ``"class"`` or ``"static"`` method.

    Raises:
        TypeError: It is none.
    """
    cls = class_of(given)
    kind = {classmethod: "class", staticmethod: "static"}.get(cls, "")
    function: Any = given.__func__ if kind else given
    if issubclass(cls, (property, functools.cached_property)):
        raise TypeError(f"memoize comes before {cls.__name__}: write @{cls.__name__} above it")
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"memoize decorates functions, got {_described(function)}")
    return function, kind


def _described(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def streams(function: Callable[..., Any]) -> bool:
    """Whether it is a generator function, asynchronous or not."""
    original = inspect.unwrap(function)
    return inspect.isgeneratorfunction(original) or inspect.isasyncgenfunction(original)


def asynchronous(function: Callable[..., Any]) -> bool:
    """Whether it is an asynchronous generator function."""
    return inspect.isasyncgenfunction(inspect.unwrap(function))


def awaitable(function: Callable[..., Any]) -> bool:
    """Whether a call gives a coroutine."""
    original = inspect.unwrap(function)
    return inspect.iscoroutinefunction(original) or inspect.iscoroutinefunction(type(original).__call__)


def dress(memoized: Any, function: Callable[..., Any]) -> None:
    """Give ``memoized`` the name, documentation and signature of its function, but not its attributes.

    Those could take the place of its own, as `key` or `cache`.
    """
    functools.update_wrapper(memoized, function, updated=())


class Documented:
    """The docstring of a bound method, which is its function's; looked up when asked for, not copied with each one.

    Args:
        text: The docstring of the class.
    """

    def __init__(self, text: str | None) -> None:
        self._text = text

    def __get__(self, bound: Any, owner: type[Any]) -> str | None:
        text: str | None = self._text if bound is None else bound.__func__.__doc__
        return text


def mark_coroutine_function(memoized: Any) -> None:
    """Let others see that calling ``memoized`` gives a coroutine."""
    mark = getattr(inspect, "markcoroutinefunction", None)
    if mark is not None:
        mark(memoized)
    else:  # Python 3.11
        import asyncio

        memoized._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
