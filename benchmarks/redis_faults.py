"""How long a call takes to fail when the server, or what lies between, does, and how long the cache takes to work again
afterwards: `python benchmarks/redis_faults.py` prints the table and writes it to results-redis-faults.md.

Real faults on an embedded Valkey, with the default timeout of one second. Needs the test group of dependencies.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "plugins/redis/tests"))

import redis
from proxy import Proxy
from servers import LiveServer, deaf_port, free_port, program_of

from codomyrmex.cache import CacheError, CacheManager

Fault = Callable[["Stage"], contextlib.AbstractContextManager[Any]]


class Stage:
    """A server, a proxy in front of it, and a cache behind that."""

    def __init__(self, server: LiveServer, proxy: Proxy) -> None:
        self.server, self.proxy, self.url = server, proxy, proxy.url
        self.client = server.client()
        self.value: Any = "value"


@contextlib.contextmanager
def refused(stage: Stage) -> Iterator[None]:
    stage.url = f"redis://127.0.0.1:{free_port()}"
    yield


@contextlib.contextmanager
def dropped(stage: Stage) -> Iterator[None]:
    with deaf_port() as port:
        stage.url = f"redis://127.0.0.1:{port}"
        yield


@contextlib.contextmanager
def hung(stage: Stage) -> Iterator[None]:
    with stage.server.paused():
        yield


@contextlib.contextmanager
def killed(stage: Stage) -> Iterator[None]:
    stage.server.kill()
    yield
    stage.server.start()


@contextlib.contextmanager
def proxied(stage: Stage, **changes: Any) -> Iterator[None]:
    before = {name: getattr(stage.proxy, name) for name in changes}
    vars(stage.proxy).update(changes)
    yield
    vars(stage.proxy).update(before)
    stage.proxy.drop()


@contextlib.contextmanager
def set_to(stage: Stage, name: str, value: Any, after: Any) -> Iterator[None]:
    stage.client.config_set(name, value)
    yield
    stage.client.config_set(name, after)


@contextlib.contextmanager
def clients(stage: Stage) -> Iterator[None]:
    with set_to(stage, "maxclients", 1, 1000):
        stage.proxy.drop()
        yield


@contextlib.contextmanager
def replica(stage: Stage) -> Iterator[None]:
    stage.client.replicaof("127.0.0.1", free_port())
    yield
    stage.client.replicaof("NO", "ONE")


@contextlib.contextmanager
def unsaved(stage: Stage) -> Iterator[None]:
    stage.client.config_set("save", "3600 1")
    stage.server.directory.joinpath("dump.rdb").mkdir()
    stage.client.bgsave()
    while stage.client.info("persistence")["rdb_bgsave_in_progress"]:
        time.sleep(0.01)
    yield
    stage.client.config_set("save", "")


@contextlib.contextmanager
def busy(stage: Stage) -> Iterator[None]:
    stage.client.config_set("lua-time-limit", 50)
    endless = stage.server.client()

    def run() -> None:
        with contextlib.suppress(redis.ResponseError, redis.TimeoutError):
            endless.eval("while true do end", 0)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.3)
    yield
    stage.client.script_kill()
    thread.join()


FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "20: refused port": (refused, ("get", "delete")),
    "20: packets vanish": (dropped, ("get", "delete")),
    "15, 20: hung server": (hung, ("get", "set", "delete")),
    "21: killed server": (killed, ("get", "set", "delete")),
    "22: reply cut": (lambda stage: proxied(stage, cut=0), ("get",)),
    "22: garbage": (lambda stage: proxied(stage, garbage=b"\0garbage"), ("get",)),
    "22: connection reset": (lambda stage: proxied(stage, reset=True), ("get",)),
    "22: bytes drip in": (lambda stage: proxied(stage, slice=True, pause=0.05), ("get",)),
    "23: too many clients": (clients, ("get",)),
    "24: memory full": (lambda stage: set_to(stage, "maxmemory", 1, 0), ("set",)),
    "25: value too large": (lambda stage: set_to(stage, "proto-max-bulk-len", "1mb", "512mb"), ("large",)),
    "26: read-only replica": (replica, ("set", "delete")),
    "26: MISCONF": (unsaved, ("set", "delete")),
    "26: BUSY": (busy, ("get", "delete")),
}


def measure(name: str, asynchronous: bool) -> tuple[str, float, float]:
    """The error, the longest of its calls and how long the cache took to work again, in seconds."""
    fault, calls = FAULTS[name]
    valkey = program_of("valkey")
    assert valkey is not None
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        server = LiveServer(valkey, Path(directory))
        server.start()
        stack.callback(server.kill)
        stage = Stage(server, stack.enter_context(Proxy(server.port)))
        if "large" in calls:  # the server closes the connection in the middle: the proxy would lose its last words
            stage.url = server.url
        runner = stack.enter_context(asyncio.Runner())
        manager = stack.enter_context(CacheManager(environ={}))

        def made() -> Callable[[str], Any]:
            cache: Any
            if asynchronous:
                cache = manager.get_async_cache(f"faults{len(manager.list_caches())}", backend="redis", url=stage.url)
            else:
                cache = manager.get_cache(f"faults{len(manager.list_caches())}", backend="redis", url=stage.url)

            def call(what: str) -> Any:
                value = "x" * 3_000_000 if what == "large" else "x" * 100
                arguments = ("key",) if what in {"get", "delete"} else ("key", value, 60)
                found = getattr(cache, "set" if what == "large" else what)(*arguments)

                async def awaited() -> Any:
                    return await found

                return runner.run(awaited()) if asynchronous else found

            return call

        call = made()
        call("set")
        slowest, shown = 0.0, ""
        with fault(stage):
            if fault in (refused, dropped):
                call = made()
            for what in calls:
                start = time.perf_counter()
                try:
                    call(what)
                    raise SystemExit(f"{name}: {what} did not fail")
                except CacheError as error:
                    slowest, shown = max(slowest, time.perf_counter() - start), type(error).__name__
        start = time.perf_counter()
        if fault in (refused, dropped):
            return shown, slowest, 0.0
        while True:
            try:
                call("set")
                return shown, slowest, time.perf_counter() - start
            except CacheError:
                if time.perf_counter() - start > 10:
                    raise


def main() -> None:
    lines = [
        f"# redis when things fail, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "",
        "The numbers are the rows of the reliability table. The slowest of the calls that were tried, with the default "
        "timeout of one second; then the time from the end of the fault to the next set that works.",
        "",
        "| fault | calls | error (of the last) | sync fails after | heals after | async fails after | heals after |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (_, calls) in FAULTS.items():
        cells = [name, ", ".join(calls)]
        for asynchronous in (False, True):
            error, slowest, healed = measure(name, asynchronous)
            if not asynchronous:
                cells.append(error)
            cells += [f"{slowest * 1000:,.1f} ms", f"{healed * 1000:,.1f} ms" if healed else "–"]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    Path(__file__).with_name("results-redis-faults.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
