"""Which plugins are installed, from the metadata of distributions; nothing is imported here.

One table per process, built when somebody first asks. It keeps a list per name, so that two distributions that claim
one name are both seen.
"""

from __future__ import annotations

import importlib
import json
import re
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
    importlib.invalidate_caches()  # a directory that changed twice within one tick looks unchanged
    with _lock:
        _table = None


def is_editable(distribution: str) -> bool | None:
    """Whether ``distribution`` is installed in editable form; None if it is not known."""
    try:
        text = _metadata().distribution(distribution).read_text("direct_url.json")
        return bool(json.loads(text)["dir_info"]["editable"]) if text else False
    except KeyError:
        return False
    except Exception:  # whatever stands in the metadata of others, nobody is kept from working by it
        return None


def _metadata() -> Any:
    import importlib_metadata  # only now: importing it costs more than the scan

    return importlib_metadata


def _scan() -> dict[tuple[Kind, str], tuple[Found, ...]]:
    metadata = _metadata()
    table: dict[tuple[Kind, str], tuple[Found, ...]] = {}
    groups: dict[str, Kind] = {_GROUP + kind: kind for kind in KINDS}
    seen: set[str] = set()
    for one in metadata.distributions():
        try:
            # Reading a distribution's metadata takes a millisecond: only of those with plugins.
            if not any(point.group in groups for point in one.entry_points):
                continue
            name = one.metadata["Name"]
            if (plain := re.sub(r"[-_.]+", "-", name).lower()) in seen:
                continue
            seen.add(plain)
            first = metadata.distribution(name)  # another one, if it is installed twice
            version = first.metadata["Version"]
            points = [point for point in first.entry_points if point.group in groups]
        except Exception as error:  # malformed: it must not take the others away
            _skipped(one, error)
            continue
        for point in points:
            kind = groups[point.group]
            found = Found(kind, point.name, point.value.partition("[")[0].strip(), first.metadata["Name"], version)
            known = table.get((kind, point.name), ())
            table[kind, point.name] = (*known, found)
    return table


def _skipped(distribution: Any, error: Exception) -> None:
    import logging

    where = getattr(distribution, "_path", "a distribution")
    logging.getLogger("codomyrmex.cache").warning("%s is skipped, its metadata can't be read: %r", where, error)
