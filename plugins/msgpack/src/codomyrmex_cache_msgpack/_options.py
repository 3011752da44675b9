"""Options of the serializer ``msgpack``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codomyrmex.cache.options import option


@dataclass(frozen=True, slots=True)
class MsgpackOptions:
    """Options of the serializer ``msgpack``."""

    types: tuple[type[Any], ...] = option(
        (), kind="objects", help="Dataclasses, enums and numpy types to register, so that it keeps their instances."
    )
