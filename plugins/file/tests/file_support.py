"""What the tests of this plugin share: caches on a directory, other processes, and a look at the whole store."""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codomyrmex.cache import Cache, CacheManager
from codomyrmex.cache.backend import kept_until_of
from codomyrmex_cache_file._rows import NO_QUEUE, Place, whole_key
from codomyrmex_cache_file._tables import is_pending


@contextmanager
def cache_at(path: Path | str, clock: Any = None, plugins: Any = None, **settings: Any) -> Iterator[Cache[Any]]:
    """A cache called ``c`` below ``path``."""
    table = {"backend": "file_based", "path": str(path), "serializer": "json", "max_bytes": "16MiB", **settings}
    with CacheManager({"caches": {"c": table}}, clock=clock, environ={}) as manager:
        for name, plugin in (plugins or {}).items():
            manager.register(plugin, name)
        yield manager.get_cache("c")


def directory(path: Path | str) -> Path:
    """Where that cache keeps its files."""
    return Path(path) / "c.cache"


PRELUDE = """
import os, signal, sys, threading, time
sys.path.insert(0, {here!r})
from file_support import *
from codomyrmex.cache import errors
from codomyrmex.cache.errors import *
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def wait_for(word):
    assert sys.stdin.readline().strip() == word
"""


class Child:
    """Another process that runs ``code``; its first argument is in ``sys.argv[1]``."""

    def __init__(self, code: str, *args: Any) -> None:
        prelude = PRELUDE.format(here=str(Path(__file__).parent))
        self.process = subprocess.Popen(
            [sys.executable, "-c", prelude + code, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self._rest = b""

    def line(self, timeout: float = 30.0) -> str:
        """The next line that it says; empty at its end."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the other process says nothing; so far: {self._rest!r}")
            read = os.read(self.process.stdout.fileno(), 65536)
            if not read:
                break
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def lines(self) -> list[str]:
        """All that it says until its end."""
        assert self.process.stdout is not None
        while read := os.read(self.process.stdout.fileno(), 65536):
            self._rest += read
        return self._rest.decode().split("\n")[:-1]

    def tell(self, word: str) -> None:
        """Let `wait_for` in it return."""
        assert self.process.stdin is not None
        os.write(self.process.stdin.fileno(), word.encode() + b"\n")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stopped(self) -> None:
        """Stop it, and return when it stands still."""
        self.kill(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def end(self, code: int | None = 0, timeout: float = 60.0) -> str:
        """Wait for its end; what it wrote to its error output. It must end with ``code``, if one is given."""
        _, errors = self.process.communicate(timeout=timeout)
        text = errors.decode()
        if code is not None:
            assert code == self.process.returncode, text
        return text

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def run(code: str, *args: Any, timeout: float = 60.0) -> list[str]:
    """What another process says that runs ``code`` to its end."""
    with Child(code, *args) as child:
        lines = child.lines()
        child.end(timeout=timeout)
        return lines


def in_fork(work: Callable[[], bytes]) -> bytes:
    """What ``work`` returns in a forked child, which must neither raise nor be ended by a signal."""
    out, into = os.pipe()
    process = os.fork()
    if not process:
        code = 1
        try:
            signal.alarm(60)
            os.write(into, work())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(into)
    with os.fdopen(out, "rb") as file:
        said = file.read()
    _, status = os.waitpid(process, 0)
    assert status == 0, f"the child ended with status {status}"
    return said


def check_file(driver: Any) -> None:
    """All tables of a store agree, and the counts beside them."""
    store = driver._store
    opened = store.opened()
    # Nobody writes meanwhile: the counts would be those of a later moment than the tables.
    store._gate.held(opened.descriptor, lambda: _check_opened(driver, opened))


def _check_opened(driver: Any, opened: Any) -> None:
    store = driver._store
    with opened.env.begin() as transaction:
        entries, places, order, expiry = (
            dict(transaction.cursor(table)) for table in (opened.entries, opened.places, opened.order, opened.expiry)
        )
    specs = store.policy.queues
    by_queue: dict[int, list[Place]] = {index: [] for index in range(len(specs))}
    numbers = set()
    ending = 0
    for key, row in places.items():
        place = Place.unpack(row)
        numbers.add(place.number)
        if place.queue != NO_QUEUE:
            assert key == order[place.order_key]
            by_queue[place.queue].append(place)
        if place.queue != NO_QUEUE and specs[place.queue].ghosts is not None:
            assert key not in entries
            assert (math.inf, 0) == (place.end, place.size)
            continue
        record = entries[key]
        assert len(record) == place.size
        assert (key[0] == 0 or is_pending(record)) is (place.queue == NO_QUEUE)
        kept = kept_until_of(record)
        assert place.end <= kept or math.isnan(kept)
        assert place.ends or kept == math.inf or math.isnan(kept)
        if place.ends:
            ending += 1
            assert key == expiry[place.expiry_key]
        assert not whole_key(row) or len(key) == 511
    assert set(entries) <= set(places)
    assert len(numbers) == len(places)
    assert not numbers or opened.control.last_number >= max(numbers)
    assert sum(map(len, by_queue.values())) == len(order)
    assert ending == len(expiry)
    held = 0
    for index, spec in enumerate(specs):
        count, size = opened.control.counts(index)
        assert len(by_queue[index]) == count
        if spec.ghosts is None:
            held += count
            assert sum(place.size for place in by_queue[index]) == size
    usage = driver.usage()
    assert held == usage.entries
    assert usage.max_entries is None or held <= usage.max_entries
    assert allocated(store.path) <= opened.pages * 4096 * 65 // 64


def allocated(path: Path | str) -> int:
    """Bytes that the data file takes on the disk."""
    return os.stat(os.path.join(path, "data.mdb")).st_blocks * 512
