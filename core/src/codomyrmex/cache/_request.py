"""What a ``create_*`` hook receives: who asks, with which options, and what the core lends to the thing created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import options as _options
from .errors import CacheConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRequest:
    """Base of all requests; a serializer and an eviction policy are created from one.

    Attributes:
        name: The name by which the plugin was chosen.
        cache: Name of the cache it is for.
        options: Options as the user wrote them; `parse` checks and converts them. Secrets may be among them:
            no repr shows them.
    """

    name: str
    cache: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    known: tuple[str, ...] = ()
    """Options that the core has checked already, for error messages."""

    def parse(self, schema: type[T]) -> T:
        """``options`` as an instance of ``schema``, a dataclass of `codomyrmex.cache.options.option` fields.

        Raises:
            CacheConfigError: An option is unknown, missing or malformed.
        """
        where = f"cache {self.cache!r} ({self.name})"
        return _options.parse(schema, self.options, where=where, known=self.known, cache=self.cache)

    def refuse(self, message: str) -> CacheConfigError:
        """An error for options that contradict each other, to be raised by the plugin."""
        return CacheConfigError(f"cache {self.cache!r} ({self.name}): {message}", cache=self.cache)
