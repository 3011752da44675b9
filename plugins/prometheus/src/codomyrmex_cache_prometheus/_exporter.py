"""The hooks: statistics for the default registry, and histograms of calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import REGISTRY, Histogram, start_http_server

from codomyrmex.cache import CacheStats, hookimpl
from codomyrmex.cache.observing import Observer, ObserverRequest, Outcome
from codomyrmex.cache.options import option

from ._collector import PREFIX, CacheCollector

_CALLS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
_LOADS = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_lock = threading.Lock()
_collector: CacheCollector | None = None
_histograms: tuple[Histogram, Histogram] | None = None
_serving: set[tuple[str, int]] = set()


@dataclass(frozen=True)
class PrometheusOptions:
    """Options of the exporter ``prometheus``."""

    port: int | None = option(None, kind="count", optional=True, help="Where to serve /metrics; not at all without.")
    address: str = option("127.0.0.1", kind="text", help="Address to serve it at.")


@hookimpl
def export_stats(snapshots: Mapping[str, CacheStats], options: PrometheusOptions) -> None:
    """Let scrapes of the default registry find ``snapshots`` from now on, and serve it if a port is given."""
    global _collector
    with _lock:
        if _collector is None:
            _collector = CacheCollector()
            REGISTRY.register(_collector)
        _collector.add(snapshots)
        if options.port is not None and (options.address, options.port) not in _serving:
            start_http_server(options.port, options.address)
            _serving.add((options.address, options.port))


@hookimpl
def create_observer(request: ObserverRequest) -> Observer:
    """Make an observer that fills the histograms of the default registry."""
    global _histograms
    request.parse(_NoOptions)
    with _lock:
        if _histograms is None:
            _histograms = (
                Histogram(
                    f"{PREFIX}operation_seconds",
                    "Time of calls of a backend.",
                    ["cache", "backend", "operation", "result"],
                    buckets=_CALLS,
                ),
                Histogram(f"{PREFIX}load_seconds", "Time of loads.", ["cache", "backend", "result"], buckets=_LOADS),
            )
    return _Timing(request.cache, request.backend, *_histograms)


@dataclass(frozen=True)
class _NoOptions:
    """The plugin ``prometheus`` has no options."""


class _Timing(Observer):
    def __init__(self, cache: str, backend: str, calls: Histogram, loads: Histogram) -> None:
        self._labels = cache, backend
        self._calls = calls
        self._loads = loads
        self._children: dict[tuple[str, str], Any] = {}

    @contextmanager
    def watch(self, operation: str, key: str | None, outcome: Outcome) -> Generator[None]:
        begin = time.perf_counter()
        result = "error"
        try:
            yield
            result = "ok" if outcome.found is None else "found" if outcome.found else "not found"
        finally:
            self._child(operation, result).observe(time.perf_counter() - begin)

    def _child(self, operation: str, result: str) -> Any:
        child = self._children.get((operation, result))
        if child is None:
            where = (*self._labels, result) if operation == "load" else (*self._labels, operation, result)
            child = (self._loads if operation == "load" else self._calls).labels(*where)
            self._children[operation, result] = child
        return child
