"""The cache that a command works on: opened as its config says, synchronous or not, and closed again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from codomyrmex.cache import AsyncCache, Cache, CacheError, CacheManager, CachePluginError

from ._errors import CommandError, known

AnyCache: TypeAlias = Cache[Any] | AsyncCache[Any]
Settle: TypeAlias = Callable[[Any], Any]
"""Gives the result of a call of `Cache`, or of `AsyncCache`, so that both are used by the same steps."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the command line says of the cache.

    Attributes:
        cache: Its name.
        config: The file that describes it; None for the one that the environment names, if any.
        backend: Name or URL of its backend, in place of the config's; None for the config's.
    """

    cache: str
    config: Path | None = None
    backend: str | None = None


def view(
    manager: CacheManager, name: str, runner: asyncio.Runner, backend: str | None = None
) -> tuple[AnyCache, Settle]:
    """A view of the cache called ``name``, and what settles its calls.

    Raises:
        CacheError: It can't be made.
    """
    try:
        return manager.get_cache(name, backend=backend), _itself
    except CachePluginError as error:
        try:
            # The backend may be asynchronous only.
            return manager.get_async_cache(name, backend=backend), runner.run
        except CacheError:
            raise error from error.__cause__


def lasts(cache: AnyCache) -> bool:
    """Whether anything is left of the cache when the process that filled it has ended."""
    return cache.capabilities.shared or cache.capabilities.persistent


@contextmanager
def opened(
    target: Target, *, content: bool = True, changes: bool = False
) -> Generator[tuple[AnyCache, Settle], None, None]:
    """The cache of ``target``, for a ``with`` statement.

    Args:
        target: Which one.
        content: Whether the command is about what is in it. Then one that dies with its process is an error, and
            otherwise a note on stderr.
        changes: Whether the command changes what is in it. A note on stderr then says so if the store is made for one
            process at a time.

    Raises:
        CacheError: It can't be made.
        CommandError: It holds nothing that a command could see.
    """
    with CacheManager(target.config, exporting=False) as manager, asyncio.Runner() as runner:
        described, names = manager.has_cache(target.cache), manager.list_caches()
        cache, settle = view(manager, target.cache, runner, target.backend)
        try:
            if not lasts(cache):
                backend = settle(cache.explain("any key")).backend
                problem = f"cache {target.cache!r} is on {backend}, {DIES}: this command sees a new and empty one"
                if not described and target.backend is None:
                    problem += f". {_undescribed(target.cache, names)}"
                if content:
                    raise CommandError(problem)
                print(f"note: {problem}", file=sys.stderr)
            elif changes and not cache.capabilities.shared:
                backend = settle(cache.explain("any key")).backend
                print(f"note: {backend} {LONELY}", file=sys.stderr)
            yield cache, settle
        finally:
            if isinstance(cache, AsyncCache):
                runner.run(cache.close())  # while its loop is there; the manager closes the others


DIES = "whose content dies with the process that wrote it"
LONELY = "is for one process at a time: a program that has this cache open does not see the change, and may undo it"


def _undescribed(cache: str, names: list[str]) -> str:
    """What to do about a cache that no config describes."""
    if not names:
        return "No config describes a cache: name one with --config, or in CODOMYRMEX_CACHE_CONFIG"
    return f"The config has no table for it; {known(names, cache)}"


def _itself(result: Any) -> Any:
    return result
