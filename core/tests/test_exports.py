"""Exporters: named in config, called on demand and at an interval by one thread, and never in anybody's way."""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from loading import until

from codomyrmex.cache import CacheConfigError, CacheManager, CachePluginError, CacheStats, _exports, hookimpl

SOON = "20ms"


class Exporter:
    """Notes what it is given; fails or hangs when told to."""

    def __init__(self) -> None:
        self.seen: list[dict[str, CacheStats]] = []
        self.options: list[Mapping[str, Any]] = []
        self.threads: set[threading.Thread] = set()
        self.fails: BaseException | None = None
        self.go = threading.Event()
        self.go.set()
        self.snapshots: Mapping[str, CacheStats] = {}

    @hookimpl
    def export_stats(self, snapshots: Mapping[str, CacheStats], options: Mapping[str, Any]) -> None:
        self.snapshots = snapshots
        self.seen.append(dict(snapshots))
        self.options.append(options)
        self.threads.add(threading.current_thread())
        if self.fails is not None:
            raise self.fails
        self.go.wait(30)


class Makes:
    """Makes managers that have exporters, and closes them."""

    def __init__(self) -> None:
        self._made: list[CacheManager] = []

    def __call__(self, exporters: Any, **plugins: Any) -> CacheManager:
        manager = CacheManager({"exporters": exporters}, environ={})
        for name, plugin in plugins.items():
            manager.register(plugin, name)
        self._made.append(manager)
        return manager

    def close(self) -> None:
        for manager in self._made:
            manager.close()


@pytest.fixture
def make() -> Iterator[Makes]:
    """Managers for one test."""
    makes = Makes()
    yield makes
    makes.close()


def exporter_threads() -> list[threading.Thread]:
    """Those that are there now."""
    return [thread for thread in threading.enumerate() if thread.name == "codomyrmex-cache-exporter"]


def test_on_demand(make: Makes) -> None:
    """One without an interval is called when it is asked for, with its options, and never otherwise."""
    one = Exporter()
    manager = make({"one": {"interval": "none", "address": "here"}}, one=one)
    manager.get_cache("app").set("key", 1)
    manager.export_stats()
    assert [(seen["app"].sets, seen["app"].backend) for seen in one.seen] == [(1, "in_memory")]
    assert one.options == [{"address": "here"}]
    assert exporter_threads() == []
    manager.close()
    assert len(one.seen) == 1


def test_at_an_interval(make: Makes) -> None:
    """All managers' exporters share one thread, which ends with the last of them; `close` exports once more."""
    exporters = [Exporter() for _ in range(4)]
    table = {"a": {"interval": SOON}, "b": {"interval": SOON}}
    managers = [make(table, a=a, b=b) for a, b in (exporters[:2], exporters[2:])]
    assert exporter_threads() == []
    for number, manager in enumerate(managers):
        manager.get_cache(f"app{number}").set("key", 1)
    until(lambda: all(len(one.seen) > 3 for one in exporters), "exports at an interval")
    assert len(exporter_threads()) == 1
    assert len({thread for one in exporters for thread in one.threads}) == 1
    managers[0].get_cache("app0").set("key", 2)
    managers[0].close()
    assert exporters[0].seen[-1]["app0"].sets == 2
    managers[1].close()
    until(lambda: exporter_threads() == [], "the end of the thread")


def test_a_list_of_names(make: Makes) -> None:
    """Those of a list are called at once, once a minute, and when the manager closes."""
    one = Exporter()
    manager = make(["one"], one=one)
    assert [info.interval for info in manager.exporters()] == [60.0]
    assert one.seen == []
    manager.get_cache("app")
    until(lambda: len(one.seen) == 1, "the first export")
    manager.close()
    assert len(one.seen) == 2


def test_the_interval_begins_anew(make: Makes) -> None:
    """A manager that is asked again for a cache doesn't begin another timetable."""
    one = Exporter()
    manager = make({"one": {"interval": "1h"}}, one=one)
    for name in ("a", "b", "a"):
        manager.get_cache(name)
    assert len(exporter_threads()) == 1
    until(lambda: one.seen, "the first export")
    time.sleep(0.05)
    assert len(one.seen) == 1


