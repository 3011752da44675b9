"""The serializer ``pickle``: any picklable object, signed, for those who hold the key.

Unpickling bytes from a stranger runs the stranger's code. So every value carries an HMAC-SHA256 over cache name, key
and pickle, and nothing is unpickled before it verifies. The algorithm is fixed here, not named by the stored bytes.
"""

from __future__ import annotations

import hmac
import pickle
from dataclasses import dataclass
from typing import Any

from ._request import PluginRequest
from .errors import CacheSerializationError
from .options import option
from .serializers import Serializer

_MAC_SIZE = 32
_KEY_SIZE = 16


@dataclass(frozen=True)
class PickleOptions:
    """Options of the serializer ``pickle``."""

    key: str | bytes = option(kind="secret", help="Signing key, at least 16 characters; 'env:NAME' reads a variable.")
    old_key: str | bytes | None = option(
        None, kind="secret", optional=True, help="Key of before: still verified, no longer used to sign."
    )


class PickleSerializer(Serializer):
    """Pickle protocol 5 behind a signature.

    Args:
        key: Signs, and verifies.
        old_key: Also verifies, while keys are being changed.
    """

    def __init__(self, key: bytes, old_key: bytes | None = None) -> None:
        self._key = key
        self._keys = (key,) if old_key is None else (key, old_key)

    def dumps(self, value: Any, context: bytes) -> bytes:
        """Signature and pickle."""
        try:
            data = pickle.dumps(value, protocol=5)
        except Exception as error:
            # The texts of pickle's errors may hold the value's repr.
            raise CacheSerializationError(
                f"pickle can't keep this {type(value).__name__}: {type(error).__name__}"
            ) from None
        return self._sign(self._key, context, data) + data

    def loads(self, data: bytes, context: bytes) -> Any:
        """Verify, then unpickle."""
        mac, body = data[:_MAC_SIZE], data[_MAC_SIZE:]
        if not any(hmac.compare_digest(mac, self._sign(key, context, body)) for key in self._keys):
            raise CacheSerializationError("the signature does not verify")
        try:
            return pickle.loads(body)
        except Exception as error:
            raise CacheSerializationError(f"the pickle can't be loaded: {type(error).__name__}") from None

    @staticmethod
    def _sign(key: bytes, context: bytes, data: bytes) -> bytes:
        # The length in front keeps context and data from being shifted against each other.
        return hmac.digest(key, len(context).to_bytes(8, "little") + context + data, "sha256")


def create(request: PluginRequest) -> PickleSerializer:
    """Check the options and make one."""
    options = request.parse(PickleOptions)
    keys = [key.encode() if isinstance(key, str) else key for key in (options.key, options.old_key) if key]
    if any(len(key) < _KEY_SIZE for key in keys):
        raise request.refuse(f"a signing key needs at least {_KEY_SIZE} characters")
    return PickleSerializer(*keys)
