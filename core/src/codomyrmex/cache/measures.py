"""What statistics are called by tools that watch: one table for all exporters, so that they agree.

for measure in MEASURES:
    for place, total in measure.totals(snapshots).items():
        send(measure.name, place.cache, place.backend, place.value, total)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ._stats import CacheStats

__all__ = ["MEASURES", "Measure", "Place"]


class Place(NamedTuple):
    """What a number is about.

    Attributes:
        cache: Name of the cache.
        backend: Name of its backend.
        value: Of the measure's own label; empty if it has none.
    """

    cache: str
    backend: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One thing that is counted or measured.

    Attributes:
        name: In lower case, with underscores.
        text: What it says.
        unit: ``seconds``, ``bytes``, or empty for plain numbers.
        grows: Whether it only grows while the process lives; if not it goes up and down.
        label: Name of the measure's own label; empty if it has none.
        fields: The fields of `CacheStats` that hold it, by the label's values.
    """

    name: str
    text: str
    unit: str = ""
    grows: bool = True
    label: str = ""
    fields: Mapping[str, str]

    def totals(self, *sources: Mapping[str, CacheStats]) -> dict[Place, float]:
        """The numbers of all caches. Those of one name are added up; what a cache doesn't know is left out."""
        totals: dict[Place, float] = {}
        for source in sources:
            for cache, stats in source.items():
                for value, field in self.fields.items():
                    number: float | None = getattr(stats, field)
                    if number is not None:
                        place = Place(cache, stats.backend, value)
                        totals[place] = totals.get(place, 0) + number
        return totals


_READS = {"hit": "hits", "miss": "misses", "stale": "stale_hits"}
_REMOVALS = {"deleted": "deletes", "capacity": "evictions", "expired": "expirations"}
MEASURES = (
    Measure(name="reads", text="Reads by what came of them", label="result", fields=_READS),
    Measure(name="writes", text="Values stored", fields={"": "sets"}),
    Measure(name="removals", text="Entries removed, by cause", label="cause", fields=_REMOVALS),
    Measure(name="errors", text="Failures of the backend, its eviction policy and listeners", fields={"": "errors"}),
    Measure(name="unreadable_records", text="Stored records that were not trusted", fields={"": "unreadable"}),
    Measure(name="loads", text="Loads", fields={"": "loads"}),
    Measure(name="load_failures", text="Loads that failed", fields={"": "load_failures"}),
    Measure(name="load_time", text="Time spent in loads", unit="seconds", fields={"": "load_seconds"}),
    Measure(name="joined_loads", text="Callers who shared somebody else's load", fields={"": "waits_joined"}),
    Measure(name="entries", text="Entries in the store", grows=False, fields={"": "entries"}),
    Measure(name="limit_entries", text="Limit on entries", grows=False, fields={"": "max_entries"}),
    Measure(name="size", text="Size of the entries", unit="bytes", grows=False, fields={"": "bytes"}),
    Measure(name="limit", text="Limit on their size", unit="bytes", grows=False, fields={"": "max_bytes"}),
)
"""Everything that `CacheStats` counts."""
