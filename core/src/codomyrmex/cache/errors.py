"""Every error this package raises.

    CacheError                               base of all
    ├── CacheKeyError (KeyError)             a key is invalid, or missing where it must exist
    │   └── CacheExpiredError                the entry is held, but past its ttl
    ├── CacheFullError                       a limit is reached and nothing may be evicted
    ├── CacheConnectionError (ConnectionError)   a backend is unreachable, refuses or times out
    ├── CacheSerializationError (ValueError) a value can't be stored, or stored bytes can't be trusted
    ├── CacheInvalidationError               a delete, tag or clear that did not reach the store
    ├── CacheConfigError (ValueError)        a setting is unknown, malformed or contradicts another
    └── CachePluginError                     a plugin is missing, blocked, broken or ambiguous

Errors of libraries below are chained (``raise ... from exc``), never let through. No message holds a value,
a password or the credentials of a URL.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "CacheConfigError",
    "CacheConnectionError",
    "CacheError",
    "CacheExpiredError",
    "CacheFullError",
    "CacheInvalidationError",
    "CacheKeyError",
    "CachePluginError",
    "CacheSerializationError",
]


class CacheError(Exception):
    """Base of all errors of this package.

    Args:
        message: What happened and what to do, in one line.
        cache: Name of the cache, where one is concerned.
        backend: Name of the backend, where one is concerned.
        key: The user's key, where one is concerned.
    """

    def __init__(
        self,
        message: str = "",
        *,
        cache: str | None = None,
        backend: str | None = None,
        key: object = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cache = cache
        self.backend = backend
        self.key = key

    def __str__(self) -> str:
        # KeyError would show the repr of its argument; a message is for reading.
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own pickling calls the class with `args` only and would lose the keyword arguments.
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(cls: type[CacheError], message: str, state: dict[str, Any]) -> CacheError:
    error = cls.__new__(cls, message)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class CacheKeyError(CacheError, KeyError):
    """Raised when a key is not a usable ``str``, or is missing where it must exist (``cache[key]``)."""


class CacheExpiredError(CacheKeyError):
    """Raised by ``cache[key]`` when the entry is still held as a stale fallback, but past its ttl."""


class CacheFullError(CacheError):
    """Raised when capacity, disk or server memory is used up and nothing may be evicted."""


class CacheConnectionError(CacheError, ConnectionError):
    """Raised when a backend is unreachable, refuses or times out.

    ``permanent`` is True where trying again can't help: bad credentials, bad certificate.
    """

    def __init__(self, message: str = "", *, permanent: bool = False, **context: Any) -> None:
        super().__init__(message, **context)
        self.permanent = permanent


class CacheSerializationError(CacheError, ValueError):
    """Raised when a value can't be stored and come back the same, or stored bytes can't be trusted."""


class CacheInvalidationError(CacheError):
    """Raised when a delete, an invalidation of tags or a clear did not reach the store."""


class CacheConfigError(CacheError, ValueError):
    """Raised when a setting is unknown, malformed or contradicts another."""


class CachePluginError(CacheError):
    """Raised when a plugin is missing, blocked, broken, ambiguous or made for another API version."""
