"""A process in which many callers ask for one value at once; run as a program by test_one_load.py.

It is told what to do by one line of JSON, says "ready", begins when the next line comes, and answers with one line.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from codomyrmex.cache import CacheManager

LONG = 0.3
"""Seconds that a load takes."""


def main() -> None:
    """Do what the first line says."""
    task = json.loads(sys.stdin.readline())
    calls = Path(task["calls"])

    def factory() -> int:
        """Note the call, and take a while; the first one of all may have to die of it."""
        with calls.open("a", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(LONG)
        if task["first_dies"] and calls.read_text(encoding="ascii") == f"{os.getpid()}\n":
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    async def in_task() -> int:
        return await asyncio.to_thread(factory)

    with CacheManager(environ={}) as manager:
        values: list[Any]
        count = task["callers"]
        if task["view"] == "sync":
            cache = manager.get_cache("crowd", **task["settings"])
            cache.get("warm")
            barrier = threading.Barrier(count)

            def call() -> Any:
                barrier.wait()
                return cache.get_or_set("key", factory)

            say("ready")
            start = time.monotonic()
            with ThreadPoolExecutor(count) as pool:
                values = [future.result() for future in [pool.submit(call) for _ in range(count)]]
        else:

            async def tasks() -> list[Any]:
                cache = manager.get_async_cache("crowd", **task["settings"])
                await cache.get("warm")
                await asyncio.to_thread(say, "ready")
                return await asyncio.gather(*(cache.get_or_set("key", in_task) for _ in range(count)))

            start = time.monotonic()
            values = asyncio.run(tasks())
        answer = {"values": sorted(set(values)), "count": len(values), "seconds": time.monotonic() - start}
    print(json.dumps(answer), flush=True)


def say(line: str) -> None:
    """Answer with a line, and wait for one."""
    print(line, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
