"""Prometheus metrics of codomyrmex-cache.

Switched on as the exporter ``prometheus``, it shows the statistics of all open caches; enabled as the plugin
``prometheus`` as well, how long calls of the backends and loads take.
"""

from __future__ import annotations

from ._collector import CacheCollector
from ._exporter import PrometheusOptions, create_observer, export_stats

__all__ = ["CacheCollector", "PrometheusOptions", "create_observer", "export_stats", "exporter_options"]

exporter_options = PrometheusOptions
