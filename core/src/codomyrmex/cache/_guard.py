"""What an operation does when the backend fails: one place for `CacheConnectionError` on its way to the caller."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ._lookup import Lookup
from ._steps import Steps
from ._store import Store
from .errors import CacheConnectionError, CacheError, CacheFullError, CacheInvalidationError

P = ParamSpec("P")
T = TypeVar("T")


class HasStore(Protocol):
    """Owner of guarded operations."""

    @property
    def store(self) -> Store:
        """The cache's shared parts."""
        ...

    _lookup: Lookup


S = TypeVar("S", bound=HasStore)
Operation = Callable[Concatenate[S, P], Steps[T]]


def degrades(to: Callable[..., T]) -> Callable[[Operation[S, P, T]], Operation[S, P, T]]:
    """For reads and writes: count a failure, then raise it, or return ``to(...)`` in a cache that degrades.

    Args:
        to: Called with the operation's owner and arguments.
    """

    def decorate(operation: Operation[S, P, T]) -> Operation[S, P, T]:
        def failed(owner: S, error: CacheConnectionError, /, *args: P.args, **kwargs: P.kwargs) -> T:
            if owner.store.on_error == "raise":
                raise error
            return to(owner, *args, **kwargs)

        return _guarded(operation, failed, CacheConnectionError)

    return decorate


def never_silent(operation: Operation[S, P, T]) -> Operation[S, P, T]:
    """For invalidations: count a failure and raise it as `CacheInvalidationError`, whatever ``on_error`` says.

    A store that has no room for the invalidation fails it too.
    """

    def failed(owner: S, error: CacheError, /, *args: P.args, **kwargs: P.kwargs) -> T:
        store = owner.store
        raise CacheInvalidationError(
            f"cache {store.name!r}: this {operation.__name__} may not have reached {store.backend}: {error.message}",
            cache=store.name,
            backend=store.backend,
            key=error.key,
        ) from error

    return _guarded(operation, failed, CacheConnectionError, CacheFullError)


def _guarded(
    operation: Operation[S, P, T], failed: Callable[Concatenate[S, Any, P], T], *kinds: type[CacheError]
) -> Operation[S, P, T]:
    # A method of one key has it as its first argument.
    of_key = "key" in tuple(signature(operation).parameters)[1:2]

    @wraps(operation)
    def steps(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Steps[T]:
        self.store.check_open()
        try:
            if not self.store.ready:
                yield from self._lookup.open()
            result = yield from operation(self, *args, **kwargs)
        except CacheError as error:
            self.store.locate(error, args[0] if of_key and args else None)
            if not isinstance(error, kinds):
                raise
            self.store.failed(error)
            return failed(self, error, *args, **kwargs)
        self.store.answered()
        return result

    return steps


def no(*_: Any, **__: Any) -> bool:
    """False: a write whose outcome is unknown, an entry nobody can see."""
    return False
