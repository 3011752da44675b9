"""A real socket receives what the exporter sends."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from acme_cache_statsd import StatsdOptions

from codomyrmex.cache import CacheManager


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A server that waits a while for datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        yield receiver


def received(receiver: socket.socket) -> dict[str, str]:
    """The next datagram's values by name."""
    text = receiver.recv(65_536).decode()
    return dict(line.rsplit(":", 1) for line in text.split("\n"))


def test_what_is_sent(receiver: socket.socket) -> None:
    """Counters are differences, gauges are what is there."""
    table = {"interval": "none", "port": receiver.getsockname()[1], "prefix": "shop"}
    with CacheManager({"exporters": {"statsd": table}}, environ={}) as manager:
        cache = manager.get_cache("my.cache")
        cache.set("key", 1)
        cache.get("key")
        cache.get("key")
        manager.export_stats()
        first = received(receiver)
        assert (first["shop.my_cache.hits"], first["shop.my_cache.sets"]) == ("2|c", "1|c")
        assert first["shop.my_cache.entries"] == "1|g"
        cache.get("key")
        manager.export_stats()
        second = received(receiver)
        assert (second["shop.my_cache.hits"], second["shop.my_cache.sets"]) == ("1|c", "0|c")


def test_at_an_interval(receiver: socket.socket) -> None:
    """Chosen by name, it sends without being asked."""
    table = {"interval": "20ms", "port": receiver.getsockname()[1]}
    with CacheManager({"exporters": {"statsd": table}}, environ={}) as manager:
        manager.get_cache("app")
        while "cache.app.hits" not in received(receiver):
            continue


def test_options() -> None:
    """The defaults are StatsD's own."""
    assert StatsdOptions() == StatsdOptions(host="127.0.0.1", port=8125, prefix="cache")
