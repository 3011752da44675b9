"""Another process that does with a cache what it is told: one line of JSON for each call, one for each answer.

Run as a program it is that process; `Elsewhere` is the side that tells it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


class Elsewhere:
    """The caches of another process, which lives until `close`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def cache(self, settings: dict[str, Any], view: str, namespace: str) -> Any:
        """A cache there; its methods take and return what JSON can say."""
        return _Cache(self, {"settings": settings, "view": view, "namespace": namespace})

    def ask(self, question: dict[str, Any]) -> Any:
        """The answer to one question."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the other process has ended"}')
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0


class _Cache:
    def __init__(self, there: Elsewhere, which: dict[str, Any]) -> None:
        self._there = there
        self._which = which

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            return self._there.ask({**self._which, "call": name, "args": args, "options": options})

        return call


def main() -> None:
    """Answer until nobody asks any more."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "tests"))
    from loading import InRoom, Room

    from codomyrmex.cache import CacheManager

    room, caches = Room(), {}
    with CacheManager(environ={}) as manager:
        for line in sys.stdin:
            question = json.loads(line)
            settings, view = question["settings"], question["view"]
            which = (view, json.dumps(settings))
            try:
                if which not in caches:
                    name = settings["backend"]
                    opened = manager.get_cache(name, **settings)
                    caches[which] = opened if view == "sync" else InRoom(manager.get_async_cache(name), room)
                cache = caches[which].namespace(question["namespace"])
                answer = {"value": getattr(cache, question["call"])(*question["args"], **question["options"])}
            except Exception as error:
                answer = {"error": repr(error)}
            print(json.dumps(answer), flush=True)
        for cache in caches.values():
            cache.close()
    room.close()


if __name__ == "__main__":
    main()
