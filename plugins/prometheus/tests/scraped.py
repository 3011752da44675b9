"""A process that uses caches without end, and serves its metrics; run as a program by test_scrape.py."""

from __future__ import annotations

import sys
import time

from codomyrmex.cache import CacheManager


def main(port: str, directory: str) -> None:
    """Serve at ``port``; keep files in ``directory``."""
    config = {
        "caches": {
            "small": {"backend": "in_memory", "max_entries": 20, "ttl": 0.5},
            "files": {"backend": "file_based", "path": directory, "serializer": "json", "max_entries": 20},
        },
        "exporters": {"prometheus": {"interval": "1s", "port": port}},
        "plugins": {"enable": ["prometheus"]},
    }
    with CacheManager(config, environ={}) as manager:
        number = 0
        while True:
            for name in ("small", "files"):
                cache = manager.get_cache(name)
                for _ in range(20):
                    number += 1
                    cache.get_or_set(f"secret {number % 40}", lambda: "value")
                    cache.get(f"secret {number % 7}")
                cache.delete(f"secret {number % 3}")
                try:
                    cache.get_or_set(f"bad {number}", lambda: 1 // 0)
                except ZeroDivisionError:
                    continue
            time.sleep(0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