def test_snapshots_are_live(make: Makes) -> None:
    """An exporter may keep what it is given: it always shows what is so now, and nothing once the manager is closed."""
    one = Exporter()
    manager = make({"one": {"interval": "none"}}, one=one)
    manager.export_stats()
    live = one.snapshots
    assert dict(live) == {}
    assert len(live) == 0
    cache = manager.get_cache("app")
    cache.set("key", 1)
    assert live["app"].sets == 1
    cache.set("key", 2)
    assert live["app"].sets == 2
    assert list(live) == ["app"]
    with pytest.raises(KeyError):
        live["other"]
    manager.close()
    assert dict(live) == {}


def test_they_keep_no_manager_alive() -> None:
    """A manager that nobody holds any more is forgotten."""
    one = Exporter()
    manager = CacheManager({"exporters": {"one": {"interval": "none"}}}, environ={})
    manager.register(one, "one")
    manager.get_cache("app")
    manager.export_stats()
    del manager
    gc.collect()
    assert dict(one.snapshots) == {}


@pytest.mark.parametrize("error", [OSError("s3cr3t"), SystemExit(1)])
def test_one_that_raises(make: Makes, caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    """It is counted every time and logged once per outage, and the others go on."""
    bad, good = Exporter(), Exporter()
    bad.fails = error
    table = {"bad": {"interval": SOON}, "good": {"interval": SOON}}
    manager = make(table, bad=bad, good=good)
    manager.get_cache("app")
    until(lambda: len(bad.seen) > 3 and len(good.seen) > 3, "exports")
    first, second = manager.exporters()
    assert first.failures >= 3
    assert (first.error, first.hanging) == (type(error).__name__, False)
    assert (second.failures, second.error) == (0, "")
    assert [record.getMessage() for record in caplog.records] == ["exporter 'bad' failed"]
    bad.fails = None
    until(lambda: manager.exporters()[0].error == "", "recovery")


def test_one_that_hangs(make: Makes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted and left alone until it comes back, and the others go on in a new thread."""
    monkeypatch.setattr(_exports, "PATIENCE", 0.1)
    caplog.set_level(logging.INFO)
    bad, good = Exporter(), Exporter()
    bad.go.clear()
    table = {"bad": {"interval": SOON}, "good": {"interval": SOON}}
    manager = make(table, bad=bad, good=good)
    manager.get_cache("app")
    until(lambda: manager.exporters()[0].hanging, "patience to end")
    before = len(good.seen)
    until(lambda: len(good.seen) > before + 3, "the others to go on")
    assert len(bad.seen) == 1
    assert (manager.exporters()[0].failures, manager.exporters()[1].failures) == (1, 0)
    manager.export_stats()
    assert len(bad.seen) == 1
    bad.go.set()
    until(lambda: len(bad.seen) > 3, "it to come back")
    assert not manager.exporters()[0].hanging
    until(lambda: len(exporter_threads()) == 1, "its thread to end")
    assert [record.getMessage() for record in caplog.records] == [
        "exporter 'bad' has not come back for 0.1 seconds; it is left alone",
        "exporter 'bad' has come back",
    ]


def test_close_waits_for_nobody(make: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that hangs in its last call costs a second."""
    monkeypatch.setattr(_exports, "FAREWELL", 0.1)
    one = Exporter()
    one.go.clear()
    manager = make({"one": {"interval": "1h"}}, one=one)
    one.go.set()
    manager.get_cache("app")
    until(lambda: one.seen, "the first export")
    one.go.clear()
    start = time.monotonic()
    manager.close()
    assert time.monotonic() - start < 3 * 0.1 + 1
    until(lambda: len(one.seen) == 2, "the last export")
    one.go.set()


def test_close_during_an_export(make: Makes) -> None:
    """The last export comes after the one that is under way."""
    one = Exporter()
    one.go.clear()
    manager = make({"one": {"interval": "1h"}}, one=one)
    manager.get_cache("app").set("key", 1)
    until(lambda: one.seen, "the first export")
    manager.get_cache("app").set("key", 2)
    threading.Timer(0.1, one.go.set).start()
    manager.close()
    assert [seen["app"].sets for seen in one.seen][1:] == [2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_fork(make: Makes) -> None:
    """A child exports by itself."""
    one = Exporter()
    manager = make({"one": {"interval": SOON}}, one=one)
    manager.get_cache("app")
    until(lambda: one.seen, "the first export")
    child = os.fork()
    if not child:  # pragma: no cover - in another process
        before = len(one.seen)
        deadline = time.monotonic() + 20
        while len(one.seen) <= before + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        os._exit(0 if len(one.seen) > before + 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_plugins_that_take_less(make: Makes) -> None:
    """A hook may leave out what it doesn't need."""
    seen: list[object] = []

    class Old:
        @hookimpl
        def export_stats(self, snapshots: Any) -> None:
            seen.append(dict(snapshots))

    class Bell:
        @hookimpl
        def export_stats(self) -> None:
            seen.append("bell")

    make({"old": {"interval": "none"}, "bell": {"interval": "none"}}, old=Old(), bell=Bell()).export_stats()
    assert seen == [{}, "bell"]


@pytest.mark.parametrize(
    ("exporters", "message"),
    [
        ("log", "the config: exporters must be a list of names"),
        ([1], "the config: exporters must be a list of names"),
        ({"log": "10s"}, "the config, exporters: log must be a table of options, got a str"),
        ({"log": {"interval": "often"}}, "the config, exporter 'log', option 'interval': got 'often'"),
        ({"log": {"interval": 0}}, "the config, exporter 'log', option 'interval': got 0"),
    ],
)
def test_mistakes(exporters: Any, message: str) -> None:
    """The error says where and what."""
    with pytest.raises(CacheConfigError) as caught:
        CacheManager({"exporters": exporters}, environ={})
    assert str(caught.value).startswith(message)


def test_a_missing_one(make: Makes) -> None:
    """The first cache isn't opened, and the error says what is there; a manager that doesn't export doesn't care."""
    manager = make(["nothing"])
    for ask in (lambda: manager.get_cache("app"), manager.export_stats, manager.exporters):
        with pytest.raises(CachePluginError, match="there is no exporter 'nothing'; installed: log"):
            ask()
    assert manager.stats() == {}
    with CacheManager({"exporters": ["nothing"]}, environ={}, exporting=False) as silent:
        assert silent.get_cache("app").set("key", 1)
        assert silent.exporters() == []


def test_log(make: Makes, caplog: pytest.LogCaptureFixture) -> None:
    """One line of JSON for each cache, without keys."""
    caplog.set_level(logging.INFO)
    manager = make({"log": {"interval": "none", "logger": "mine"}})
    cache = manager.get_cache("app", max_entries=5)
    cache.set("secret key", 1)
    cache.get("secret key")
    cache.get("other")
    manager.get_cache("second")
    manager.export_stats()
    assert [record.name for record in caplog.records] == ["mine"] * 2
    first, second = (json.loads(record.getMessage()) for record in caplog.records)
    assert (first["cache"], first["backend"], first["hits"], first["hit_rate"]) == ("app", "in_memory", 1, 0.5)
    assert (first["max_entries"], second["cache"], second["sets"]) == (5, "second", 0)
    assert "secret" not in caplog.text


def test_mistakes_in_options(make: Makes) -> None:
    """Options that an exporter declares are checked before a cache is opened."""
    message = (
        "the config, exporter 'log': unknown option 'levle'; allowed: interval, level, logger. Did you mean 'level'?"
    )
    manager = make({"log": {"levle": "info"}})
    with pytest.raises(CacheConfigError) as caught:
        manager.get_cache("app")
    assert str(caught.value) == message
    assert manager.stats() == {}


def test_on_demand_is_bounded(make: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks waits no longer than patience for one that hangs, and the others have their turn."""
    monkeypatch.setattr(_exports, "PATIENCE", 0.2)
    bad, good = Exporter(), Exporter()
    bad.go.clear()
    manager = make({"bad": {"interval": "none"}, "good": {"interval": "none"}}, bad=bad, good=good)
    start = time.monotonic()
    manager.export_stats()
    assert time.monotonic() - start < 3 * 0.2
    assert len(good.seen) == 1
    until(lambda: manager.exporters()[0].hanging, "patience to end")
    bad.go.set()
    until(lambda: not manager.exporters()[0].hanging, "it to come back")
