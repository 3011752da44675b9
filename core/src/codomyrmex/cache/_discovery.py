"""Which plugins are installed, from the metadata of distributions; nothing is imported here.

One table per process, built when somebody first asks. It keeps a list per name, so that two distributions that claim
one name are both seen.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["backends", "serializers", "eviction", "exporters", "plugins"]
KINDS: Final[tuple[Kind, ...]] = ("backends", "serializers", "eviction", "exporters", "plugins")
CORE: Final = "codomyrmex-cache"

_GROUP = "codomyrmex.cache."
_lock = threading.Lock()
_table: dict[tuple[Kind, str], tuple[Found, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One entry point.

    Attributes:
        kind: Group without its common beginning.
        name: Name of the plugin.
        target: ``package.module`` or ``package.module:attribute``.
        distribution: Name of the distribution that declares it.
        version: Its version.
    """

    kind: Kind
    name: str
    target: str
    distribution: str
    version: str

    @property
    def source(self) -> str:
        """Distribution, version and target, for messages."""
        return f"{self.distribution} {self.version}, {self.target}"


def installed() -> dict[tuple[Kind, str], tuple[Found, ...]]:
    """Every plugin that is installed, by kind and name."""
    global _table
    with _lock:
        if _table is None:
            _table = _scan()
        return _table


def refresh() -> None:
    """Forget the table: for programs that install plugins into themselves."""
    global _table
    with _lock:
        _table = None


def is_editable(distribution: str) -> bool | None:
    """Whether ``distribution`` is installed in editable form; None if it is not known."""
    metadata = _metadata()
    try:
        text = metadata.distribution(distribution).read_text("direct_url.json")
        origin: dict[str, Any] = json.loads(text) if text else {}
    except (metadata.PackageNotFoundError, ValueError):
        return None
    return bool(origin.get("dir_info", {}).get("editable", False))


def _metadata() -> Any:
    import importlib_metadata  # only now: importing it costs more than the scan

    return importlib_metadata


def _scan() -> dict[tuple[Kind, str], tuple[Found, ...]]:
    metadata = _metadata()
    table: dict[tuple[Kind, str], tuple[Found, ...]] = {}
    groups: dict[str, Kind] = {_GROUP + kind: kind for kind in KINDS}
    named: dict[int, tuple[str, str]] = {}  # reading a distribution's metadata takes a millisecond
    for entry in metadata.entry_points():
        kind = groups.get(entry.group)
        if kind is None or entry.dist is None:
            continue
        if id(entry.dist) not in named:
            about = entry.dist.metadata
            named[id(entry.dist)] = about["Name"], about["Version"]
        found = Found(kind, entry.name, entry.value.strip(), *named[id(entry.dist)])
        known = table.get((kind, entry.name), ())
        if found not in known:
            table[kind, entry.name] = (*known, found)
    return table
