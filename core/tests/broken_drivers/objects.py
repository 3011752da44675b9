"""Mistakes of drivers that take a record apart and put it together again: a table with columns, a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sound_drivers import ObjectDriver

from codomyrmex.cache.backend import Record

from ._caught import caught_by


@caught_by("test_absent")
class InventsRecords(ObjectDriver):
    """Is a defaultdict."""

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        return {key: Record(None, b"invented") for key in keys} | super().get_many(keys)


@caught_by("test_a_value_comes_back_the_same", "test_many")
class TakesNoneForNothing(ObjectDriver):
    """Finds NULL in the column of values."""

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        found = super().get_many(keys)
        return {key: record for key, record in found.items() if record.pending or record.value is not None}


@caught_by("test_incr")
class KeepsDoubles(ObjectDriver):
    """Knows one kind of number."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, value=int(float(record.value))) if type(record.value) is int else record


@caught_by("test_a_value_comes_back_the_same", "test_incr_of_something_else")
class TakesBoolsForNumbers(ObjectDriver):
    """As SQL does."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, value=int(record.value)) if type(record.value) is bool else record


@caught_by("test_every_write_brings_a_new_version")
class VersionsByContent(ObjectDriver):
    """Takes a checksum of the value for its version."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, version=hash(repr(record.value)))


@caught_by("test_a_pending_record_counts_for_nothing", "test_an_undisturbed_load_stores")
class ForgetsPending(ObjectDriver):
    """Has no column for records without a value."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, pending=False)


@caught_by("test_any_of_several", "test_state_machine")
class KeepsOneTag(ObjectDriver):
    """Has a column for the tag."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, tags=record.tags[:1])


@caught_by("test_every_write_brings_a_new_version", "test_state_machine")
class WritesNothingTwice(ObjectDriver):
    """Saves itself a write where the value stays the same, although times and tags may not."""

    def put_many(self, records: Mapping[str, Record]) -> None:
        # Past its time a record may be there or not: what the timer does must not decide what the machine finds.
        held = {key: old for key, old in self.get_many(tuple(records)).items() if self.now() < old.kept_until}
        known = {key: repr(old.value) for key, old in held.items()}
        super().put_many({key: new for key, new in records.items() if known.get(key) != repr(new.value)})
