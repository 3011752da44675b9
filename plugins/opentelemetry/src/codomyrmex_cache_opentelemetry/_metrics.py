"""The statistics as observable instruments: the SDK asks when it collects."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from codomyrmex.cache import CacheStats, hookimpl
from codomyrmex.cache.measures import MEASURES, Measure

NAME = "codomyrmex.cache"

_UNITS = {"": "1", "seconds": "s", "bytes": "By"}
_lock = threading.Lock()
_sources: list[Mapping[str, CacheStats]] = []
_begun = False


@dataclass(frozen=True)
class NoOptions:
    """The exporter ``opentelemetry`` has no options."""


@hookimpl
def export_stats(snapshots: Mapping[str, CacheStats]) -> None:
    """Let the SDK find ``snapshots`` from now on, whenever it collects."""
    global _begun
    with _lock:
        _sources[:] = [*(one for one in _sources if one is not snapshots and len(one)), snapshots]
        if not _begun:
            _begun = True
            _begin()


def _begin() -> None:
    """Make the instruments, once: a meter that has no SDK yet hands them on to the one that comes."""
    meter = metrics.get_meter(NAME)
    for measure in MEASURES:
        create = meter.create_observable_counter if measure.grows else meter.create_observable_gauge
        unit = _UNITS[measure.unit]
        create(f"{NAME}.{measure.name}", [partial(_observed, measure)], unit=unit, description=measure.text)


def _observed(measure: Measure, _: CallbackOptions) -> Iterable[Observation]:
    with _lock:
        sources = list(_sources)
    for place, total in measure.totals(*sources).items():
        attributes = {f"{NAME}.name": place.cache, f"{NAME}.backend": place.backend}
        if measure.label:
            attributes[f"{NAME}.{measure.label}"] = place.value
        yield Observation(total, attributes)
