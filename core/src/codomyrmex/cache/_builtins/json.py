"""Plugin of the serializer ``json``."""

from __future__ import annotations

from dataclasses import dataclass

from .._json import JsonSerializer
from .._request import PluginRequest
from ..hookspecs import hookimpl
from ..serializers import Serializer


@dataclass(frozen=True)
class JsonOptions:
    """The serializer ``json`` has no options."""


@hookimpl
def create_serializer(request: PluginRequest) -> Serializer:
    """Make a `JsonSerializer`."""
    request.parse(JsonOptions)
    return JsonSerializer()
