"""``plugins``: what is installed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from codomyrmex.cache import CacheManager, PluginInfo

from ._output import NONE, print_json, print_table

_HEADINGS = ("kind", "name", "distribution", "version", "target", "editable", "state", "detail")
_EDITABLE = {True: "yes", False: "no", None: NONE}


def show(config: Path | None, as_json: bool) -> int:
    """Print every plugin that is installed, without importing any.

    Args:
        config: File whose rules decide what is blocked; None for the one that the environment names, if any.
        as_json: Whether to print JSON.

    Raises:
        CacheConfigError: The config is malformed.
    """
    with CacheManager(config) as manager:
        infos = manager.plugins()
    if as_json:
        print_json([asdict(info) for info in infos])
    else:
        print_table(_HEADINGS, map(row, infos))
    return 0


def row(info: PluginInfo) -> list[str]:
    """The cells of one plugin, in the order of the headings."""
    return [
        info.kind,
        info.name,
        info.distribution or NONE,
        info.version or NONE,
        info.target,
        _EDITABLE[info.editable],
        info.state,
        info.detail,
    ]
