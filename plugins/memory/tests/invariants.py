"""What must hold inside a `MemoryBackend` whenever its lock is free."""

from __future__ import annotations

import math

from codomyrmex_cache_memory import MemoryBackend


def check_memory(backend: MemoryBackend) -> None:
    """Dict, queues, expiry and sizes agree."""
    entries = backend.entries
    with entries.lock:
        nodes = list(entries.nodes.values())
        assert all(entries.nodes[node.key] is node for node in nodes)
        assert all(node.lane is not None for node in nodes)
        lanes = entries.queues.lanes.values()
        assert sum(lane.count for lane in lanes) == len(nodes)
        sizes = sum(node.size for node in nodes)
        assert sum(lane.bytes for lane in lanes) == sizes
        assert entries.bytes == (sizes if entries.queues.measured else 0)
        for lane in lanes:
            assert lane.count == sum(node.lane is lane for node in nodes)
            places = lane.places()
            assert len(places) == len(set(map(id, places))) == lane.count
        for node in nodes:
            if node.end == math.inf:
                continue
            assert node.bucket is not None
            assert node in node.bucket
            assert node.bucket.due <= int(node.end) + 1
        waiting = entries.expiry.waiting()
        assert all(node.lane is not None for node in waiting)
        assert not any(key in entries.own for key in entries.nodes)
        limit = backend.options.max_entries
        assert limit is None or len(nodes) <= limit
        assert backend.options.max_bytes is None or entries.bytes <= backend.options.max_bytes
