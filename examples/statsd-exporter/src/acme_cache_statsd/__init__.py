"""Exporter ``statsd`` of codomyrmex-cache: statistics over UDP, counters as differences and sizes as gauges."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from codomyrmex.cache import CacheStats, hookimpl
from codomyrmex.cache.options import option

COUNTERS = ("hits", "misses", "stale_hits", "sets", "deletes", "evictions", "expirations", "errors", "loads")
GAUGES = ("entries", "bytes")
_sent: dict[tuple[str, str], int] = {}


@dataclass(frozen=True)
class StatsdOptions:
    """Options of the exporter ``statsd``."""

    host: str = option("127.0.0.1", kind="text", help="Host of the StatsD server.")
    port: int = option(8125, kind="count", help="Its UDP port.")
    prefix: str = option("cache", kind="text", help="What every name begins with.")


exporter_options = StatsdOptions


@hookimpl
def export_stats(snapshots: Mapping[str, CacheStats], options: StatsdOptions) -> None:
    """Send one datagram for each cache."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for name, stats in snapshots.items():
            place = f"{options.prefix}.{name.replace('.', '_')}"
            sender.sendto("\n".join(lines(place, stats)).encode(), (options.host, options.port))


def lines(place: str, stats: CacheStats) -> Iterator[str]:
    """The datagram's lines: what has been counted since the last one, and what is there."""
    for field in COUNTERS:
        total: int = getattr(stats, field)
        counted = total - _sent.get((place, field), 0)
        _sent[place, field] = total
        yield f"{place}.{field}:{max(counted, 0)}|c"
    for field in GAUGES:
        if (value := getattr(stats, field)) is not None:
            yield f"{place}.{field}:{value}|g"
