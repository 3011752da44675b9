"""Serializer ``msgpack``: values come back of the same type and with the same content, or are refused when stored."""

from __future__ import annotations

from codomyrmex.cache import CacheConfigError, CacheSerializationError, hookimpl
from codomyrmex.cache.serializers import PluginRequest, register, registered_type

from ._options import MsgpackOptions
from ._registered import check
from ._serializer import MsgpackSerializer

__all__ = ["MsgpackOptions", "MsgpackSerializer", "create_serializer"]


@hookimpl
def create_serializer(request: PluginRequest) -> MsgpackSerializer:
    """Register the types that the options name, unless they are already, and make a `MsgpackSerializer`."""
    for cls in request.parse(MsgpackOptions).types:
        try:
            if not isinstance(cls, type) or registered_type(cls) is None:
                check(cls)
                register(cls)
        except (CacheConfigError, CacheSerializationError) as error:
            raise request.refuse(f"option 'types': {error.message}") from error
    return MsgpackSerializer()
