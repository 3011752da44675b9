"""Keys: what a user may use as one, and where it is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .errors import CacheConfigError, CacheKeyError
from .options import redact

_CACHE_NAME = re.compile(r"[A-Za-z0-9._-]+")
SEPARATOR = ":"
MARKER = "t"
SEQUENCE = "s"
LOCK = "l"
_SHOWN = 80


class Keys:
    """The storage keys of one cache.

    A user's key is kept under the cache's prefix, which is empty in a store that no other cache can reach. The
    cache's own records begin with NUL, as no user's key may: nothing that a user asks for can reach them.

    Args:
        cache: The cache's name.
        isolated: No other cache can reach the store.
    """

    def __init__(self, cache: str, isolated: bool) -> None:
        self.cache = cache
        self.prefix = "" if isolated else cache + SEPARATOR
        self._own = f"\0{cache}{SEPARATOR}"

    def own(self, kind: str, name: str = "") -> str:
        """Storage key of a record of the cache's own."""
        return f"{self._own}{kind}{name}"

    def check(self, key: object, namespace: str = "") -> str:
        """``key`` with its namespace, if it can be one.

        Raises:
            CacheKeyError: It is no str, empty, begins with NUL or can't be encoded.
        """
        whole = "".join((namespace, key)) if namespace and isinstance(key, str) and key else key
        problem = key_problem(whole)
        if problem is not None or not isinstance(whole, str):
            raise CacheKeyError(
                f"cache {self.cache!r}: {problem}", cache=self.cache, key=key if isinstance(key, str) else None
            )
        return whole

    def several(self, keys: Iterable[str]) -> Iterable[str]:
        """``keys``, unless they are one text, whose characters nobody means, or nothing to go through.

        Raises:
            CacheKeyError: They are.
        """
        if isinstance(keys, str) or not isinstance(keys, Iterable):
            raise CacheKeyError(
                f"cache {self.cache!r}: expected several keys, got a single {type(keys).__name__}", cache=self.cache
            )
        return keys


def key_problem(key: object) -> str | None:
    """Why ``key`` can't be a key; None if it can."""
    if not isinstance(key, str):
        return f"a key must be a str, got a {type(key).__name__}"
    if not key:
        return "a key must not be empty"
    if key[0] == "\0":
        return "a key must not begin with NUL: the cache keeps its own records there"
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError:
            return "a key must be encodable as UTF-8, this one has a lone surrogate"
    return None


def show(key: str) -> str:
    """``key`` for a message, in quotes, a long one shortened."""
    return repr(key if len(key) <= _SHOWN else key[:_SHOWN] + "…")


def check_cache_name(name: object) -> str:
    """``name`` if a cache may be called so.

    Raises:
        CacheConfigError: It is no str of letters, digits, dots, underscores and hyphens.
    """
    if not isinstance(name, str) or not _CACHE_NAME.fullmatch(name):
        shown = redact(repr(name))[:80]
        raise CacheConfigError(f"a cache name is made of letters, digits, '.', '_' and '-'; got {shown}")
    return name


def check_namespace(namespace: object) -> str:
    """``namespace`` with its trailing separator.

    Raises:
        CacheKeyError: It could not begin a key.
    """
    problem = key_problem(namespace)
    if problem is not None or not isinstance(namespace, str):
        raise CacheKeyError(f"no namespace: {problem}")
    return namespace if namespace.endswith(SEPARATOR) else namespace + SEPARATOR


@lru_cache(maxsize=256)
def glob_pattern(glob: str) -> re.Pattern[str]:
    """``glob`` as a pattern for a whole key; special are only ``*``, ``?``, ``[abc]`` and ``[!abc]``."""
    import fnmatch

    return re.compile(fnmatch.translate(glob))


def glob_prefix(glob: str) -> str:
    """The part of ``glob`` before its first special character: where a scan may begin."""
    return re.split(r"[*?\[]", glob, maxsplit=1)[0]
