"""Mistakes in scanning, clearing and purging."""

from __future__ import annotations

import time
from collections.abc import Iterator

from dict_driver import DictDriver

from codomyrmex.cache.backend import Purged, ScanPage

from ._caught import caught_by
from .storing import PENDING


def like(pattern: str, text: str) -> bool:
    """What LIKE says of a text that begins so."""
    pairs = zip(pattern, text, strict=False)
    return len(text) >= len(pattern) and all(wanted in ("_", "%", found) for wanted, found in pairs)


@caught_by("test_many_more_than_a_page", "test_scan_sees_what_stays")
class OnePageOnly(DictDriver):
    """Ends a scan after its first page."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        return ScanPage(super().scan(prefix, cursor, limit).heads, None)


@caught_by("test_scan_sees_what_stays")
class ScansByNumber(DictDriver):
    """Takes the number of keys seen for a cursor, and skips some when others go."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        at = int(cursor or 0)
        page = self.store.keys(prefix)[at : at + limit]
        return ScanPage(self.get_many(page), str(at + limit) if len(page) == limit else None)


@caught_by("test_scan_keeps_to_its_prefix", "test_namespaces")
class ScansEverything(DictDriver):
    """Takes no notice of the prefix."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        return super().scan("", cursor, limit)


@caught_by("test_scan_keeps_to_its_prefix")
class ScansWithWildcards(DictDriver):
    """Hands the prefix to LIKE as it is."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        return ScanPage(self.get_many([key for key in self.store.keys("") if like(prefix, key)]), None)


@caught_by("test_a_change_voids_the_lease")
class HidesPending(DictDriver):
    """Scans entries only: a load that runs is nothing to see."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        page = super().scan(prefix, cursor, limit)
        return ScanPage({key: head for key, head in page.heads.items() if head[1] != PENDING}, page.cursor)


@caught_by("test_scans_among_threads", raises=RuntimeError)
class ScansWhileOthersWrite(DictDriver):
    """Goes through a dict that changes meanwhile."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        def keys() -> Iterator[str]:
            for key in self.store.data:
                time.sleep(0)  # what may happen anywhere, happens here
                yield key

        return ScanPage(self.get_many([key for key in keys() if key.startswith(prefix)]), None)


@caught_by("test_namespaces", "test_lock")
class ClearsEverything(DictDriver):
    """Empties the store, whoever's entries are in it."""

    def clear(self, prefix: str) -> int:
        count = len(self.store.data)
        self.store.data.clear()
        return count


@caught_by("test_clear", "test_namespaces", "test_a_change_voids_the_lease")
class LeavesOne(DictDriver):
    """Clears all but the last."""

    def clear(self, prefix: str) -> int:
        return len(self.remove_many(sorted(key for key in self.store.keys(prefix) if key[0] != "\0")[:-1]))


@caught_by("test_clear", "test_many_more_than_a_page")
class ClearsNothing(DictDriver):
    """Finds nothing to clear."""

    def clear(self, prefix: str) -> int:
        return 0


@caught_by("test_scan_keeps_to_its_prefix")
class ClearsWithWildcards(DictDriver):
    """Hands the prefix of what it clears to LIKE as it is."""

    def clear(self, prefix: str) -> int:
        return len(self.remove_many([key for key in self.store.keys("") if like(prefix, key)]))


@caught_by("test_namespaces")
class ClearsByWord(DictDriver):
    """Thinks that the separator at the end means nothing."""

    def clear(self, prefix: str) -> int:
        return super().clear(prefix.rstrip(":"))


@caught_by("test_expired_entries_leave_the_store")
class NeverPurges(DictDriver):
    """Waits for readers."""

    def purge(self, limit: int) -> Purged:
        return Purged(0, False)


@caught_by("test_expired_entries_leave_the_store")
class PurgesTooMuch(DictDriver):
    """Takes all that has an end for over, and the rest too."""

    def purge(self, limit: int) -> Purged:
        return Purged(len(self.remove_many(self.store.keys(""))), False)


@caught_by("test_expired_entries_leave_the_store")
class PurgesInSilence(DictDriver):
    """Doesn't say how many it has purged."""

    def purge(self, limit: int) -> Purged:
        return Purged(0, super().purge(limit).more)
