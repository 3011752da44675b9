"""Mistakes that only loads meet: with leases, flags, and what else a record keeps for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dict_driver import DictDriver
from sound_drivers import FileDriver, ObjectDriver

from codomyrmex.cache.backend import Field, Record, ScanPage, Swap, Version

from ._caught import caught_by


@caught_by("test_a_change_voids_the_lease", "test_a_change_during_a_load_wins")
class KeepsLeasesOnPut(ObjectDriver):
    """Takes a lease for something that belongs to the key, not to the record."""

    def put_many(self, records: Mapping[str, Record]) -> None:
        held = {key: (old.lease, old.lease_until) for key, old in self.get_many(tuple(records)).items()}
        for key, record in records.items():
            lease, until = held.get(key, (None, 0.0))
            super().put_many({key: replace(record, lease=lease, lease_until=until)})


@caught_by("test_a_change_during_a_load_wins", "test_who_comes_after_a_change_loads_anew", "test_many_in_one_load")
class SwapsWhateverTheLease(DictDriver):
    """Compares versions, and stores what a load brings wherever it comes from."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        if field is Field.LEASE:
            self.put_many({} if new is None or header_only else {key: new})
            return True
        return super().swap(key, field, expected, new, header_only)


@caught_by("test_a_change_during_a_load_wins", "test_a_load_that_hangs_is_taken_over")
class RemembersLeases(ObjectDriver):
    """Keeps leases beside the records, where no change of a key voids them."""

    def swap(
        self, key: str, field: Field, expected: Version | None, new: Record | None, header_only: bool = False
    ) -> bool:
        if field is Field.LEASE and new is not None and not header_only:
            self.put_many({key: new})
            return True
        return super().swap(key, field, expected, new, header_only)


@caught_by("test_one_load_for_all", "test_a_load_that_takes_longer_than_its_lease", "test_what_a_load_stores")
class RemovesPending(ObjectDriver):
    """Finds records without a value not worth keeping."""

    def swap(
        self, key: str, field: Field, expected: Version | None, new: Record | None, header_only: bool = False
    ) -> bool:
        with self.lock:
            if new is not None and new.pending:
                return (key in self.records) == (expected is not None)
            return super().swap(key, field, expected, new, header_only)


@caught_by("test_a_failed_load_is_remembered")
class DropsFailed(ObjectDriver):
    """Has no column for failures."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, failed=False)


@caught_by("test_a_failed_load_is_remembered")
class NeverForgives(ObjectDriver):
    """Takes a failure for something that stays with a key."""

    def keep(self, key: str, record: Record) -> Record:
        old = self.records.get(key)
        until = self.now() + 1e9
        return replace(record, failed=True, lease_until=until) if old is not None and old.failed else record


@caught_by("test_a_failed_load_leaves_nothing")
class KeepsGivenUpLoads(ObjectDriver):
    """Removes nothing by a swap: the next write will."""

    def swap(
        self, key: str, field: Field, expected: Version | None, new: Record | None, header_only: bool = False
    ) -> bool:
        if new is None:
            return (key in self.records) == (expected is not None)
        return super().swap(key, field, expected, new, header_only)


@caught_by("test_a_lease_on_a_value_without_fallback", "test_a_lease_that_is_over_leaves_no_value")
class DropsExtended(ObjectDriver):
    """Has no column for records that outlive their values."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, extended=False)


@caught_by("test_a_lease_on_a_value_without_fallback")
class CutsToTheTtl(ObjectDriver):
    """Knows that a value without a fallback ends with its ttl."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, kept_until=record.fresh_until) if record.extended else record


@caught_by("test_what_a_load_stores")
class DropsTokens(ObjectDriver):
    """Has no column for the origin's token."""

    def keep(self, key: str, record: Record) -> Record:
        return replace(record, token=b"")


@caught_by("test_what_a_load_stores")
class DropsTokensWithTheHeader(ObjectDriver):
    """Takes the token for a part of the header."""

    def swap(
        self, key: str, field: Field, expected: Version | None, new: Record | None, header_only: bool = False
    ) -> bool:
        with self.lock:
            old = self.records.get(key)
            if header_only and new is not None and old is not None:
                new, header_only = replace(new, value=old.value, tags=old.tags, token=b""), False
            return super().swap(key, field, expected, new, header_only)


@caught_by("test_a_load_that_takes_longer_than_its_lease")
class EndsWithTheLease(ObjectDriver):
    """Clears away what nobody has finished in time."""

    def get_many(self, keys: Sequence[str]) -> dict[str, Record]:
        return {key: record for key, record in super().get_many(keys).items() if self.current(record)}

    def swap(
        self, key: str, field: Field, expected: Version | None, new: Record | None, header_only: bool = False
    ) -> bool:
        with self.lock:
            old = self.records.get(key)
            if old is not None and not self.current(old):
                del self.records[key]
            return super().swap(key, field, expected, new, header_only)

    def current(self, record: Record) -> bool:
        return not record.pending or self.now() < record.lease_until


@caught_by("test_many_in_one_load")
class SwapsManyOrNone(DictDriver):
    """Takes several swaps for one transaction."""

    def swap_many(self, swaps: Sequence[Swap]) -> Sequence[bool]:
        done = [self.swap(*one) for one in swaps]
        if not all(done):
            self.remove_many([one.key for one in swaps])
        return [all(done)] * len(done)


@caught_by("test_users_of_one_store_share_loads")
class HidesPendingFromOthers(FileDriver):
    """Keeps what is not finished to itself, in the file that others read."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.mine: set[bytes] = set()

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = super().get_many(keys)
        return {key: data for key, data in found.items() if not data[1] & 1 or data[Field.LEASE.value] in self.mine}

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        return super().scan(prefix, cursor, limit)

    def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool = False
    ) -> bool:
        with self.held():
            if new is not None and new[1] & 1:
                self.mine.add(new[Field.LEASE.value])
                if expected is None:
                    self.store.data.pop(key, None)
            return super().swap(key, field, expected, new, header_only)
