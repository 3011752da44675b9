"""Serializers: how backends that store bytes turn values into bytes and back.

A pipeline is one `Serializer`, which turns a value into bytes, and any number of `Transform` stages after it, such as
compression, each of which turns bytes into bytes. ``serializer = ["json", "zstd"]`` names one in config.

Every method receives ``context``, which names the cache and the key that the bytes belong to. A stage that
authenticates includes it, so that bytes moved to another key don't verify; others ignore it.

Rules for authors: a value that would not come back with the same type and content is refused with
`CacheSerializationError`, never changed; reading must not be able to run code; errors never hold the value.

Classes of a program's own are made known with `register`; a serializer asks `registered_type` for them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ._registry import RegisteredType, register, registered_type
from ._request import PluginRequest

__all__ = ["PluginRequest", "RegisteredType", "Serializer", "Transform", "register", "registered_type"]


class Serializer(ABC):
    """Turns values into bytes and back.

    Attributes:
        views: Whether `loads` takes a memoryview as well, gone when it returns: that saves copying large values.
    """

    views: ClassVar[bool] = False

    @abstractmethod
    def dumps(self, value: Any, context: bytes) -> bytes:
        """Bytes of ``value``.

        Raises:
            CacheSerializationError: It would not come back the same.
        """

    @abstractmethod
    def loads(self, data: bytes, context: bytes) -> Any:
        """The value of ``data``.

        Raises:
            CacheSerializationError: ``data`` can't be trusted or read.
        """


class Transform(ABC):
    """Turns bytes into other bytes and back: compression, signature, encryption."""

    @abstractmethod
    def encode(self, data: bytes, context: bytes) -> bytes:
        """``data`` on its way to the store."""

    @abstractmethod
    def decode(self, data: bytes, context: bytes) -> bytes:
        """``data`` on its way back.

        Raises:
            CacheSerializationError: ``data`` can't be trusted or read.
        """
