"""Random calls of one cache by several threads, recorded; run as a program, it does so in a process of its own.

Every call is recorded with the moments at which it began and ended, by a clock that all processes of the machine share.
A value that somebody set may be seen from the beginning of that call on, one that a factory computed from the beginning
of the factory on. Neither may be seen by a call that began after a change which began later still had ended: for a set
value, later than the end of the call that set it, for a computed one, later than the beginning of its factory.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import json
import os
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from codomyrmex.cache import CacheManager

KEYS = [f"key:{number}" for number in range(6)]
THREADS = 4
TAG = "tag"
now = time.monotonic_ns


@dataclass
class History:
    """What several threads did; a moment is in nanoseconds.

    Attributes:
        sets: Key, value, beginning and end of each call that stored a value.
        removals: Key, beginning and end of each call that removed one.
        factories: Key, value and beginning of each call of a factory.
        reads: Key, what was seen, beginning and end of each call that gave a value.
    """

    sets: list[tuple[str, str, int, int]] = field(default_factory=list)
    removals: list[tuple[str, int, int]] = field(default_factory=list)
    factories: list[tuple[str, str, int]] = field(default_factory=list)
    reads: list[tuple[str, str, int, int]] = field(default_factory=list)

    @classmethod
    def joined(cls, parts: Iterable[dict[str, list[Any]]]) -> History:
        """All histories in one."""
        whole = cls()
        for part in parts:
            for name, records in part.items():
                getattr(whole, name).extend(map(tuple, records))
        return whole

    def impossible(self) -> list[tuple[str, str, int, int]]:
        """The reads that saw what they could not have seen."""
        # Of each value: its key, since when it can be seen, and when it can be overtaken.
        origins = {value: (key, begun, ended) for key, value, begun, ended in self.sets}
        origins |= {value: (key, begun, begun) for key, value, begun in self.factories}
        changes = defaultdict[str, list[tuple[int, int]]](list)
        for key, begun, ended in [(key, begun, ended) for key, _, begun, ended in self.sets] + self.removals:
            changes[key].append((ended, begun))
        orders = {key: _Order(sorted(ends)) for key, ends in changes.items()}
        wrong = []
        for read in self.reads:
            key, value, begun, ended = read
            home, since, overtaken = origins.get(value, ("", 0, 0))
            overtaker = orders[key].latest_before(begun) if key in orders else None
            if home != key or since > ended or (overtaker is not None and overtaker > overtaken):
                wrong.append(read)
        return wrong


class _Order:
    """The changes of one key by their ends."""

    def __init__(self, changes: list[tuple[int, int]]) -> None:
        self._ends = [ended for ended, _ in changes]
        self._latest = list(itertools.accumulate((begun for _, begun in changes), max))

    def latest_before(self, moment: int) -> int | None:
        """The latest beginning among the changes that had ended by then."""
        over = bisect.bisect_left(self._ends, moment)
        return self._latest[over - 1] if over else None


class Worker:
    """One thread's calls.

    Args:
        name: Makes its values its own.
        do: Calls a method of the cache.
        seed: Of its choices.
    """

    def __init__(self, name: str, do: Callable[..., Any], seed: int) -> None:
        self.history = History()
        self._name = name
        self._do = do
        self._random = random.Random(seed)
        self._values = itertools.count()

    def step(self) -> None:
        """One call."""
        key, kind = self._random.choice(KEYS), self._random.random()
        begun = now()
        if kind < 0.35:
            self._load(key, begun)
        elif kind < 0.75:
            self._saw(key, self._do("get", key), begun)
        elif kind < 0.83:
            value = self._value()
            self._do("set", key, value, ttl=10, tags=[TAG])
            self.history.sets.append((key, value, begun, now()))
        elif kind < 0.93:
            self._do("delete", key)
            self.history.removals.append((key, begun, now()))
        elif kind < 0.96:
            seen = self._do("pop", key, None)
            self._saw(key, seen, begun)
            self.history.removals.append((key, begun, now()))
        else:
            if kind < 0.99:
                self._do("invalidate_tags", TAG)
            else:
                self._do("clear")
            self.history.removals += [(one, begun, now()) for one in KEYS]

    def _value(self) -> str:
        return f"{self._name}.{next(self._values)}"

    def _saw(self, key: str, seen: str | None, begun: int) -> None:
        if seen is not None:
            self.history.reads.append((key, seen, begun, now()))

    def _load(self, key: str, begun: int) -> None:
        """Everything that a load may be: short, longer than its lease, failing, behind a timeout, ahead of time."""
        long = self._random.random()
        pause = 0.1 if long < 0.01 else 0.002 * long
        fails = self._random.random() < 0.1
        options: dict[str, Any] = {"ttl": self._random.choice([0.02, 10]), "stale_for": 10, "retry_after": 0.01}
        options |= self._random.choice([{}, {}, {"soft_timeout": 0}, {"soft_timeout": 0.001}, {"refresh_ahead": 0.5}])

        def factory() -> str:
            value = self._value()
            self.history.factories.append((key, value, now()))
            time.sleep(pause)
            if fails:
                raise ZeroDivisionError
            return value

        try:
            seen = self._do("get_or_set", key, factory, tags=[TAG], lease=0.05, **options)
        except ZeroDivisionError:
            return
        self._saw(key, seen, begun)


def run(settings: dict[str, Any], seconds: float, seed: int) -> History:
    """Random calls from several threads, half of them through the asynchronous view."""
    stop = time.monotonic() + seconds
    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("history", **settings)
        view = manager.get_async_cache("history")
        workers: list[Worker] = []

        def work(number: int) -> None:
            with asyncio.Runner() as runner:

                async def awaited(name: str, args: Any, options: Any) -> Any:
                    if name != "get_or_set":
                        return await getattr(view, name)(*args, **options)
                    key, factory = args

                    async def in_task() -> Any:
                        return await asyncio.to_thread(factory)

                    return await view.get_or_set(key, in_task, **options)

                def do(name: str, *args: Any, **options: Any) -> Any:
                    if number % 2:
                        return runner.run(awaited(name, args, options))
                    return getattr(cache, name)(*args, **options)

                worker = Worker(f"{os.getpid()}.{number}", do, seed * THREADS + number)
                workers.append(worker)
                while time.monotonic() < stop:
                    worker.step()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return History.joined(vars(worker.history) for worker in workers)


if __name__ == "__main__":
    task = json.load(sys.stdin)
    json.dump(vars(run(task["settings"], task["seconds"], task["seed"])), sys.stdout)
