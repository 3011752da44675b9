"""Stage ``zstd`` of serializer pipelines: Zstandard compression above a threshold."""

from __future__ import annotations

from codomyrmex.cache import hookimpl
from codomyrmex.cache.serializers import PluginRequest

from ._options import LEVELS, ZstdOptions
from ._transform import ZstdTransform

__all__ = ["ZstdOptions", "ZstdTransform", "create_serializer"]


@hookimpl
def create_serializer(request: PluginRequest) -> ZstdTransform:
    """Make a `ZstdTransform`."""
    options = request.parse(ZstdOptions)
    if options.level > LEVELS:
        raise request.refuse(f"option 'level': got {options.level}; expected a whole number from 1 to {LEVELS}")
    return ZstdTransform(threshold=options.threshold, level=options.level, max_size=options.max_size)
