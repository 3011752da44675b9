"""What a caller asks of a load, and what its factory is told and may decide."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

from ._record import Record
from ._tags import check_tags
from ._ttl import Ttl, stale_seconds
from .errors import CacheConfigError, CacheKeyError
from .options import duration

V = TypeVar("V")

_LONGEST_TOKEN = 1000
"""Bytes."""


class Kept(NamedTuple):
    """A value that the store still has.

    Attributes:
        value: The value.
        age: Seconds since it was stored.
        stale: It is past its ttl.
        record: Its record.
    """

    value: Any
    age: float
    stale: bool
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What a caller asks of a load, checked; all durations in seconds. See `Cache.get_or_set`."""

    ttl: Ttl | None = None
    tags: tuple[str, ...] = ()
    stale_for: Ttl | None = None
    ttl_for: Callable[[Any], Ttl | None] | None = None
    soft_timeout: float | None = None
    hard_timeout: float | None = None
    refresh_ahead: float | None = None
    early_refresh: float | None = None
    retry_after: float = 10.0
    lease: float = 30.0


class _AnyArguments(TypedDict, total=False):
    stale_for: Ttl | None
    ttl_for: Callable[[Any], Ttl | None] | None
    retry_after: Ttl | None
    lease: Ttl | None


class _SingleArguments(TypedDict, total=False):
    soft_timeout: Ttl | None
    hard_timeout: Ttl | None
    refresh_ahead: float | None
    early_refresh: float | None


class ManyArguments(_AnyArguments, total=False):
    """What `Cache.get_or_set_many` may be given by name."""

    tags: Iterable[str]


class LoadArguments(ManyArguments, _SingleArguments, total=False):
    """What `Cache.get_or_set` may be given by name."""


class MemoizeArguments(_AnyArguments, _SingleArguments, total=False):
    """What `Cache.memoize` may be given by name."""

    tags: Iterable[str] | Callable[..., Iterable[str]]


def load_options(
    default_lease: float,
    default_retry: float,
    ttl: Ttl | None = None,
    *,
    tags: Iterable[str] = (),
    stale_for: Ttl | None = None,
    ttl_for: Callable[[Any], Ttl | None] | None = None,
    soft_timeout: Ttl | None = None,
    hard_timeout: Ttl | None = None,
    refresh_ahead: float | None = None,
    early_refresh: float | None = None,
    retry_after: Ttl | None = None,
    lease: Ttl | None = None,
) -> LoadOptions:
    """Check what a caller gave; see `Cache.get_or_set`.

    Raises:
        CacheConfigError: A duration or a fraction is unusable.
        CacheKeyError: A tag is.
    """
    if ttl is not None:
        duration(ttl)
    if stale_for is not None:
        stale_seconds(stale_for)
    for name, fraction in (("refresh_ahead", refresh_ahead), ("early_refresh", early_refresh)):
        if fraction is not None and (isinstance(fraction, bool) or not isinstance(fraction, (int, float))):
            raise CacheConfigError(f"{name} takes a number, got a {type(fraction).__name__}")
    if refresh_ahead is not None and not 0 < refresh_ahead < 1:
        raise CacheConfigError(f"refresh_ahead is a part of the ttl, between 0 and 1; got {refresh_ahead!r}")
    if early_refresh is not None and not 0 < early_refresh < math.inf:
        raise CacheConfigError(f"early_refresh takes a number above zero, such as 1.0; got {early_refresh!r}")
    if ttl_for is not None and not callable(ttl_for):
        raise CacheConfigError(f"ttl_for takes a function of the value, got a {type(ttl_for).__name__}")
    seconds = default_lease if lease is None else duration(lease)
    if seconds == math.inf:
        raise CacheConfigError("a lease must end some time: got inf")
    return LoadOptions(
        ttl=ttl,
        tags=check_tags(tags) if tags else (),
        stale_for=stale_for,
        ttl_for=ttl_for,
        soft_timeout=None if soft_timeout is None else stale_seconds(soft_timeout),
        hard_timeout=None if hard_timeout is None else duration(hard_timeout),
        refresh_ahead=refresh_ahead,
        early_refresh=early_refresh,
        retry_after=default_retry if retry_after is None else stale_seconds(retry_after),
        lease=seconds,
    )


class LoadContext(Generic[V]):
    """What the factory of a load may take as its argument: what is there already, and what becomes of its result.

    Attributes:
        key: The key that is loaded.
        value: The value that the store still has, None if there is none.
        has_value: Whether there is one.
        age: Seconds since it was stored; inf if there is none.
        token: The token that is kept with it, such as an ETag, and with the new value unless changed; empty for none.
        ttl: How long the new value is served; None for what the caller gave, or the cache's default.
        stale_for: How long it is kept as a fallback after that; None for the same.
        tags: Its tags: those that the caller gave, to which more may be added.
    """

    def __init__(self, key: str, kept: Kept | None, tags: Iterable[str]) -> None:
        self.key = key
        self.value: V | None = None if kept is None else kept.value
        self.has_value = kept is not None
        self.age = math.inf if kept is None else kept.age
        self.token = "" if kept is None else kept.record.token.decode("utf-8", "replace")
        self.ttl: Ttl | None = None
        self.stale_for: Ttl | None = None
        self.tags = set(tags)
        self._given = frozenset(self.tags)
        self.skipped = False
        self.private = False
        self.failure: str | None = None
        self.unchanged = False

    def skip(self, value: Any = None) -> Any:
        """Return the factory's value to the callers without storing it; gives back ``value``, for a ``return``."""
        self.skipped = True
        return value

    def fail(self, reason: str) -> Any:
        """Declare the load failed: the kept value is served if there is one, else `CacheError` is raised."""
        self.failure = str(reason)
        return None

    def not_modified(self) -> Any:
        """Keep the value that is there, and let its time begin anew; gives back that value, for a ``return``."""
        self.unchanged = True
        return self.value

    @property
    def chose_tags(self) -> bool:
        """Whether there are tags that the caller hasn't given: whoever joined the load couldn't ask about them."""
        return not self._given.issuperset(self.tags)

    def token_bytes(self) -> bytes:
        """The token as it is stored.

        Raises:
            CacheKeyError: It is no text, or longer than 1,000 bytes.
        """
        if not isinstance(self.token, str):
            raise CacheKeyError(f"a token must be a text, got a {type(self.token).__name__}", key=self.key)
        data = self.token.encode("utf-8", "replace")
        if len(data) > _LONGEST_TOKEN:
            raise CacheKeyError(f"a token has at most {_LONGEST_TOKEN} bytes, got {len(data)}", key=self.key)
        return data


def positionals(factory: Callable[..., Any]) -> int:
    """How many arguments ``factory`` has to be given; 0 if it doesn't say."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return 0
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in kinds and one.default is inspect.Parameter.empty for one in parameters)
