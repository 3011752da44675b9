"""OpenTelemetry metrics and spans of codomyrmex-cache, through the API package: which SDK receives them is yours.

Switched on as the exporter ``opentelemetry``, it offers the statistics of all open caches as metrics; enabled as the
plugin ``opentelemetry`` as well, it makes a span for each call of a backend and for each load.
"""

from __future__ import annotations

from ._metrics import NoOptions, export_stats
from ._spans import OpenTelemetryOptions, create_observer

__all__ = ["OpenTelemetryOptions", "create_observer", "export_stats", "exporter_options"]

exporter_options = NoOptions
