"""Which backends the demo tries, and a cache of its own on each."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from codomyrmex.cache import Cache, CacheConfigError, CacheManager, CachePluginError, PluginInfo

from ._errors import CommandError

_USABLE = frozenset({"installed", "loaded", "registered"})


def choose(offered: Iterable[PluginInfo], named: Sequence[str]) -> list[str]:
    """Names of the backends to try.

    Args:
        offered: What is installed.
        named: What the user asked for, names or URLs; if empty, every usable backend but ``null``, and of
            aliases the longest that is no other one with the "s" of a URL over TLS.

    Raises:
        CommandError: There is none, or the user has blocked one that is asked for.
    """
    backends = [info for info in offered if info.kind == "backends"]
    for info in backends:
        if info.state == "blocked" and any(name.partition("://")[0] == info.name for name in named):
            raise CommandError(f"backend {info.name!r} is not loaded: {info.detail}")
    if named:
        return list(dict.fromkeys(named))
    names: dict[tuple[str | None, str], str] = {}
    for info in backends:
        if info.state in _USABLE and info.name != "null":
            same = info.distribution, info.target if info.distribution else info.name
            before = names.get(same, info.name)
            if info.name == f"{before}s" or before == f"{info.name}s":
                names[same] = min(before, info.name, key=len)
            else:
                names[same] = max(before, info.name, key=len)
    if not names:
        raise CommandError('no backend is installed. To install one: pip install "codomyrmex-cache[memory]"')
    return sorted(names.values())


def open_cache(manager: CacheManager, backend: str, directory: Path, url: str | None = None) -> Cache[Any]:
    """A new, empty cache on a backend that answers.

    It is kept below ``directory`` if the backend takes a path, on the server at ``url`` if that is given, and written
    as JSON if it takes a serializer and the default one is not installed or not allowed.

    Raises:
        CacheError: The backend can't be used.
    """
    name = f"demo-{secrets.token_hex(8)}"
    path = {"path": str(directory / name)} if url is None else {"url": url}
    json = {"serializer": "json"}
    attempts: list[dict[str, str]] = [path, {}]
    if not any(_is_msgpack(info) and info.state in _USABLE for info in manager.plugins()):
        attempts = [path | json, path, json, {}]
    for number, options in enumerate(attempts, 1):
        try:
            cache = manager.get_cache(name, backend=backend, **options)
        except (CacheConfigError, CachePluginError):
            if number == len(attempts):
                raise
        else:
            cache.ping()
            return cache
    raise AssertionError("the last attempt returns or raises")


def _is_msgpack(info: PluginInfo) -> bool:
    return (info.kind, info.name) == ("serializers", "msgpack")
