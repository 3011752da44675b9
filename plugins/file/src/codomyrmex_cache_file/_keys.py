"""Where LMDB keeps a key: at most 511 bytes of it, in the order of keys."""

from __future__ import annotations

from hashlib import blake2b

from ._errors import Damaged

LONGEST = 511
_DIGEST = 32
_HEAD = LONGEST - 1 - _DIGEST
_MARK = b"\xff"
"""No UTF-8 holds it."""


def stored_key(key: str) -> bytes:
    """The key in LMDB: its UTF-8, or the beginning of it and a hash of the whole."""
    data = key.encode()
    return data if len(data) <= LONGEST else data[:_HEAD] + _MARK + blake2b(data, digest_size=_DIGEST).digest()


def is_cut(stored: bytes) -> bool:
    """Whether a key in LMDB is not the whole of the user's."""
    return len(stored) == LONGEST and stored[_HEAD : _HEAD + 1] == _MARK


def text_of(data: bytes) -> str:
    """The user's key from its UTF-8."""
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise Damaged("a key is no text") from error


def first_under(prefix: str) -> bytes:
    """Not above any stored key whose key begins with ``prefix``."""
    return prefix.encode()[:_HEAD]
