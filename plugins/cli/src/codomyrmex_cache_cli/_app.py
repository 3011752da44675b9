"""The commands and their options; those on one cache stand in `_cache_app`.

Each brings the modules that do its work when it runs.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

PROGRAM = "codomyrmex-cache"

app = typer.Typer(help="Look into, change, check and try the caches of codomyrmex-cache.")

PluginKind = Literal["backend", "eviction", "serializer", "exporter"]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs in place of a table.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        import platform
        from importlib.metadata import version

        own, core = version("codomyrmex-cache-cli"), version("codomyrmex-cache")
        print(f"{PROGRAM} {own} (codomyrmex-cache {core}, Python {platform.python_version()})")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print versions and exit."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error; may stand after the command, too."),
    ] = False,
) -> int:
    if context.invoked_subcommand is None:
        with contextlib.redirect_stdout(sys.stderr):  # typer prints its help in place of returning it
            typer.echo(context.get_help())
        return 2
    return 0


@app.command()
def plugins(
    config: Annotated[
        Path | None, typer.Option(help="TOML file in place of the one that CODOMYRMEX_CACHE_CONFIG names.")
    ] = None,
    json: AsJson = False,
) -> int:
    """List what is installed, from which distribution, and whether it may be used. Imports none of it."""
    from . import _plugins

    return _plugins.show(config, json)


@app.command()
def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="TOML file in place of the one that CODOMYRMEX_CACHE_CONFIG names.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Check every cache of a config end to end, and say what to fix. Exits with 1 if there is a problem."""
    from . import _doctor

    return _doctor.show(config, json)


@app.command()
def top(
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    processes: Annotated[bool, typer.Option("--processes", help="A line for each process.")] = False,
    cache: Annotated[str | None, typer.Option(help="Only this cache.")] = None,
    directory: Annotated[
        Path | None, typer.Option(help="Where the exporter puts its files, if its config says so.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Watch the caches of running processes: hit rates, loads, errors, sizes. Their configs name the exporter `top`."""
    from . import _top

    return _top.show(interval, once=once, as_json=json, processes=processes, cache=cache, directory=directory)


@app.command()
def new_plugin(
    kind: Annotated[PluginKind, typer.Argument(help="What it is to be.")],
    name: Annotated[str, typer.Argument(help="Its name in config: lower-case letters, digits, underscores.")],
    directory: Annotated[Path | None, typer.Option(help="Where to write it; without it, a new directory here.")] = None,
) -> int:
    """Write a complete distribution with a plugin that works, and its tests, for you to change."""
    from . import _new_plugin

    return _new_plugin.show(kind, name, directory)


@app.command()
def demo(
    backend: Annotated[
        list[str] | None,
        typer.Option(help="Name or URL of a backend, once or more; without it, all installed ones."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Analyse only the first so many modules.")] = None,
    json: AsJson = False,
) -> int:
    """Cache the analysis of every module of Python's standard library, on each backend, cold and warm."""
    from . import _demo

    return _demo.show(backend or [], limit, json)
