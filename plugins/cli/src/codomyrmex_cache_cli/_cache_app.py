"""The commands on one cache, and their options, added to the app of `_app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._access import Target
from ._app import AsJson, app
from ._values import STDIN, Form

__all__ = ["app"]


def _caches(context: typer.Context, incomplete: str) -> list[str]:
    from . import _complete

    return _complete.caches(context, incomplete)


def _backends(context: typer.Context, incomplete: str) -> list[str]:
    from . import _complete

    return _complete.backends(context, incomplete)


CacheName = Annotated[str, typer.Argument(metavar="CACHE", help="Name of the cache.", autocompletion=_caches)]
Key = Annotated[str, typer.Argument(metavar="KEY", help="Key of the entry.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="TOML file in place of the one that CODOMYRMEX_CACHE_CONFIG names.")
]
Backend = Annotated[
    str | None,
    typer.Option("--backend", help="Name or URL of the backend, in place of the config's.", autocompletion=_backends),
]


@app.command()
def get(
    cache: CacheName,
    key: Key,
    config: Config = None,
    backend: Backend = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write a str or bytes as they are, without a line end.")] = False,
    json: AsJson = False,
) -> int:
    """Print a value: as JSON if it would come back from there the same, else as Python shows it."""
    if raw and json:
        raise typer.BadParameter("choose one of --raw and --json")
    from . import _content

    return _content.get(Target(cache, config, backend), key, as_raw=raw, as_json=json)


@app.command("set")
def set_(
    cache: CacheName,
    key: Key,
    value: Annotated[
        str | None, typer.Argument(metavar="[VALUE]", help="The value, as JSON; - reads it from stdin.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read the value from this file.")] = None,
    text: Annotated[bool, typer.Option("--text", help="The value is a str, not JSON.")] = False,
    as_bytes: Annotated[bool, typer.Option("--bytes", help="The value is bytes, not JSON.")] = False,
    ttl: Annotated[str | None, typer.Option(help="How long it is served: seconds, 90s, 5m, 1h30m, inf.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag that it carries; once or more.")] = None,
    config: Config = None,
    backend: Backend = None,
    json: AsJson = False,
) -> int:
    """Store a value."""
    if (value is None) == (file is None):
        raise typer.BadParameter(f"give one of VALUE ({STDIN} for stdin) and --file")
    if text and as_bytes:
        raise typer.BadParameter("choose one of --text and --bytes")
    from . import _content
    from ._values import read

    form: Form = "text" if text else "bytes" if as_bytes else "json"
    content = read(file if value is None and file is not None else value or "", form)
    return _content.set_(Target(cache, config, backend), key, content, ttl, tag or [], json)


@app.command()
def delete(
    cache: CacheName,
    keys: Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys of the entries.")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Delete the entries whose whole key matches: *, ?, \\[abc], \\[!abc].")
    ] = None,
    config: Config = None,
    backend: Backend = None,
    json: AsJson = False,
) -> int:
    """Delete entries, by their keys or by a pattern. Exits with 1 if a key is not there."""
    if bool(keys) == (pattern is not None):
        raise typer.BadParameter("give either keys or --pattern")
    from . import _content

    return _content.delete(Target(cache, config, backend), keys or [], pattern, json)


@app.command()
def invalidate(
    cache: CacheName,
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="Tags of the entries.")],
    config: Config = None,
    backend: Backend = None,
    json: AsJson = False,
) -> int:
    """Make every entry that carries one of the tags absent, in all namespaces."""
    from . import _content

    return _content.invalidate(Target(cache, config, backend), tags, json)


@app.command()
def keys(
    cache: CacheName,
    prefix: Annotated[str, typer.Option(help="Only those that begin with this.")] = "",
    pattern: Annotated[
        str | None, typer.Option(help="Only those that match as a whole: *, ?, \\[abc], \\[!abc].")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    config: Config = None,
    backend: Backend = None,
    json: AsJson = False,
) -> int:
    """List the keys of a cache, sorted, one on each line."""
    from . import _content

    return _content.keys(Target(cache, config, backend), prefix, pattern, limit, json)


@app.command()
def clear(
    cache: CacheName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    config: Config = None,
    backend: Backend = None,
    json: AsJson = False,
) -> int:
    """Remove every entry of a cache, and nobody else's."""
    from . import _content

    return _content.clear(Target(cache, config, backend), sure=yes, as_json=json)


@app.command()
def stats(
    cache: Annotated[
        str | None,
        typer.Argument(metavar="[CACHE]", help="Name of the cache; without it, all.", autocompletion=_caches),
    ] = None,
    config: Config = None,
    backend: Backend = None,
    json: AsJson = False,
) -> int:
    """Show how full a cache is, or all of a config are, and their limits."""
    if cache is None and backend is not None:
        raise typer.BadParameter("--backend needs a CACHE")
    from . import _whole

    return _whole.stats(None if cache is None else [cache], config, backend, json)


@app.command()
def explain(
    cache: CacheName,
    key: Key,
    config: Config = None,
    backend: Backend = None,
    json: AsJson = False,
) -> int:
    """Say where the value of a key lives, or why it is not served."""
    from . import _whole

    return _whole.explain(Target(cache, config, backend), key, json)


@app.command()
def compact(
    cache: CacheName,
    config: Config = None,
    backend: Backend = None,
    json: AsJson = False,
) -> int:
    """Give back the disk space that a cache no longer needs."""
    from . import _whole

    return _whole.compact(Target(cache, config, backend), json)
