"""Mistakes in telling keys apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from dict_driver import DictDriver

from codomyrmex.cache.backend import BackendRequest, Capabilities, Clock, Field, Version

from ._caught import caught_by


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

    def swap(self, key: str, field: Field, expected: Version | None, new: Any, header_only: bool = False) -> bool:
        return super().swap(self.translate(key), field, expected, new, header_only)


@caught_by("test_awkward_keys", "test_keys_that_differ_only_a_little")
class FoldsCase(_Translating):
    """As a file system may."""

    def translate(self, key: str) -> str:
        return key.lower()


@caught_by("test_awkward_keys", "test_keys_that_differ_only_a_little")
class Normalizes(_Translating):
    """As another file system does."""

    def translate(self, key: str) -> str:
        return unicodedata.normalize("NFC", key)


@caught_by("test_keys_that_differ_only_a_little")
class Strips(_Translating):
    """As a database with fixed columns does."""

    def translate(self, key: str) -> str:
        return key.rstrip(" ")


@caught_by("test_awkward_keys")
class CutsKeys(_Translating):
    """As a column with a limit does."""

    def translate(self, key: str) -> str:
        return key[:255]


@caught_by("test_awkward_keys", "test_keys_that_differ_only_a_little")
class EndsAtNul(_Translating):
    """As a C library does."""

    def translate(self, key: str) -> str:
        return key[0] + key[1:].split("\0")[0]


@caught_by("test_two_caches")
class SharesItsStore(DictDriver):
    """Keeps all caches in one dict, and says that no other cache can reach it."""

    declares = Capabilities(swap=False, isolated=True, blocking="never")
    stores: ClassVar[WeakKeyDictionary[Clock, dict[str, bytes]]] = WeakKeyDictionary()

    def __init__(self, request: BackendRequest) -> None:
        super().__init__(request)
        self.store.data = self.stores.setdefault(self.now, {})
