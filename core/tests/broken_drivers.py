"""Drivers with one mistake each, of the kind that people make: the kit has to find every one of them."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dict_driver import DictDriver

from codomyrmex.cache.backend import (
    Capabilities,
    Field,
    Purged,
    ScanPage,
    Usage,
    Version,
    matches,
    process_clock,
    replace_header,
)

_PENDING = 1
_MONTH = 30 * 86_400


class ForgetsWrites(DictDriver):
    """Says that it has stored."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        pass


class StoresTheFirstOnly(DictDriver):
    """Stores one record of many."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        super().put_many(dict(list(records.items())[:1]))


class KeepsTheFirst(DictDriver):
    """Doesn't replace what is there."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        super().put_many({key: data for key, data in records.items() if key not in self.store.data})


class KeepsOldHeaders(DictDriver):
    """Replaces the value and leaves times and version."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        old = self.store.data
        super().put_many({key: replace_header(data, old.get(key, data)) for key, data in records.items()})


class LosesMarkers(DictDriver):
    """Takes records that begin with NUL for a mistake of the caller."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        super().put_many({key: data for key, data in records.items() if not key.startswith("\0")})


class CachesMarkers(DictDriver):
    """Saves itself the second trip, and forgets the tags that others invalidate."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.markers: dict[str, bytes] = {}

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return super().get_many(keys) | {key: self.markers[key] for key in keys if key in self.markers}

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        if swapped := super().swap(key, field, expected, new, header_only):
            self.markers |= {key: new} if key.startswith("\0") else {}
        return swapped


class FindsTheFirstOnly(DictDriver):
    """Returns one record of many."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return super().get_many(keys[:1])


class ServesWhatIsGone(DictDriver):
    """Reads from a copy that nobody keeps up to date."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        copy = self.__dict__.setdefault("copy", {})
        copy.update({key: data for key, data in super().get_many(keys).items() if key not in copy})
        return {key: copy[key] for key in keys if key in copy}


class RemovesNothing(DictDriver):
    """Says what was there, and leaves it there."""

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return self.get_many(keys)


class RemovesInSilence(DictDriver):
    """Doesn't say what was there."""

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        super().remove_many(keys)
        return {}


class RemovesWholeEntriesOnly(DictDriver):
    """Leaves records that have no value yet."""

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        return super().remove_many([key for key, data in self.get_many(keys).items() if data[1] != _PENDING])


class OnePageOnly(DictDriver):
    """Ends a scan after its first page."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        return ScanPage(super().scan(prefix, cursor, limit).heads, None)


class ScansByNumber(DictDriver):
    """Takes the number of keys seen for a cursor, and skips some when others go."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        at = int(cursor or 0)
        page = self.store.keys(prefix)[at : at + limit]
        return ScanPage(self.get_many(page), str(at + limit) if len(page) == limit else None)


class ScansEverything(DictDriver):
    """Takes no notice of the prefix."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        return super().scan("", cursor, limit)


class ScansWithWildcards(DictDriver):
    """Hands the prefix to LIKE as it is."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        def like(key: str) -> bool:
            return len(key) >= len(prefix) and all(
                wanted in ("_", "%", found) for wanted, found in zip(prefix, key, strict=False)
            )

        return ScanPage(self.get_many([key for key in self.store.keys("") if like(key)]), None)


class HidesPending(DictDriver):
    """Scans entries only: a load that runs is nothing to see."""

    def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        page = super().scan(prefix, cursor, limit)
        return ScanPage({key: head for key, head in page.heads.items() if head[1] != _PENDING}, page.cursor)


class ClearsEverything(DictDriver):
    """Empties the store, whoever's entries are in it."""

    def clear(self, prefix: str) -> int:
        count = len(self.store.data)
        self.store.data.clear()
        return count


class LeavesOne(DictDriver):
    """Clears all but the last."""

    def clear(self, prefix: str) -> int:
        return len(self.remove_many(sorted(key for key in self.store.keys(prefix) if key[0] != "\0")[:-1]))


class ClearsNothing(DictDriver):
    """Finds nothing to clear."""

    def clear(self, prefix: str) -> int:
        return 0


class _Translating(DictDriver):
    """Keeps a key under another one."""

    def translate(self, key: str) -> str:
        raise NotImplementedError

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = ((key, self.store.get(self.translate(key))) for key in keys)
        return {key: data for key, data in found if data is not None}

    def put_many(self, records: Mapping[str, bytes]) -> None:
        super().put_many({self.translate(key): data for key, data in records.items()})

    def remove_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        removed = super().remove_many([self.translate(key) for key in keys])
        return {key: removed[self.translate(key)] for key in keys if self.translate(key) in removed}

    def swap(self, key: str, *rest: Any) -> bool:
        return super().swap(self.translate(key), *rest)


