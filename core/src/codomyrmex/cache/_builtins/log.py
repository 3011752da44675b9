"""Plugin of the exporter ``log``."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .._stats import CacheStats
from ..hookspecs import hookimpl
from ..options import option


@dataclass(frozen=True)
class LogOptions:
    """Options of the exporter ``log``."""

    logger: str = option("codomyrmex.cache.stats", kind="text", help="Name of the logger.")
    level: Literal["debug", "info", "warning"] = option(
        "info", kind="choice", choices=("debug", "info", "warning"), help="Level of the lines."
    )


exporter_options = LogOptions


@hookimpl
def export_stats(snapshots: Mapping[str, CacheStats], options: LogOptions) -> None:
    """Log one line of JSON for each cache: its name, and the fields of `CacheStats`."""
    logger, level = logging.getLogger(options.logger), getattr(logging, options.level.upper())
    for name, stats in snapshots.items():
        content = {"cache": name, **dataclasses.asdict(stats), "hit_rate": round(stats.hit_rate, 4)}
        logger.log(level, "%s", json.dumps(content))
