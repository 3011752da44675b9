"""Mistakes in `swap`, among them those that only somebody who comes in between can see."""

from __future__ import annotations

from typing import Any

from dict_driver import DictDriver

from codomyrmex.cache.backend import Field, Version, matches, replace_header

from ._caught import caught_by


@caught_by("test_swap_compares_versions", "test_swap_of_a_header", "test_an_undisturbed_load_stores")
class SwapsAlways(DictDriver):
    """Compares nothing."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        stored = self.store.get(key)
        if new is None:
            self.store.delete(key)
        else:
            self.store.set(key, replace_header(stored, new) if header_only and stored else new)
        return True


@caught_by("test_add", "test_incr", "test_pop", "test_swap_compares_versions", "test_lock_among_threads")
class SwapsInWords(DictDriver):
    """Says that it has swapped."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        return matches(self.store.get(key), field, expected)


@caught_by("test_an_undisturbed_load_stores", "test_another_lease", "test_a_load_that_is_given_up")
class SwapsByVersionOnly(DictDriver):
    """Doesn't know what a lease is."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        return super().swap(key, Field.VERSION, expected, new, header_only)


@caught_by("test_another_lease", "test_a_load_that_is_given_up")
class SwapsByAnyLease(DictDriver):
    """Is content with some lease."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        stored = self.store.get(key)
        if field is Field.LEASE and stored is not None and any(stored[Field.LEASE.value]):
            expected = stored[Field.LEASE.value]
        return super().swap(key, field, expected, new, header_only)


@caught_by("test_swap_compares_versions", "test_a_change_voids_the_lease")
class SwapsIntoNothing(DictDriver):
    """Takes a record that is gone for the one that is expected."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        gone = self.store.get(key) is None
        return super().swap(key, field, None if gone else expected, new, header_only)


@caught_by("test_swap_compares_versions", "test_pop", "test_a_load_that_is_given_up")
class RemovesInWords(DictDriver):
    """Takes a swap for nothing as done."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        if new is None:
            return matches(self.store.get(key), field, expected)
        return super().swap(key, field, expected, new, header_only)


@caught_by("test_swap_of_a_header", "test_touch", "test_expire", "test_sliding", "test_incr_and_touch_keep_tags")
class SwapsHeadersInWords(DictDriver):
    """Ignores a new header: it was only `touch`."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        if header_only:
            return matches(self.store.get(key), field, expected)
        return super().swap(key, field, expected, new, header_only)


@caught_by("test_touch", "test_incr_and_touch_keep_tags")
class SwapsHeadersForAll(DictDriver):
    """Stores a header in place of the whole record."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        return super().swap(key, field, expected, new, False)


@caught_by("test_a_load_that_is_given_up")
class SwapsHeadersByVersionOnly(DictDriver):
    """Compares a lease only where the whole record is replaced."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        return super().swap(key, Field.VERSION if header_only else field, expected, new, header_only)
