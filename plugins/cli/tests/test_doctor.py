"""``codomyrmex-cache doctor``."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import CacheConnectionError, CacheManager, hookimpl
from codomyrmex.cache.backend import AsyncBackend, BackendRequest, Capabilities, Finding, ScanPage, process_clock
from codomyrmex_cache_cli._check import check
from codomyrmex_cache_cli._doctor import diagnose, examine

Command = Callable[..., tuple[int, str, str]]
needs_memory = pytest.mark.skipif(
    find_spec("codomyrmex_cache_memory") is None, reason="codomyrmex-cache-memory is not installed"
)

needs_file = pytest.mark.skipif(
    find_spec("codomyrmex_cache_file") is None, reason="codomyrmex-cache-file is not installed"
)


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a config and returns its path."""

    def write(text: str, name: str = "cache.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


Config = Callable[..., Path]


@needs_memory
def test_a_good_config_is_well(command: Command, config: Config) -> None:
    """Every cache is made, answers and keeps an entry; exit code 0."""
    path = config(
        '[caches.one]\nbackend = "in_memory"\nttl = "5m"\n[caches.two]\nbackend = "memory://?max_entries=1"\n'
    )
    code, out, err = command("doctor", path, "--json")
    assert (0, "") == (code, err)
    found = json.loads(out)
    assert (True, str(path), [], []) == (found["ok"], found["config"], found["problems"], found["plugins"])
    assert [("one", "in_memory", True), ("two", "memory", True)] == [
        (row["cache"], row["backend"], row["ok"]) for row in found["caches"]
    ]
    assert all(0 < row["ping_seconds"] < 60 for row in found["caches"])
    code, out, err = command("doctor", path)
    assert (0, "") == (code, err)
    assert "all is well" in out


@needs_memory
def test_a_mistyped_option_is_a_problem_with_a_hint(command: Command, config: Config) -> None:
    """Exit code 1; the other caches are checked all the same."""
    path = config('[caches.bad]\nbackend = "in_memory"\nmax_entrys = 5\n[caches.good]\nbackend = "in_memory"\n')
    code, out, err = command("doctor", path)
    assert (1, "") == (code, err)
    assert "unknown option 'max_entrys'" in out
    assert "Did you mean 'max_entries'?" in out
    assert "1 problem\n" in out
    assert {"bad": False, "good": True} == {one.cache: one.ok for one in diagnose(path).caches}


@needs_file
def test_a_store_of_files_is_checked_end_to_end(command: Command, config: Config, tmp_path: Path) -> None:
    """Where it is and in which state, an entry that comes and goes, and nothing else changed."""
    path = config(f'[caches.app]\nbackend = "file_based"\npath = "{tmp_path}/store"\nserializer = "json"\n')
    code, out, err = command("doctor", path)
    assert (0, "") == (code, err)
    assert f"note: app: {tmp_path}/store/app.cache, which is not there yet" in out
    code, out, _ = command("doctor", path, "--json")
    (row,) = json.loads(out)["caches"]
    assert (0, True, "") == (code, row["ok"], row["detail"])
    assert {"level": "note", "text": "clean: the disk has all of it"} in row["findings"]
    assert (0, "") == command("keys", "app", "--config", path)[:2]


@needs_file
def test_what_was_set_aside_is_a_warning(command: Command, config: Config, tmp_path: Path) -> None:
    """The cache works, so the exit code is 0."""
    path = config(f'[caches.app]\nbackend = "file_based"\npath = "{tmp_path}"\nserializer = "json"\n')
    command("doctor", path)
    (tmp_path / "app.cache" / "damaged.mdb").write_bytes(b"damaged")
    code, out, _ = command("doctor", path)
    assert 0 == code
    assert "warning: app: damaged.mdb" in out


@needs_file
def test_a_directory_that_others_may_write_to_is_a_problem(command: Command, config: Config, tmp_path: Path) -> None:
    """It says how to mend it."""
    path = config(f'[caches.app]\nbackend = "file_based"\npath = "{tmp_path}"\nserializer = "json"\n')
    (tmp_path / "app.cache").mkdir()
    (tmp_path / "app.cache").chmod(0o777)
    code, out, _ = command("doctor", path)
    assert 1 == code
    assert "chmod go-w" in out


def test_findings_of_a_backend_are_shown(manager: CacheManager, bytes_plugin: Any) -> None:
    """Whatever the backend: a problem fails the check, a note and a warning don't."""
    cache = manager.get_cache("app", backend="bytes", serializer="json")
    found = [Finding("note", "one"), Finding("warning", "two")]
    vars(cache._driver)["inspect"] = lambda: found
    result = check(manager, "app")
    assert (True, "", tuple(found)) == (result.ok, result.detail, result.findings)
    found.append(Finding("problem", "three"))
    result = check(manager, "app")
    assert (False, "three", tuple(found)) == (result.ok, result.detail, result.findings)


@pytest.mark.parametrize("backend", ["redis", "file_based"])
def test_a_backend_that_is_missing_is_a_problem_with_the_command_to_install_it(
    command: Command, config: Config, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brackets of the extra are shown as they are: they are no markup."""
    from codomyrmex.cache import _discovery

    table = {key: found for key, found in _discovery.installed().items() if key != ("backends", backend)}
    monkeypatch.setattr(_discovery, "_table", table)
    code, out, err = command("doctor", config(f'[caches.shared]\nbackend = "{backend}"\n'))
    assert (1, "") == (code, err)
    assert f'pip install "codomyrmex-cache[{backend.partition("_")[0]}]"' in out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[cashes.one]\n", "Did you mean 'caches'?"),
        ("[caches.one", "is no TOML"),
        (None, "can't be read"),
    ],
)
def test_a_malformed_config_is_a_problem(command: Command, config: Config, text: str | None, says: str) -> None:
    """It is reported like any other, as JSON too."""
    path = config(text) if text else Path("missing.toml")
    code, out, err = command("doctor", path)
    assert (1, "") == (code, err)
    assert says in out
    code, out, err = command("doctor", path, "--json")
    assert (1, "") == (code, err)
    found = json.loads(out)
    assert (False, 1) == (found["ok"], len(found["problems"]))


def test_the_environment_names_the_config(command: Command, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the doctor looks at what a program would get."""
    path = config('[caches.off]\nbackend = "null"\n')
    monkeypatch.setenv("CODOMYRMEX_CACHE_CONFIG", str(path))
    code, out, _ = command("doctor", "--json")
    found = json.loads(out)
    assert (0, str(path), ["off"]) == (code, found["config"], [one["cache"] for one in found["caches"]])


def test_an_option_in_the_environment_is_checked(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """It overrides the file's, for the doctor as for a program."""
    path = config('[caches.off]\nbackend = "null"\n')
    monkeypatch.setenv("CODOMYRMEX_CACHE__OFF__TTL", "soon")
    assert [(False, True)] == [(one.ok, "'soon'" in one.detail) for one in diagnose(path).caches]


def test_the_defaults_are_checked_as_a_cache_of_their_own(config: Config) -> None:
    """A cache without a table would get them."""
    good = config('[defaults]\nbackend = "null"\n[caches.default]\nbackend = "null"\n')
    assert [("default", True), ("[defaults]", True)] == [(one.cache, one.ok) for one in diagnose(good).caches]
    bad = config('[defaults]\nbackend = "null"\nttl = "-1s"\n[caches.named]\nbackend = "null"\n')
    assert [("named", True), ("[defaults]", False)] == [(one.cache, one.ok) for one in diagnose(bad).caches]


def test_a_pyproject_is_a_config(config: Config) -> None:
    """Its section of this tool is what counts, [defaults] and exporters included."""
    text = '[tool.codomyrmex.cache]\nexporters = ["nowhere"]\n[tool.codomyrmex.cache.defaults]\nbackend = "null"\n'
    text += '[tool.codomyrmex.cache.caches.off]\nbackend = "null"\n'
    diagnosis = diagnose(config(text, "pyproject.toml"))
    assert ["off", "[defaults]"] == [one.cache for one in diagnosis.caches]
    assert [True] == ["no exporter 'nowhere'" in problem for problem in diagnosis.problems]
    assert not diagnosis.ok


def test_blocked_plugins_are_shown_and_no_problem_unless_needed(command: Command, config: Config) -> None:
    """To block a plugin is a decision; a cache that names it is the mistake."""
    path = config('[plugins]\nblock = ["lru"]\n[caches.off]\nbackend = "null"\n')
    code, out, _ = command("doctor", path)
    assert 0 == code
    assert "blocked: lru of eviction" in out
    path = config('[plugins]\nblock = ["null"]\n[caches.off]\nbackend = "null"\n')
    code, out, _ = command("doctor", path)
    assert 1 == code
    assert "it is blocked in" in out


def test_null_is_well_although_it_keeps_nothing(manager: CacheManager) -> None:
    """The off switch is a choice, and the doctor says what it means."""
    manager.get_cache("off", backend="null")
    result = check(manager, "off")
    assert (True, "null") == (result.ok, result.backend)
    assert "turned off" in result.detail


def test_a_round_trip_touches_no_key_of_a_user(manager: CacheManager, bytes_plugin: Any) -> None:
    """Every key that the doctor writes or removes is its own and random, and nothing is left behind."""
    cache = manager.get_cache("app", backend="bytes", serializer="json")
    cache.set("user", "value")
    store = bytes_plugin.store
    before = dict(store.data)
    store.written.clear()
    first, second = check(manager, "app"), check(manager, "app")
    assert (True, True) == (first.ok, second.ok), first.detail
    assert before == store.data
    assert 2 == len(set(store.written)) == len(store.written)
    assert set(store.written) == set(store.removed)
    assert not any("user" in key for key in store.written + store.removed)


def test_a_full_store_is_not_written_to(manager: CacheManager, bytes_plugin: Any) -> None:
    """An entry of the doctor's would push out one of the user's."""
    cache = manager.get_cache("app", backend="bytes", serializer="json", limit=1)
    cache.set("user", "value")
    bytes_plugin.store.written.clear()
    result = check(manager, "app")
    assert (True, [], []) == (result.ok, bytes_plugin.store.written, bytes_plugin.store.removed)
    assert "full" in result.detail


def test_a_store_that_changes_bytes_is_a_problem(manager: CacheManager, bytes_plugin: Any) -> None:
    """What comes back has to be what was set; the reason is the cache's own."""
    manager.get_cache("app", backend="bytes", serializer="json")
    bytes_plugin.store.spoil = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    result = check(manager, "app")
    assert not result.ok
    assert "did not come back" in result.detail
    assert "damaged" in result.detail


@pytest.mark.parametrize("on_error", ["raise", "degrade"])
def test_a_backend_that_is_down_is_a_problem_in_a_cache_that_degrades_too(
    manager: CacheManager, bytes_plugin: Any, on_error: str
) -> None:
    """A cache that goes on without its backend still needs the doctor to say so."""
    manager.get_cache("app", backend="bytes", serializer="json", on_error=on_error)
    bytes_plugin.store.failure = CacheConnectionError("the server refuses")
    result = check(manager, "app")
    assert (False, None) == (result.ok, result.ping_seconds)
    assert "the server refuses" in result.detail


def test_the_first_failure_is_the_one_that_is_told(manager: CacheManager, bytes_plugin: Any) -> None:
    """A replica that takes no writes refuses the clean-up too: the reason is the write's."""
    manager.get_cache("app", backend="bytes", serializer="json")

    store = bytes_plugin.store

    def refuse(key: str, data: bytes = b"") -> None:
        store.data[key] = data
        raise CacheConnectionError("no writes" if data else "no deletes")

    store.set = store.delete = refuse
    result = check(manager, "app")
    assert (False, "no writes") == (result.ok, result.detail)


def test_what_a_failed_write_may_have_left_is_removed(manager: CacheManager, bytes_plugin: Any) -> None:
    """A write whose answer was lost has reached the store perhaps."""
    manager.get_cache("app", backend="bytes", serializer="json")
    store = bytes_plugin.store

    def lose_answer(key: str, data: bytes) -> None:
        store.data[key] = data
        raise CacheConnectionError("no answer")

    store.set = lose_answer
    assert "no answer" == check(manager, "app").detail
    assert {} == store.data


def test_a_fault_of_a_plugin_is_a_problem_and_no_crash(manager: CacheManager, bytes_plugin: Any) -> None:
    """An exception that no plugin may raise is reported as what it is."""
    cache = manager.get_cache("app", backend="bytes", serializer="json")

    def fail(_: object) -> None:
        raise ZeroDivisionError("by zero")

    vars(cache._driver)["get_many"] = fail
    result = check(manager, "app")
    assert not result.ok
    assert "ZeroDivisionError: by zero, which is a fault of the plugin" == result.detail


def test_a_plugin_that_can_not_be_imported_is_a_problem_and_listed_as_failed(
    manager: CacheManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With distribution, version and target."""
    from codomyrmex.cache import _discovery

    broken = _discovery.Found("backends", "broken", "no_such_module_at_all", "broken-dist", "1.2")
    monkeypatch.setattr(_discovery, "_table", {**_discovery.installed(), ("backends", "broken"): (broken,)})
    with CacheManager({"caches": {"app": {"backend": "broken"}}}) as manager:
        diagnosis = examine(manager, None, {})
    assert not diagnosis.ok
    assert "broken-dist 1.2, no_such_module_at_all" in diagnosis.caches[0].detail
    assert [("broken", "failed")] == [(info.name, info.state) for info in diagnosis.plugins]


def test_a_conflict_is_shown_and_no_problem_unless_a_cache_meets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two distributions that claim a name harm only who uses that name."""
    from codomyrmex.cache import _discovery

    two = tuple(_discovery.Found("backends", "twice", "module", f"dist-{number}", "1") for number in (1, 2))
    monkeypatch.setattr(_discovery, "_table", {**_discovery.installed(), ("backends", "twice"): two})
    for backend, ok in (("null", True), ("twice", False)):
        with CacheManager({"caches": {"app": {"backend": backend}}}) as manager:
            diagnosis = examine(manager, None, {})
        assert ok == diagnosis.ok
        assert ["conflict", "conflict"] == [info.state for info in diagnosis.plugins]


class Later(AsyncBackend[bytes]):
    """A driver for asynchronous use only."""

    capabilities = Capabilities(isolated=True, blocking="never")

    def __init__(self) -> None:
        self.now = process_clock
        self.data: dict[str, bytes] = {}
        self.closed = False

    async def get_many(self, keys: Any) -> dict[str, bytes]:
        return {key: self.data[key] for key in keys if key in self.data}

    async def put_many(self, records: Any) -> None:
        self.data.update(records)

    async def remove_many(self, keys: Any) -> dict[str, bytes]:
        return {key: self.data.pop(key) for key in keys if key in self.data}

    async def scan(self, prefix: str, cursor: str | None, limit: int) -> ScanPage[bytes]:
        return ScanPage({key: data for key, data in self.data.items() if key.startswith(prefix)}, None)

    async def swap(self, *_: Any, **__: Any) -> bool:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True


def test_a_backend_for_asynchronous_use_only_is_checked_through_its_own_view(manager: CacheManager) -> None:
    """Same steps, awaited."""
    driver = Later()

    class Plugin:
        @hookimpl
        def create_async_backend(self, request: BackendRequest) -> AsyncBackend[bytes]:
            return driver

    manager.register(Plugin(), "later")
    with pytest.raises(Exception, match="asynchronous only"):
        manager.get_cache("app", backend="later", serializer="json")
    result = check(manager, "app")
    assert (True, "later", "") == (result.ok, result.backend, result.detail)
    assert ({}, True) == (driver.data, driver.closed)


def test_a_delete_that_removes_nothing_is_a_problem(manager: CacheManager, bytes_plugin: Any) -> None:
    """An invalidation that is lost is the worst a cache can do."""
    manager.get_cache("app", backend="bytes", serializer="json")
    bytes_plugin.store.delete = lambda key: None
    result = check(manager, "app")
    assert not result.ok
    assert "did not remove" in result.detail


def test_an_exporter_that_is_not_installed_is_a_problem(config: Config) -> None:
    """At run time it would only be a line in a log."""
    diagnosis = diagnose(config('exporters = ["promeheus"]\n[caches.off]\nbackend = "null"\n'))
    assert (False, True) == (diagnosis.ok, diagnosis.caches[0].ok)
    assert diagnosis.problems[0].startswith("there is no exporter 'promeheus'")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('intervall = "1s"', "Did you mean 'interval'?"),
        ('directoy = "x"', "Did you mean 'directory'?"),
        ("directory = 5", "expected a path"),
    ],
)
def test_a_mistake_in_the_options_of_an_exporter_is_a_problem(
    command: Command, config: Config, table: str, says: str
) -> None:
    """As a program would meet it when it asks for its first cache; every exporter is checked, and none is called."""
    path = config(f'[exporters.top]\n{table}\n[exporters.promeheus]\n[caches.off]\nbackend = "null"\n')
    code, out, _ = command("doctor", path)
    assert (1, True, True) == (code, "exporter 'top'" in out, says in out)
    assert "there is no exporter 'promeheus'" in out
    assert "2 problems" in out


def test_the_exporters_of_a_good_config_are_left_alone(config: Config, tmp_path: Path) -> None:
    """They are made, and not called."""
    shown = tmp_path / "shown"
    path = config(f'[exporters.top]\ninterval = 0.01\ndirectory = "{shown}"\n[caches.off]\nbackend = "null"\n')
    assert diagnose(path).ok
    assert not shown.exists()


def test_a_problem_names_its_cache_once(command: Command, config: Config) -> None:
    """Errors of the core say of which cache they are; other sentences are told."""
    out = command("doctor", config('[caches.app]\nbackend = "nul"\n[caches.off]\nbackend = "null"\n'))[1]
    assert "problem: cache 'app': there is no backend 'nul'" in out
    assert "note: off: stores nothing" in out


def test_problems_are_counted(command: Command, config: Config) -> None:
    """The last line says how many there are."""
    path = config('exporters = ["none"]\n[caches.one]\nbackend = "no"\n[caches.two]\nbackend = "no"\n')
    _, out, _ = command("doctor", path)
    assert "3 problems" == out.splitlines()[-1]
