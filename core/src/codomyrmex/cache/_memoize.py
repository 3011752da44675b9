"""`Memoized`: what takes the place of a function that the synchronous view memoizes.

A call whose result is there costs a key, which is remembered for simple arguments, and a `get`. Everything else is a
load like that of `get_or_set`, and what that promises holds here as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from ._load import Job
from ._lookup import ASK, NOT_SERVED
from ._memo_keys import SIMPLE, MemoKeys, instance_of
from ._memo_setup import Documented, Setup, dress
from ._steps import Steps, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._cache import Cache

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class Memoized(Generic[P, R]):
    """A function whose results are kept; it is called as the function is.

    Args:
        setup: What was asked for.
        function: The function.
        kind: ``"class"`` or ``"static"`` for such a method, which came with its own decorator.

    Attributes:
        cache: Where the results are.
    """

    _replays = False
    """Whether what is kept has to be made into a result."""
    __wrapped__: Callable[P, R]
    __name__: str
    __qualname__: str

    def __init__(self, setup: Setup, function: Callable[P, R], kind: str = "") -> None:
        dress(self, function)
        self.cache: Cache[Any] = setup.view
        self._setup = setup
        self._function = function
        self._kind = kind
        self._keys: MemoKeys = setup.keys(function)
        self._get = setup.view.get
        self._quick = not (setup.ahead or self._replays)
        """Whether what is kept is the result, and nothing more is to be done."""
        # What `__call__` needs to be quick; of what is loaded ahead of time it knows no key.
        self._known: Mapping[tuple[Any, ...], str] = {} if setup.ahead else self._keys.known

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result for these arguments: the one that is kept, or a new one."""
        for one in args:
            if type(one) not in SIMPLE:
                break
        else:
            if not kwargs and (key := self._known.get(args)) is not None:
                try:
                    value: R = self._get(key, ASK)  # a cast would be a call
                except NOT_SERVED as error:
                    find = self._setup.loads.instead(error)
                else:
                    if value is not ASK:
                        return value
                    find = self._setup.loads.missed
                return self._loaded(find, key, args, kwargs)
        return self._found(self._keys.of(args, kwargs), args, kwargs)

    def key(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of the result for these arguments.

        Raises:
            CacheKeyError: An argument can't be part of a key.
            TypeError: The function can't be called so.
        """
        return self._keys.of(args, kwargs)

    def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """What ``cache.get`` finds for these arguments, None if nothing; computes nothing, but counts."""
        value: R | None = self._get(self._keys.of(args, kwargs))
        return value

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """A new result for these arguments, computed and stored whatever is kept."""
        return self._refreshed(self._keys.of(args, kwargs), args, kwargs)

    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the result for these arguments; whether there was one. A load that is under way stores nothing.

        Raises:
            CacheInvalidationError: It may not have reached the backend.
        """
        return self.cache.delete(self._keys.of(args, kwargs))

    @overload
    def __get__(self: Memoized[Concatenate[type[S], Q], R], instance: None, owner: type[S]) -> Memoized[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(
        self: Memoized[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> Memoized[Q, R]: ...
    @overload
    def __get__(
        self: Memoized[Concatenate[type[S], Q], R], instance: S, owner: type[Any] | None = None
    ) -> Memoized[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Self: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if self._kind == "class":
            return BoundMemoized(self, type(instance) if owner is None else owner)
        if instance is None or self._kind == "static":
            return self
        return BoundMemoized(self, instance)

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by name, as functions are

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<memoized {self._keys.name} in {self.cache!r}>"

    def _found(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        loads = self._setup.loads
        if self._setup.ahead:
            return self._loaded(loads.get_or_set, key, args, kwargs)
        try:
            value: R = self._get(key, ASK)
        except NOT_SERVED as error:
            find = loads.instead(error)
        else:
            if value is not ASK:
                return value
            find = loads.missed
        return self._loaded(find, key, args, kwargs)

    def _loaded(self, find: Callable[[Job], Steps[Any]], key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """What ``find`` loads."""
        return cast(R, run(find(self._setup.job(key, self._function, args, kwargs))))

    def _refreshed(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        setup = self._setup
        return cast(R, run(setup.loads.refresh(setup.job(key, self._function, args, kwargs))))


class BoundMemoized(Memoized[Q, R]):
    """A memoized method of one instance, or of a class.

    Made anew for every call, so it does as little as it can.

    Args:
        memoized: The method.
        instance: What it belongs to.
    """

    __doc__ = Documented(__doc__)  # pyright: ignore[reportAssignmentType]

    def __init__(self, memoized: Memoized[..., R], instance: Any) -> None:
        self._memoized: Any = memoized
        self._instance = instance

    @property
    def __func__(self) -> Any:
        return self._memoized

    @property
    def __self__(self) -> Any:
        return self._instance

    @property
    def __signature__(self) -> inspect.Signature:
        whole = inspect.signature(self._memoized)
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    def __call__(self, /, *args: Q.args, **kwargs: Q.kwargs) -> R:
        """See `Memoized.__call__`."""
        memoized, instance = self._memoized, self._instance
        value: R
        if memoized._quick and not kwargs:
            there = instance_of(id(instance))
            if there is not None and there.ref() is instance:
                for one in args:
                    if type(one) not in SIMPLE:
                        break
                else:
                    key = there.known.get((memoized._keys, args))
                    if key is not None:
                        try:
                            value = memoized._get(key, ASK)
                        except NOT_SERVED as error:
                            find = memoized._setup.loads.instead(error)
                        else:
                            if value is not ASK:
                                return value
                            find = memoized._setup.loads.missed
                        value = memoized._loaded(find, key, (instance, *args), kwargs)
                        return value
        value = memoized._found(memoized._keys.of_method(instance, args, kwargs), (instance, *args), kwargs)
        return value

    def key(self, /, *args: Q.args, **kwargs: Q.kwargs) -> str:
        """See `Memoized.key`."""
        key: str = self._memoized._keys.of_method(self._instance, args, kwargs)
        return key

    def peek(self, /, *args: Q.args, **kwargs: Q.kwargs) -> R | None:
        """See `Memoized.peek`."""
        value: R | None = self._memoized._get(self.key(*args, **kwargs))
        return value

    def refresh(self, /, *args: Q.args, **kwargs: Q.kwargs) -> R:
        """See `Memoized.refresh`."""
        value: R = self._memoized._refreshed(self.key(*args, **kwargs), (self._instance, *args), kwargs)
        return value

    def invalidate(self, /, *args: Q.args, **kwargs: Q.kwargs) -> bool:
        """See `Memoized.invalidate`."""
        there: bool = self._memoized.cache.delete(self.key(*args, **kwargs))
        return there

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self  # it has its instance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memoized, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundMemoized):
            return NotImplemented
        return self._memoized is other._memoized and self._instance is other._instance

    def __hash__(self) -> int:
        return hash((id(self._memoized), id(self._instance)))

    def __reduce__(self) -> Any:
        return getattr, (self._instance, self._memoized.__name__)

    def __repr__(self) -> str:
        return f"<memoized {self._memoized._keys.name} of one {type(self._instance).__name__}>"
