"""``stats``, ``explain`` and ``compact``: a cache as a whole, and one of its entries from outside."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from codomyrmex.cache import AsyncCache, CacheError, CacheManager

from ._access import DIES, Target, lasts, opened, view
from ._errors import CommandError, one_line
from ._output import NONE, print_json, print_table, size, waiting
from ._values import shown_text

_NUMBERS = ("entries", "max entries", "size", "max size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How full a cache is.

    Attributes:
        cache: Its name.
        backend: Name of its backend; None if it could not be made.
        entries: Entries in its store; None where it would have to be scanned.
        bytes: Their size; None where it isn't known.
        max_entries: Limit on entries, None for none.
        max_bytes: Limit on bytes, None for none.
        note: What makes these figures meaningless, if anything.
        problem: Why there are none; None if there are.
    """

    cache: str
    backend: str | None = None
    entries: int | None = None
    bytes: int | None = None
    max_entries: int | None = None
    max_bytes: int | None = None
    note: str | None = None
    problem: str | None = None


def stats(names: Sequence[str] | None, config: Path | None, backend: str | None, as_json: bool) -> int:
    """Print how full caches are.

    Args:
        names: Their names; None for all of the config.
        config: The file that describes them; None for the one that the environment names, if any.
        backend: Name or URL of their backend, in place of the config's; None for the config's.
        as_json: Whether to print JSON.

    Raises:
        CommandError: There is no cache, or one can't be looked at.
    """
    with CacheManager(config, exporting=False) as manager, asyncio.Runner() as runner, waiting("looking"):
        names = manager.list_caches() if names is None else names
        if not names:
            raise CommandError("no config names a cache: name one, or a file with --config")
        sizes = [_size(manager, name, runner, backend) for name in names]
    if as_json:
        print_json([asdict(one) for one in sizes])
    else:
        print_table(("cache", "backend", *_NUMBERS, "detail"), map(_cells, sizes), _NUMBERS)
    if problems := [one_line(f"{one.cache}: {one.problem}") for one in sizes if one.problem]:
        raise CommandError("; ".join(problems))
    return 0


def explain(target: Target, key: str, as_json: bool) -> int:
    """Print where a value lives, or why it is not served; returns 1 if the backend can't be reached.

    Args:
        target: The cache.
        key: The value's key.
        as_json: Whether to print JSON.
    """
    with opened(target, content=False) as (cache, settle):
        explanation = settle(cache.explain(key))
    fields = asdict(explanation)
    if as_json:
        print_json({name: "inf" if value == math.inf else value for name, value in fields.items()})
    else:
        print_table(("field", "value"), [(name, _cell(value)) for name, value in fields.items()])
    return 1 if explanation.state == "unreachable" else 0


def compact(target: Target, as_json: bool) -> int:
    """Give back the disk space that a cache no longer needs.

    Args:
        target: The cache.
        as_json: Whether to print JSON.
    """
    with opened(target) as (cache, settle), waiting("compacting"):
        given: int = settle(cache.compact())
    if as_json:
        print_json({"bytes": given})
    else:
        print(f"gave back {size(given)}" if given else "there was nothing to give back")
    return 0


def _size(manager: CacheManager, name: str, runner: asyncio.Runner, backend: str | None) -> Size:
    try:
        cache, settle = view(manager, name, runner, backend)
        try:
            explanation = settle(cache.explain("any key"))
            if explanation.state == "unreachable":
                return Size(cache=name, backend=explanation.backend, problem=explanation.reason)
            found = cache.stats
        finally:
            if isinstance(cache, AsyncCache):
                runner.run(cache.close())
    except CacheError as error:
        return Size(cache=name, backend=error.backend, problem=str(error))
    return Size(
        cache=name,
        backend=explanation.backend,
        entries=found.entries,
        bytes=found.bytes,
        max_entries=found.max_entries,
        max_bytes=found.max_bytes,
        note=None if lasts(cache) else f"a new and empty one: {explanation.backend} is a backend {DIES}",
    )


def _cells(one: Size) -> Sequence[str]:
    return [
        one.cache,
        one.backend or NONE,
        _count(one.entries),
        _count(one.max_entries),
        size(one.bytes),
        size(one.max_bytes),
        one_line(one.problem or one.note or ""),
    ]


def _count(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"


def _cell(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "for ever" if value == math.inf else f"{value:.1f} s"
    kind = type(cast(object, value))
    if kind is tuple:
        return ", ".join(map(shown_text, value)) or NONE
    return shown_text(str(value))