class FoldsCase(_Translating):
    """As a file system may."""

    def translate(self, key: str) -> str:
        return key.lower()


class Normalizes(_Translating):
    """As another file system does."""

    def translate(self, key: str) -> str:
        return unicodedata.normalize("NFC", key)


class CutsKeys(_Translating):
    """As a column with a limit does."""

    def translate(self, key: str) -> str:
        return key[:255]


class EndsAtNul(_Translating):
    """As a C library does."""

    def translate(self, key: str) -> str:
        return key[0] + key[1:].split("\0")[0]


class SwapsAlways(DictDriver):
    """Compares nothing."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        stored = self.store.get(key)
        if new is None:
            self.store.delete(key)
        elif not header_only or stored is None:
            self.store.set(key, new)
        else:
            self.store.set(key, replace_header(stored, new))
        return True


class SwapsInWords(DictDriver):
    """Says that it has swapped."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        return matches(self.store.get(key), field, expected)


class SwapsByVersionOnly(DictDriver):
    """Doesn't know what a lease is."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        return super().swap(key, Field.VERSION, expected, new, header_only)


class SwapsByAnyLease(DictDriver):
    """Is content with some lease."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        stored = self.store.get(key)
        if field is Field.LEASE and stored is not None and any(stored[Field.LEASE.value]):
            expected = stored[Field.LEASE.value]
        return super().swap(key, field, expected, new, header_only)


class SwapsIntoNothing(DictDriver):
    """Takes a record that is gone for the one that is expected."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        gone = self.store.get(key) is None
        return super().swap(key, field, None if gone else expected, new, header_only)


class SwapsHeadersInWords(DictDriver):
    """Ignores a new header: it was only `touch`."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        if header_only:
            return matches(self.store.get(key), field, expected)
        return super().swap(key, field, expected, new, header_only)


class SwapsHeadersForAll(DictDriver):
    """Stores a header in place of the whole record."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        return super().swap(key, field, expected, new, False)


class SwapsWithoutLock(DictDriver):
    """Looks, lets others go first, and writes."""

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        if not matches(self.store.get(key), field, expected):
            return False
        time.sleep(0.0001)
        if new is None:
            self.store.delete(key)
        else:
            self.store.set(key, new)
        return True


class WritesInHalves(DictDriver):
    """Lets a reader see half of one value and half of another."""

    def put_many(self, records: Mapping[str, bytes]) -> None:
        for key, data in records.items():
            old = self.store.get(key) or b""
            self.store.set(key, data[: len(data) // 2] + old[len(data) // 2 :])
            time.sleep(0.0001)
            self.store.set(key, data)


class IgnoresTheClock(DictDriver):
    """Has its own time."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.now = process_clock


class DropsStale(DictDriver):
    """Lets the store expire records when they are no longer fresh."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        import struct

        found = super().get_many(keys)
        fresh = {key: struct.unpack_from("<d", data, 16)[0] for key, data in found.items() if len(data) >= 64}
        return {key: data for key, data in found.items() if self.now() < fresh.get(key, 0)}


class ForgetsAfterAMonth(DictDriver):
    """Takes thirty days for the longest time there is."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.born: dict[str, float] = {}

    def put_many(self, records: Mapping[str, bytes]) -> None:
        self.born |= dict.fromkeys(records, self.now())
        super().put_many(records)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = super().get_many(keys)
        return {key: data for key, data in found.items() if self.now() - self.born.get(key, self.now()) < _MONTH}


class NeverPurges(DictDriver):
    """Waits for readers."""

    def purge(self, limit: int) -> Purged:
        return Purged(0, False)


class PurgesTooMuch(DictDriver):
    """Takes all that has an end for over."""

    def purge(self, limit: int) -> Purged:
        return Purged(len(self.remove_many(self.store.keys(""))), False)


class Miscounts(DictDriver):
    """Counts what was ever stored."""

    def usage(self) -> Usage:
        return Usage(entries=2 * len(self.store.data) + 1)


class SaysTooMuch(DictDriver):
    """Promises what can't be: times of a process that outlive it."""

    declares = Capabilities(swap=False, blocking="never", persistent=True)


class AnswersNoPing(DictDriver):
    """Has a ping that was never tried."""

    def ping(self) -> None:
        raise NotImplementedError


class SaysItIsShared(DictDriver):
    """Every process has a store of its own, and it says that they share one."""

    declares = Capabilities(shared=True, clock="boot", blocking="never")


class SharesItsStore(DictDriver):
    """All caches in one dict, and it says that no other cache can reach it."""

    declares = Capabilities(swap=False, isolated=True, blocking="never")
    common: dict[str, bytes]

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.store.data = self.common

    def __init_subclass__(cls) -> None:
        cls.common = {}


def subclasses(of: type[Any]) -> Iterable[type[Any]]:
    for one in of.__subclasses__():
        yield one
        yield from subclasses(one)
