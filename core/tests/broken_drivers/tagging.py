"""Mistakes with tags and their markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dict_driver import DictDriver
from sound_drivers import ObjectDriver, OneTripDriver

from codomyrmex.cache.backend import BackendRequest, Field, Record, Version

from ._caught import caught_by


@caught_by(
    "test_invalidation",
    "test_written_again",
    "test_several_at_once",
    "test_tags_cross_namespaces",
    "test_invalidation_among_threads",
    "test_tokens_captured_before_the_load",
    "test_a_tag_chosen_late",
)
class LosesMarkers(DictDriver):
    """Takes records that begin with NUL for a mistake of the caller."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        super().put_many({key: data for key, data in records.items() if not key.startswith("\0")})


@caught_by("test_invalidation", "test_written_again", "test_tokens_captured_before_the_load")
class RemembersMarkers(DictDriver):
    """Saves itself the second trip, and forgets the tags that are invalidated."""

    def __init__(self, request: BackendRequest) -> None:
        super().__init__(request)
        self.markers: dict[str, bytes] = {}

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return super().get_many(keys) | {key: self.markers[key] for key in keys if key in self.markers}

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        if swapped := super().swap(key, field, expected, new, header_only):
            self.markers |= {key: new} if key.startswith("\0") else {}
        return swapped


@caught_by("test_tokens_captured_before_the_load", "test_a_change_during_a_load_wins")
class RefreshesTokens(ObjectDriver):
    """Stores an entry with the tokens that its tags have now."""

    def keep(self, key: str, record: Record) -> Record:
        if key.startswith("\0"):
            return record
        markers = {tag: self.records.get(f"\0{self.request.cache}:t{tag}") for tag, _ in record.tags}
        return replace(record, tags=tuple((tag, marker.value[:8]) for tag, marker in markers.items() if marker))


@caught_by("test_incr_and_touch_keep_tags")
class DropsTagsWithTheHeader(ObjectDriver):
    """Takes the tags for a part of the header."""

    def swap(
        self, key: str, field: Field, expected: Version | None, new: Record | None, header_only: bool = False
    ) -> bool:
        with self.lock:
            old = self.records.get(key)
            if header_only and new is not None and old is not None:
                new, header_only = replace(new, value=old.value, tags=()), False
            return super().swap(key, field, expected, new, header_only)


@caught_by("test_written_again", "test_last_write_decides", "test_a_long_lived_entry_outlives_no_marker")
class NamesMarkersByKey(OneTripDriver):
    """Returns the markers under their keys and not by tag."""

    def get_tagged(self, keys: Sequence[str], marker: str) -> tuple[Mapping[str, Record], Mapping[str, Record]]:
        records, markers = super().get_tagged(keys, marker)
        return records, {marker + tag: record for tag, record in markers.items()}


@caught_by("test_any_of_several")
class ReturnsTheFirstMarker(OneTripDriver):
    """Forgets that an entry may have several tags."""

    def get_tagged(self, keys: Sequence[str], marker: str) -> tuple[Mapping[str, Record], Mapping[str, Record]]:
        records, markers = super().get_tagged(keys, marker)
        return records, dict(list(markers.items())[:1])
