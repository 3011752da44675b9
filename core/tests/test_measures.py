"""The table of measures: it covers all statistics, and adds up."""

from __future__ import annotations

from dataclasses import fields

from codomyrmex.cache import CacheStats
from codomyrmex.cache.measures import MEASURES, Place


def test_everything_is_measured() -> None:
    """Each field of the statistics, once."""
    measured = [field for measure in MEASURES for field in measure.fields.values()]
    assert sorted(measured) == sorted(field.name for field in fields(CacheStats) if field.name != "backend")
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)


def test_totals() -> None:
    """Caches of one name are added up; what nobody knows is left out."""
    one = {"app": CacheStats(hits=1, misses=2, entries=5, backend="redis"), "other": CacheStats(backend="null")}
    two = {"app": CacheStats(hits=10, backend="redis")}
    by_name = {measure.name: measure for measure in MEASURES}
    reads = by_name["reads"].totals(one, two)
    assert reads[Place("app", "redis", "hit")] == 11
    assert reads[Place("app", "redis", "miss")] == 2
    assert reads[Place("other", "null", "stale")] == 0
    assert by_name["entries"].totals(one, two) == {Place("app", "redis"): 5}
