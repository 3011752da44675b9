"""What a scrape says: each field of the statistics, added up over managers, read anew each time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from codomyrmex.cache import CacheConfigError, CacheManager
from codomyrmex_cache_prometheus import CacheCollector, _exporter

LABELS = {"cache": "app", "backend": "null"}
CONFIG: dict[str, Any] = {
    "defaults": {"backend": "null"},
    "exporters": {"prometheus": {"interval": "none"}},
    "plugins": {"enable": ["prometheus"]},
}


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own."""
    return CollectorRegistry()


@pytest.fixture
def manager() -> Iterator[CacheManager]:
    """A manager whose caches hold nothing, and which exports on demand."""
    with CacheManager(CONFIG, environ={}) as manager:
        yield manager


def test_values(registry: CollectorRegistry, manager: CacheManager) -> None:
    """A scrape shows what is so now."""
    cache = manager.get_cache("app")
    registry.register(CacheCollector(manager.snapshots))
    for _ in range(3):
        cache.get("key")
    cache.set("key", 1)
    value = registry.get_sample_value
    assert value("codomyrmex_cache_reads_total", {**LABELS, "result": "miss"}) == 3
    assert value("codomyrmex_cache_reads_total", {**LABELS, "result": "hit"}) == 0
    assert value("codomyrmex_cache_writes_total", LABELS) == 1
    cache.get("key")
    assert value("codomyrmex_cache_reads_total", {**LABELS, "result": "miss"}) == 4


def test_two_managers(registry: CollectorRegistry, manager: CacheManager) -> None:
    """Caches of one name are added up; those of a manager that is closed are gone."""
    with CacheManager(CONFIG, environ={}) as other:
        collector = CacheCollector(manager.snapshots, other.snapshots)
        registry.register(collector)
        manager.get_cache("app").get("key")
        other.get_cache("app").get("key")
        assert registry.get_sample_value("codomyrmex_cache_reads_total", {**LABELS, "result": "miss"}) == 2
    assert registry.get_sample_value("codomyrmex_cache_reads_total", {**LABELS, "result": "miss"}) == 1
    collector.add(manager.snapshots)
    assert len(collector._sources) == 2


def test_the_exporter(manager: CacheManager) -> None:
    """It registers once, in the default registry."""
    manager.get_cache("app").get("key")
    manager.export_stats()
    manager.export_stats()
    assert manager.exporters()[0].failures == 0
    assert REGISTRY.get_sample_value("codomyrmex_cache_reads_total", {**LABELS, "result": "miss"}) == 1
    assert _exporter._collector is not None


def test_histograms(manager: CacheManager) -> None:
    """Calls of the backend and loads are timed, by what came of them."""
    cache = manager.get_cache("timed")
    cache.get("key")
    cache.get_or_set("key", lambda: 1)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_set("key", lambda: 1 // 0)
    labels = {"cache": "timed", "backend": "null"}
    value = REGISTRY.get_sample_value
    calls = value("codomyrmex_cache_operation_seconds_count", {**labels, "operation": "get", "result": "not found"})
    assert calls is not None
    assert calls >= 1
    assert value("codomyrmex_cache_load_seconds_count", {**labels, "result": "ok"}) == 1
    assert value("codomyrmex_cache_load_seconds_count", {**labels, "result": "error"}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"prot": 1},
            "the config, exporter 'prometheus': unknown option 'prot'; "
            "allowed: address, interval, port. Did you mean 'port'?",
        ),
        ({"port": "many"}, "the config, exporter 'prometheus', option 'port': got 'many'"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    """They keep the first cache from being opened."""
    config = {**CONFIG, "exporters": {"prometheus": {"interval": "none", **options}}}
    with CacheManager(config, environ={}) as manager, pytest.raises(CacheConfigError) as caught:
        manager.get_cache("app")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("name", "begins"), [("dashboard", "{"), ("rules", "# Prometheus rules")])
def test_files(name: str, begins: str) -> None:
    """The files can be had from the command line."""
    command = [sys.executable, "-m", "codomyrmex_cache_prometheus", name]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith(begins)
    done = subprocess.run([*command, "both"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")
