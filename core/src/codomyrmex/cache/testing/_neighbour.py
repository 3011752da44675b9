"""`Neighbour`: another process that uses the same store, one call at a time, under the same injected clock."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .._manager import CacheManager
from ._clock import ManualClock

_PROGRAM = f"from {__name__} import serve; serve()"


class Neighbour:
    """A child process with a cache of its own over a shared store; ended by `close`.

    Args:
        settings_of_cache: The settings of the cache, whose backend is installed; picklable.
        name: The cache's name.
        clock: What time it is here, and so there.
    """

    def __init__(self, settings_of_cache: Mapping[str, Any], name: str, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._send((dict(settings_of_cache), name))

    def follow(self, clock: Callable[[], float]) -> None:
        """Go by another clock from now on. One of a run that is over may show a time at which all is expired."""
        self.clock = clock
        self.call((), "follow")

    def reopen(self) -> None:
        """Close the cache there, and open it again."""
        self.call((), "reopen")

    def call(self, namespaces: tuple[str, ...], name: str, *args: Any, **options: Any) -> Any:
        """What a method of the cache returns there, or of one of its namespaces; raises what it raises."""
        self._send((self.clock(), namespaces, name, args, options))
        if self._process.stdout is None:  # pragma: no cover - there is a pipe
            raise AssertionError
        try:
            result, error = pickle.load(self._process.stdout)
        except EOFError:
            raise AssertionError(f"the other process has ended: {self._process.wait(timeout=60)}") from None
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """End the process, which closes its cache first."""
        self._process.communicate(timeout=60)

    def _send(self, message: object) -> None:
        if self._process.stdin is None:  # pragma: no cover - there is a pipe
            raise AssertionError
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()


class Remote:
    """A view of a neighbour's cache, with the methods of `Cache`.

    Args:
        neighbour: Where the cache is.
        namespaces: Prefixes that lead to the view.
    """

    def __init__(self, neighbour: Neighbour, namespaces: tuple[str, ...] = ()) -> None:
        self._neighbour = neighbour
        self._namespaces = namespaces

    def namespace(self, prefix: str) -> Remote:
        """See `Cache.namespace`."""
        return Remote(self._neighbour, (*self._namespaces, prefix))

    def __getitem__(self, key: str) -> Any:
        return self._neighbour.call(self._namespaces, "__getitem__", key)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **options: self._neighbour.call(self._namespaces, name, *args, **options)


def serve() -> None:
    """What the child process does."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing that prints may come between the answers
    settings, name = pickle.load(requests)
    clock = ManualClock()

    def opened() -> CacheManager:
        return CacheManager({"caches": {name: settings}}, clock=clock, environ={})

    manager = opened()
    try:
        while True:
            try:
                now, namespaces, method, args, options = pickle.load(requests)
            except EOFError:
                return
            clock.advance(now - clock())
            result = error = None
            try:
                if method == "reopen":
                    manager.close()
                    manager = opened()
                elif method != "follow":
                    cache = manager.get_cache(name)
                    for prefix in namespaces:
                        cache = cache.namespace(prefix)
                    result = getattr(cache, method)(*args, **options)
            except Exception as problem:
                error = problem
            pickle.dump((result, error), answers)
            answers.flush()
    finally:
        manager.close()
