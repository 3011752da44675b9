"""Mistakes in lifetimes."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dict_driver import DictDriver
from sound_drivers import DirectDriver, ObjectDriver

from codomyrmex.cache.backend import BackendRequest, DirectPort, Record, process_clock

from ._caught import caught_by

_FRESH_UNTIL = struct.Struct("<16xd")
_MONTH = 30 * 86_400


@caught_by("test_ttl", "test_stale", "test_stale_is_absent_for_writers", "test_incr_keeps_its_time", "test_lost_lock")
class IgnoresTheClock(DictDriver):
    """Has its own time."""

    def __init__(self, request: BackendRequest) -> None:
        super().__init__(request)
        self.now = process_clock


@caught_by("test_ttl", "test_default_and_maximum", "test_default_stale_for", "test_lost_lock")
class ForgetsTimes(ObjectDriver):
    """Keeps what was stored as long as it can."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, fresh_until=math.inf, kept_until=math.inf, ttl=math.inf)


@caught_by("test_ttl", "test_touch")
class ServesWhatItKeeps(ObjectDriver):
    """Knows one time only, the second one."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, fresh_until=record.kept_until + 1)


@caught_by("test_stale", "test_default_stale_for", "test_expire")
class KeepsForEver(ObjectDriver):
    """Knows one time only, the first one."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, kept_until=math.inf)


@caught_by("test_incr_keeps_its_time", "test_expire")
class StartsAgain(ObjectDriver):
    """Counts an entry's ttl from its last change."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, fresh_until=self.now() + record.ttl, kept_until=self.now() + record.ttl)


@caught_by("test_ttl", "test_jitter")
class RoundsUp(ObjectDriver):
    """Looks for what is over once a minute."""

    def keep(self, key: str, record: Record) -> Record:
        if record.fresh_until == math.inf:
            return record
        until = math.ceil(record.fresh_until / 60) * 60.0
        return replace(record, fresh_until=until, kept_until=until)


@caught_by("test_stale")
class DropsStale(DictDriver):
    """Lets the store expire records when they are no longer fresh."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = super().get_many(keys)
        return {key: data for key, data in found.items() if self.now() < _FRESH_UNTIL.unpack_from(data)[0]}


@caught_by("test_stale", "test_state_machine")
class CountsFreshOnly(DictDriver):
    """Doesn't tell of what it removed past its first time."""

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        removed = super().remove_many(keys)
        return {key: head for key, head in removed.items() if self.now() < _FRESH_UNTIL.unpack_from(head)[0]}


@caught_by("test_no_ttl", "test_incr_and_touch_keep_tags", "test_a_long_lived_entry_outlives_no_marker")
class ForgetsAfterAMonth(DictDriver):
    """Takes thirty days for the longest time there is."""

    def __init__(self, request: BackendRequest) -> None:
        super().__init__(request)
        self.born: dict[str, float] = {}

    def put_many(self, records: Mapping[str, bytes]) -> None:
        self.born |= dict.fromkeys(records, self.now())
        super().put_many(records)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = super().get_many(keys)
        return {key: data for key, data in found.items() if self.now() - self.born.get(key, self.now()) < _MONTH}


@caught_by("test_ttl", "test_stale")
class ServesStaleDirectly(DirectDriver):
    """Looks at no time on its short path."""

    def direct_get(self, port: DirectPort, key: Any, default: Any = None) -> Any:
        record = self.records.get(key) if isinstance(key, str) else None
        return port.get(key, default) if record is None or record.pending or record.tags else record.value


@caught_by("test_bad_ttl")
class TakesZeroForNever(DirectDriver):
    """As memcached does."""

    def direct_set(
        self, port: DirectPort, key: Any, value: Any, ttl: Any = None, *, tags: Any = (), stale_for: Any = None
    ) -> Any:
        return super().direct_set(port, key, value, math.inf if ttl == 0 else ttl, tags=tags, stale_for=stale_for)
