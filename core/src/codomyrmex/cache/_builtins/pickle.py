"""Plugin of the serializer ``pickle``."""

from __future__ import annotations

from .. import _pickle
from .._request import PluginRequest
from ..hookspecs import hookimpl
from ..serializers import Serializer


@hookimpl
def create_serializer(request: PluginRequest) -> Serializer:
    """Make a signed pickle serializer."""
    return _pickle.create(request)
