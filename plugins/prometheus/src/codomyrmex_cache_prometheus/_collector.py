"""`CacheCollector`: what a scrape finds of caches' statistics."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from codomyrmex.cache import CacheStats
from codomyrmex.cache.measures import MEASURES

PREFIX = "codomyrmex_cache_"


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
        for measure in MEASURES:
            name = f"{PREFIX}{measure.name}{'_' if measure.unit else ''}{measure.unit}"
            labels = ["cache", "backend", *([measure.label] if measure.label else [])]
            metric = (CounterMetricFamily if measure.grows else GaugeMetricFamily)(name, measure.text, labels=labels)
            for place, total in measure.totals(*sources).items():
                metric.add_metric(place[: len(labels)], total)
            yield metric
