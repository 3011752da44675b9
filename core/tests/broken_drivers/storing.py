"""Mistakes in storing, finding and removing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dict_driver import DictDriver

from codomyrmex.cache import CacheKeyError
from codomyrmex.cache.backend import BackendRequest, Usage, replace_header

from ._caught import caught_by

PENDING = 1
"""The flag of a record that has no value yet."""


@caught_by("test_a_value_comes_back_the_same", "test_overwrite", "test_default_and_maximum")
class ForgetsWrites(DictDriver):
    """Says that it has stored."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        pass


@caught_by("test_many", "test_many_more_than_a_page", "test_patterns", "test_several_at_once")
class StoresTheFirstOnly(DictDriver):
    """Stores one record of many."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        super().put_many(dict(list(records.items())[:1]))


@caught_by("test_overwrite", "test_a_write_brings_its_own_ttl", "test_last_write_decides")
class KeepsTheFirst(DictDriver):
    """Doesn't replace what is there."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        super().put_many({key: data for key, data in records.items() if key not in self.store.data})


@caught_by("test_a_write_brings_its_own_ttl", "test_every_write_brings_a_new_version", "test_a_change_voids_the_lease")
class KeepsOldHeaders(DictDriver):
    """Replaces the value and leaves times, version and lease."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        old = self.store.data
        super().put_many({key: replace_header(data, old.get(key, data)) for key, data in records.items()})


@caught_by("test_many", "test_invalidation", "test_no_ttl")
class FindsTheFirstOnly(DictDriver):
    """Returns one record of many."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return super().get_many(keys[:1])


@caught_by("test_items", "test_written_again", "test_bytes_that_were_changed")
class ServesWhatIsGone(DictDriver):
    """Reads from a copy that nobody keeps up to date."""

    def __init__(self, request: BackendRequest) -> None:
        super().__init__(request)
        self.copy: dict[str, bytes] = {}

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        self.copy = super().get_many(keys) | self.copy
        return {key: self.copy[key] for key in keys if key in self.copy}


@caught_by("test_errors_survive_pickling")
class RaisesForAbsentKeys(DictDriver):
    """Has an opinion of its own about keys that are absent, and tells it under the key in the store."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = super().get_many(keys)
        for key in keys:
            if key not in found:
                raise CacheKeyError("not there", key=key)
        return found


@caught_by("test_delete", "test_items", "test_add", "test_clear", "test_removal_returns_what_was_there")
class RemovesNothing(DictDriver):
    """Says what was there, and leaves it there."""

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return self.get_many(keys)


@caught_by("test_delete", "test_many", "test_patterns", "test_statistics", "test_removal_returns_what_was_there")
class RemovesInSilence(DictDriver):
    """Doesn't say what was there."""

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        super().remove_many(keys)
        return {}


@caught_by("test_a_change_voids_the_lease", "test_a_pending_record_counts_for_nothing")
class RemovesWholeEntriesOnly(DictDriver):
    """Leaves records that have no value yet."""

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return super().remove_many([key for key, data in self.get_many(keys).items() if data[1] != PENDING])


@caught_by("test_usage")
class Miscounts(DictDriver):
    """Counts what is there twice."""

    def usage(self) -> Usage:
        return Usage(entries=2 * len(self.store.data))


@caught_by("test_ping", raises=NotImplementedError)
class AnswersNoPing(DictDriver):
    """Has a ping that was never tried."""

    def ping(self) -> None:
        raise NotImplementedError


@caught_by("test_closing", raises=AttributeError)
class ClosesOnce(DictDriver):
    """Can't be closed twice."""

    def close(self) -> None:
        super().close()
        del self.store
