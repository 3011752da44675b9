"""`CacheCollector`: what a scrape finds of caches' statistics."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from codomyrmex.cache import CacheStats

PREFIX = "codomyrmex_cache_"

# Per metric: its name, what it says, the name of its own label, and that label's values by the field that counts them.
_COUNTERS = (
    ("reads", "Reads by what came of them.", "result", {"hit": "hits", "miss": "misses", "stale": "stale_hits"}),
    ("writes", "Values stored.", None, {"": "sets"}),
    (
        "removals",
        "Entries removed, by cause.",
        "cause",
        {"deleted": "deletes", "capacity": "evictions", "expired": "expirations"},
    ),
    ("errors", "Calls that the backend failed.", None, {"": "errors"}),
    ("unreadable_records", "Stored records that were not trusted.", None, {"": "unreadable"}),
    ("joined_loads", "Callers who shared somebody else's load.", None, {"": "waits_joined"}),
    ("load_failures", "Loads that failed.", None, {"": "load_failures"}),
    ("loads", "Loads.", None, {"": "loads"}),
    ("load_time_seconds", "Time spent in loads.", None, {"": "load_seconds"}),
)
_GAUGES = (
    ("entries", "Entries in the store.", "entries"),
    ("size_bytes", "Size of the entries.", "bytes"),
    ("limit_entries", "Limit on entries.", "max_entries"),
    ("limit_bytes", "Limit on their size.", "max_bytes"),
)


class CacheCollector(Collector):
    """Metrics of the caches of one manager or several, read anew at each scrape.

        REGISTRY.register(CacheCollector(manager.snapshots))

    Every metric has the labels ``cache`` and ``backend``. Caches of the same name are added up.
    """

    def __init__(self, *sources: Mapping[str, CacheStats]) -> None:
        """Collect ``sources``, such as the mappings that exporters receive; more can be added later."""
        self._lock = threading.Lock()
        self._sources = list(sources)

    def add(self, source: Mapping[str, CacheStats]) -> None:
        """Collect ``source`` as well. One that is there already stays once; those without caches are dropped."""
        with self._lock:
            others = [one for one in self._sources if one is not source and len(one)]
            self._sources = [*others, source]

    def describe(self) -> list[Metric]:
        """Nothing: asking the caches when the collector is registered would tell no more."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics of this moment."""
        with self._lock:
            sources = list(self._sources)
        rows = [(name, stats) for source in sources for name, stats in source.items()]
        for metric, text, label, fields in _COUNTERS:
            labels = ["cache", "backend", *([label] if label else [])]
            counter = CounterMetricFamily(PREFIX + metric, text, labels=labels)
            for value, field in fields.items():
                for (name, backend), total in _sums(rows, field).items():
                    counter.add_metric([name, backend, *([value] if label else [])], total)
            yield counter
        for metric, text, field in _GAUGES:
            gauge = GaugeMetricFamily(PREFIX + metric, text, labels=["cache", "backend"])
            for (name, backend), total in _sums(rows, field).items():
                gauge.add_metric([name, backend], total)
            yield gauge


def _sums(rows: list[tuple[str, CacheStats]], field: str) -> dict[tuple[str, str], float]:
    """Sums of a field by cache and backend, without those that don't know it."""
    sums: dict[tuple[str, str], float] = {}
    for name, stats in rows:
        value: float | None = getattr(stats, field)
        if value is not None:
            sums[name, stats.backend] = sums.get((name, stats.backend), 0) + value
    return sums
