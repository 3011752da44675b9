"""Mistakes on a driver's own path for reads and writes, which the core doesn't see."""

from __future__ import annotations

from typing import Any

from sound_drivers import DirectDriver

from codomyrmex.cache.backend import DirectPort

from ._caught import caught_by


@caught_by("test_a_value_comes_back_the_same")
class TakesNoneForAbsent(DirectDriver):
    """Sees no difference."""

    def direct_get(self, port: DirectPort, key: Any, default: Any = None) -> Any:
        found = super().direct_get(port, key)
        return default if found is None else found


@caught_by("test_absent")
class KnowsNoDefault(DirectDriver):
    """Answers misses itself, always the same way."""

    def direct_get(self, port: DirectPort, key: Any, default: Any = None) -> Any:
        return super().direct_get(port, key)


@caught_by("test_bad_keys")
class TakesAnyKey(DirectDriver):
    """Has never heard of a key that is none."""

    def direct_get(self, port: DirectPort, key: Any, default: Any = None) -> Any:
        return super().direct_get(port, key, default) if key in list(self.records) else default


@caught_by("test_bad_tags", "test_several_at_once", "test_any_of_several")
class DropsTags(DirectDriver):
    """Stores tagged entries itself as well."""

    def direct_set(
        self, port: DirectPort, key: Any, value: Any, ttl: Any = None, *, tags: Any = (), stale_for: Any = None
    ) -> Any:
        return super().direct_set(port, key, value, ttl, stale_for=stale_for)


@caught_by("test_statistics")
class CountsNothing(DirectDriver):
    """Is so fast because it doesn't count."""

    def direct_get(self, port: DirectPort, key: Any, default: Any = None) -> Any:
        record = self.records.get(key) if isinstance(key, str) else None
        return port.get(key, default) if record is None else record.value


@caught_by("test_closing")
class WorksAfterClosing(DirectDriver):
    """Keeps its dict to the end."""

    def close(self) -> None:
        pass
