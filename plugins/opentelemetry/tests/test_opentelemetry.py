"""A real SDK with exporters in memory receives metrics and spans; no key is in any of them unless it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from codomyrmex.cache import CacheConfigError, CacheManager

SECRET = "secret key"
_spans = InMemorySpanExporter()
_reader = InMemoryMetricReader()


@pytest.fixture(scope="module", autouse=True)
def sdk() -> None:
    """The SDK of this process; the API takes one only."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_spans))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([_reader]))


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What has been traced by this test."""
    _spans.clear()
    yield _spans
    _spans.clear()


def manager(**options: Any) -> CacheManager:
    """A manager with everything switched on."""
    config = {
        "exporters": {"opentelemetry": {"interval": "none"}},
        "plugins": {"enable": [{"name": "opentelemetry", **options}]},
    }
    return CacheManager(config, environ={})


def points() -> dict[tuple[str, str, str], float]:
    """All numbers, by instrument, cache and its own attribute."""
    data = _reader.get_metrics_data()
    assert data is not None
    found: dict[tuple[str, str, str], float] = {}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    attributes = dict(point.attributes or {})
                    assert SECRET not in str(attributes)
                    own = "result" if "codomyrmex.cache.result" in attributes else "cause"
                    value = getattr(point, "value", getattr(point, "count", 0))
                    cache, label = attributes["codomyrmex.cache.name"], attributes.get(f"codomyrmex.cache.{own}", "")
                    found[metric.name, str(cache), str(label)] = found.get(
                        (metric.name, str(cache), str(label)), 0
                    ) + float(value)
    return found


def test_metrics() -> None:
    """The SDK sees what is so when it collects."""
    with manager() as one:
        cache = one.get_cache("app", max_entries=100)
        one.export_stats()
        cache.set(SECRET, 1)
        cache.get(SECRET)
        cache.get("other")
        cache.get_or_set("load", lambda: 1)
        found = points()
        assert found["codomyrmex.cache.reads", "app", "hit"] == 1
        assert found["codomyrmex.cache.reads", "app", "miss"] == 2
        assert found["codomyrmex.cache.writes", "app", ""] == 2
        assert found["codomyrmex.cache.loads", "app", ""] == 1
        assert found["codomyrmex.cache.entries", "app", ""] == 2
        assert found["codomyrmex.cache.limit_entries", "app", ""] == 100
        assert found["codomyrmex.cache.load.duration", "app", ""] == 1
        assert found["codomyrmex.cache.operation.duration", "app", ""] >= 4
        cache.get(SECRET)
        assert points()["codomyrmex.cache.reads", "app", "hit"] == 2
        one.export_stats()
        assert points()["codomyrmex.cache.reads", "app", "hit"] == 2
    assert ("codomyrmex.cache.reads", "app", "hit") not in points()


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """The spans of a name."""
    return [span for span in spans.get_finished_spans() if span.name == name]


@pytest.mark.parametrize("view", ["sync", "async"])
def test_spans(spans: InMemorySpanExporter, view: str) -> None:
    """Calls are children of what the program does, and what a factory does are children of the load."""
    tracer = trace.get_tracer("program")

    def factory() -> int:
        with tracer.start_as_current_span("query"):
            return 1

    async def awaited() -> int:
        return factory()

    with manager() as one, tracer.start_as_current_span("request") as request:
        if view == "sync":
            cache = one.get_cache("app")
            assert cache.get_or_set(SECRET, factory) == 1
        else:

            async def call() -> int:
                return await one.get_async_cache("app").get_or_set(SECRET, awaited)

            assert asyncio.run(call()) == 1
    (load,), (query,) = named(spans, "cache load"), named(spans, "query")
    assert query.parent is not None
    assert query.parent.span_id == load.context.span_id
    (get,) = named(spans, "cache get")
    assert get.parent is not None
    assert get.parent.span_id == request.get_span_context().span_id
    assert dict(get.attributes or {}) == {
        "codomyrmex.cache.name": "app",
        "codomyrmex.cache.backend": "in_memory",
        "codomyrmex.cache.operation": "get",
        "codomyrmex.cache.found": False,
    }
    assert load.context.trace_id == get.context.trace_id
    assert all(SECRET not in span.to_json() for span in spans.get_finished_spans())
    assert named(spans, "cache purge") == []


def test_errors(spans: InMemorySpanExporter) -> None:
    """A span says that a call failed and the class of the error, and no more."""
    with manager() as one, pytest.raises(ZeroDivisionError):
        one.get_cache("app").get_or_set(SECRET, lambda: 1 // 0)
    (load,) = named(spans, "cache load")
    assert load.attributes is not None
    assert load.attributes["error.type"] == "ZeroDivisionError"
    assert not load.status.is_ok
    assert load.events == ()


def names(spans: InMemorySpanExporter, **options: Any) -> list[object]:
    """What the spans of three reads, two of them of one key, call their keys."""
    spans.clear()
    with manager(**options) as one:
        cache = one.get_cache("app")
        for key in (SECRET, SECRET, "other"):
            cache.get(key)
    return [(span.attributes or {})["codomyrmex.cache.key"] for span in named(spans, "cache get")]


def test_keys(spans: InMemorySpanExporter) -> None:
    """They are named as the options say: the same key by the same name."""
    assert names(spans, keys="plain") == [SECRET, SECRET, "other"]
    first, second, other = names(spans, keys="hashed")
    assert first == second != other
    assert SECRET not in str(first)
    assert first not in names(spans, keys="hashed", secret="pepper")
    assert names(spans, keys="hashed")[0] == first


@pytest.mark.parametrize("options", [{"keys": "sometimes"}, {"secret": "pepper"}, {"kees": "never"}])
def test_mistakes(options: dict[str, Any]) -> None:
    """They keep the cache from being made, and say which option it is."""
    with manager(**options) as one, pytest.raises(CacheConfigError, match=next(iter(options))):
        one.get_cache("app")
