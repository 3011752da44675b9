"""Mistakes that only somebody who comes in between can see."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dict_driver import DictDriver
from sound_drivers import AsyncDriver

from codomyrmex.cache.backend import Field, Version, matches, replace_header

from ._caught import caught_by

_MOMENT = 0.001
"""Seconds for others to come in between; otherwise they would come too seldom to rely on."""


@caught_by("test_incr_among_threads", "test_pop_among_threads", "test_lock_among_threads")
class SwapsWithoutLock(DictDriver):
    """Looks, lets others go first, and writes."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        stored = self.store.get(key)
        if not matches(stored, field, expected):
            return False
        time.sleep(_MOMENT)
        if new is None:
            self.store.delete(key)
        else:
            self.store.set(key, replace_header(stored, new) if header_only and stored else new)
        return True


@caught_by("test_swap_compares_versions", "test_add_among_threads")
class AddsOverOthers(DictDriver):
    """Need not look again where nothing was."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        if expected is None:
            time.sleep(_MOMENT)
            self.store.set(key, new)
            return True
        return super().swap(key, field, expected, new, header_only)


@caught_by("test_values_are_whole")
class WritesInHalves(DictDriver):
    """Lets a reader see half of one value and half of another."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        for key, data in records.items():
            old = self.store.get(key) or b""
            self.store.set(key, data[: len(data) // 2] + old[len(data) // 2 :])
            time.sleep(_MOMENT)
            self.store.set(key, data)


@caught_by("test_incr_among_threads", "test_pop_among_threads", views=("async",))
class AwaitsBetween(AsyncDriver):
    """Compares and writes with an await in between: one task would never notice, two event loops do."""

    async def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        stored = await self.get(key)
        if not matches(stored, field, expected):
            return False
        time.sleep(_MOMENT)
        if new is None:
            await self.remove(key)
        else:
            await self.put(key, replace_header(stored, new) if header_only and stored else new)
        return True


@caught_by("test_a_value_comes_back_the_same", "test_overwrite", views=("async",))
class NeverAwaits(AsyncDriver):
    """Makes a coroutine and leaves it at that."""

    async def put_many(self, records: Mapping[str, bytes]) -> None:
        super().put_many(records).close()
