"""``get``, ``set``, ``delete``, ``invalidate``, ``keys`` and ``clear``: what is in a cache."""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Sequence
from typing import Any

from ._access import Target, opened
from ._errors import CommandError
from ._output import print_json, progress, waiting
from ._values import is_json, raw, shown, shown_text

_ABSENT = object()
HIDDEN = "on_error = 'degrade' hides why: ask the doctor, or set it to 'raise'"


def get(target: Target, key: str, *, as_raw: bool, as_json: bool) -> int:
    """Print the value of ``key``.

    Args:
        target: The cache.
        key: Its key.
        as_raw: Whether to write a str or bytes as they are.
        as_json: Whether to print JSON.

    Raises:
        CommandError: It is absent; or ``as_raw``, and it is neither.
    """
    with opened(target) as (cache, settle):
        value = settle(cache.get(key, _ABSENT))
        if value is _ABSENT:
            raise CommandError(str(settle(cache.explain(key))))
    if as_raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(raw(value))
        sys.stdout.buffer.flush()
    elif as_json:
        print_json({"key": key, "value": value} if is_json(value) else {"key": key, "repr": repr(value)})
    else:
        print(shown(value))
    return 0


def set_(target: Target, key: str, value: Any, ttl: str | None, tags: Sequence[str], as_json: bool) -> int:
    """Store ``value``.

    Args:
        target: The cache.
        key: Its key.
        value: What to store.
        ttl: How long it is served, as the user wrote it; None for the cache's default.
        tags: Its tags.
        as_json: Whether to print JSON.

    Raises:
        CommandError: It is not known to be stored.
    """
    with opened(target, changes=True) as (cache, settle):
        if not settle(cache.set(key, value, ttl=_lifetime(ttl), tags=tags)):
            raise CommandError(f"the write failed; {HIDDEN}")
    if as_json:
        print_json({"key": key, "stored": True})
    else:
        print(f"stored {key!r} in cache {target.cache!r}")
    return 0


def delete(target: Target, keys: Sequence[str], pattern: str | None, as_json: bool) -> int:
    """Delete some entries.

    Args:
        target: The cache.
        keys: Their keys.
        pattern: A glob that their keys match, in place of ``keys``.
        as_json: Whether to print JSON.

    Raises:
        CommandError: One of ``keys`` is absent; the others are deleted.
    """
    absent: list[str] = []
    with opened(target, changes=True) as (cache, settle):
        if pattern is not None:
            with waiting("deleting"):
                deleted: int = settle(cache.delete_pattern(pattern))
        else:
            several = list(dict.fromkeys(keys))
            with progress() as bars:
                # One by one, to be able to say which were not there.
                absent = [key for key in bars.track(several, description="deleting") if not settle(cache.delete(key))]
            deleted = len(several) - len(absent)
    if as_json:
        print_json({"deleted": deleted, "absent": absent})
    else:
        print(f"{deleted:,} deleted")
    if absent:
        raise CommandError(f"not in cache {target.cache!r}: {', '.join(map(repr, absent))}")
    return 0


def invalidate(target: Target, tags: Sequence[str], as_json: bool) -> int:
    """Make the entries of some tags absent; how many there were nobody counts.

    Args:
        target: The cache.
        tags: Their tags.
        as_json: Whether to print JSON.
    """
    with opened(target, changes=True) as (cache, settle):
        settle(cache.invalidate_tags(*tags))
    if as_json:
        print_json({"invalidated": list(tags)})
    else:
        print(f"invalidated in cache {target.cache!r}: {', '.join(map(repr, tags))}")
    return 0


def keys(target: Target, prefix: str, pattern: str | None, limit: int | None, as_json: bool) -> int:
    """Print keys, sorted.

    Args:
        target: The cache.
        prefix: What they begin with.
        pattern: A glob that they match, as in ``delete``.
        limit: Most keys to print; None for all.
        as_json: Whether to print JSON.
    """
    with opened(target) as (cache, settle), waiting("listing"):
        found: list[str] = settle(cache.keys(prefix))
    if pattern is not None:
        matches = re.compile(fnmatch.translate(pattern)).match
        found = [key for key in found if matches(key)]
    first = sorted(found)[:limit]
    if as_json:
        print_json({"keys": first, "found": len(found)})
        return 0
    for key in first:
        print(shown_text(key))
    if len(first) < len(found):
        print(f"note: the first {len(first):,} of {len(found):,} keys", file=sys.stderr)
    return 0


def clear(target: Target, *, sure: bool, as_json: bool) -> int:
    """Remove every entry of a cache.

    Args:
        target: The cache.
        sure: Whether to do so without asking.
        as_json: Whether to print JSON.

    Raises:
        CommandError: Nobody is there to be asked, or says no.
    """
    with opened(target, changes=True) as (cache, settle):
        entries = cache.stats.entries
        count = "all" if entries is None else f"all {entries:,}"
        if not sure:
            if not sys.stdin.isatty():
                raise CommandError("nobody can be asked here whether to clear the cache: --yes clears it")
            print(f"Remove {count} entries of cache {target.cache!r}? [y/N] ", end="", file=sys.stderr, flush=True)
            if sys.stdin.readline().strip().lower() not in ("y", "yes"):
                raise CommandError("nothing was removed")
        with waiting("clearing"):
            settle(cache.clear())
    if as_json:
        print_json({"cleared": True, "entries": entries})
    else:
        print(f"removed {count} entries of cache {target.cache!r}")
    return 0


def _lifetime(ttl: str | None) -> float | str | None:
    """The ttl as the cache takes it: on a command line a number of seconds is a text like any other."""
    try:
        return None if ttl is None else float(ttl)
    except ValueError:
        return ttl
