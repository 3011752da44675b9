"""Plugins of strangers, chosen by name, and what is said of those that are not quite right (SPEC 3)."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from build_wheels import hatch
from installing import SHELF, Site, go_on, refused, rows, run

from codomyrmex.cache import CacheConfigError, CacheConnectionError, CacheError, CachePluginError, hookimpl
from codomyrmex.cache.backend import BackendRequest, SimpleBackend, process_clock

MARK = "from codomyrmex.cache import CacheConnectionError, hookimpl\n\n@hookimpl\n"


PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "acme-cache-shelf"
version = "2.5"
dependencies = ["codomyrmex-cache"]

[project.entry-points."codomyrmex.cache.backends"]
shelf = "acme_cache_shelf.plugin"
"""
CONFIG = '[caches.app]\nbackend = "shelf"\nserializer = "json"\n'
PROGRAM = """
import sys
from codomyrmex.cache import CacheManager

with CacheManager("app.toml") as manager:
    print("acme_cache_shelf" in sys.modules)
    cache = manager.get_cache("app")
    cache.set("key", [1, 2])
    print(cache, cache.get("key"), len(sys.modules["acme_cache_shelf.plugin"].stores["app"]))
    for row in manager.plugins():
        if row.name == "shelf":
            print(row.kind, row.distribution, row.version, row.target, row.editable, row.state)
"""


def test_a_wheel_from_outside(tmp_path: Path) -> None:
    """Whoever builds and installs a distribution chooses its backend by name: not a line of ours knows of it."""
    package = tmp_path / "project" / "src" / "acme_cache_shelf"
    package.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(SHELF, "utf-8")
    (tmp_path / "wheels").mkdir()
    wheel = hatch(tmp_path / "project", "wheel", tmp_path / "wheels")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, str(tmp_path / "installed"), str(wheel)], check=True)
    (tmp_path / "app.toml").write_text(CONFIG, "utf-8")
    printed = run(PROGRAM, tmp_path / "installed", cwd=tmp_path).splitlines()
    assert [
        "False",
        "<Cache 'app' on shelf> [1, 2] 1",
        "backends acme-cache-shelf 2.5 acme_cache_shelf.plugin False loaded",
    ] == printed


@pytest.mark.parametrize(
    ("name", "meant"),
    [("in_memry", "in_memory"), ("in-memory", "in_memory"), ("In_Memory", "in_memory"), ("wroks", "works")],
)
def test_unknown_name(site: Site, name: str, meant: str) -> None:
    """The error lists the names that are installed, and what was probably meant."""
    with site.manager() as manager:
        installed = ", ".join(row.name for row in manager.plugins() if row.kind == "backends")
        error = refused(manager, name)
        assert f"there is no backend {name!r}; installed: {installed}. Did you mean {meant!r}?" in str(error)
        assert "works" in installed
        assert "pip install" not in str(error)


@pytest.mark.parametrize("targets", [("acme_one:plugin", "acme_two:plugin"), ("acme_one", "acme_two")])
def test_two_claim_one_name(site: Site, targets: tuple[str, str]) -> None:
    """The error names both and imports neither; the target of either, written in place of the name, picks it."""
    modules = ("acme_one", "acme_two")
    for module, target in zip(modules, targets, strict=True):
        site.add(module.replace("_", "-"), {"backends": {"acme": target}})
        site.write(module, f"{SHELF}\nimport sys\nplugin = sys.modules[__name__]\n")
    with site.manager() as manager:
        error = refused(manager, "acme")
        for module, target in zip(modules, targets, strict=True):
            assert f"{module.replace('_', '-')} 1.0, {target}" in str(error)
            assert module not in sys.modules
        assert {
            ("acme-one", "conflict", f"also claimed by acme-two 1.0, {targets[1]}"),
            ("acme-two", "conflict", f"also claimed by acme-one 1.0, {targets[0]}"),
        } == {(row.distribution, row.state, row.detail) for row in rows(manager, "acme")}
        _, _, advice = str(error).partition("such as ")
        assert advice.strip("'") in targets
        for module, target in zip(modules, targets, strict=True):
            manager.get_cache(module, backend=target, serializer="json").set("key", 1)
            assert [module] == list(sys.modules[module].stores)


@pytest.mark.parametrize(
    ("source", "target", "cause"),
    [
        ("import no_such_module", "acme_broken", ModuleNotFoundError),
        ("def broken(:", "acme_broken", SyntaxError),
        ("1 / 0", "acme_broken", ZeroDivisionError),
        ("plugin = None", "acme_broken:plugin.hooks", AttributeError),
        ("", "acme_gone", ModuleNotFoundError),
        ("", "acme broken", ModuleNotFoundError),
        ("", "", ValueError),
    ],
)
def test_import_failure(site: Site, source: str, target: str, cause: type[Exception]) -> None:
    """The error names distribution, version and target, and is chained to the cause; the table shows it as well."""
    site.add("acme-broken", {"backends": {"broken": target}}, version="1.5", acme_broken=source)
    with site.manager() as manager:
        error = refused(manager, "broken")
        assert f"backend 'broken' (acme-broken 1.5, {target}) can't be imported: {cause.__name__}" in str(error)
        assert cause is type(error.__cause__)
        (row,) = rows(manager, "broken")
        assert "failed" == row.state
        assert row.detail == f"{cause.__name__}: {error.__cause__}"


def test_a_plugin_that_is_mended(site: Site) -> None:
    """Whoever asks again for a plugin that failed gets what is there by then."""
    site.add("acme-broken", {"backends": {"broken": "acme_broken"}}, acme_broken="1 / 0")
    with site.manager() as manager:
        refused(manager, "broken")
        site.write("acme_broken", SHELF)
        assert manager.get_cache("app", backend="broken", serializer="json").set("key", 1)
        assert ["loaded"] == [row.state for row in rows(manager, "broken")]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"codomyrmex_cache_api = 2\n{SHELF}", "was written for version 2 of the hooks, this is version 1"),
        (f"{SHELF}\n@hookimpl\ndef create_bakend(request): ...\n", "unknown hook 'create_bakend'"),
        (f"{MARK}def create_backend(path): ...\n", "Argument(s) {'path'}"),
        (f"{SHELF}\n@hookimpl\ndef on_evict(event, why): ...\n", "Argument(s) {'why'}"),
    ],
    ids=["another version", "unknown hook", "wrong argument", "wrong argument of another hook"],
)
def test_a_plugin_that_does_not_fit(site: Site, source: str, said: str) -> None:
    """Hooks of another version, of an unknown name or with unknown arguments are found out before any is called."""
    site.add("acme-misfit", {"backends": {"misfit": "acme_misfit"}}, acme_misfit=source)
    with site.manager() as manager:
        for _ in range(2):  # a plugin that was refused is not half registered
            error = refused(manager, "misfit")
            assert "backend 'misfit' (acme-misfit 1.0, acme_misfit) " in str(error)
            assert said in str(error)
        assert ["failed"] == [row.state for row in rows(manager, "misfit")]


def test_a_plugin_that_says_its_version(site: Site) -> None:
    """The version of the hooks that this is fits."""
    site.add("acme-now", {"backends": {"now": "acme_now"}}, acme_now=f"codomyrmex_cache_api = 1\n{SHELF}")
    with site.manager() as manager:
        assert manager.get_cache("app", backend="now", serializer="json").set("key", 1)


OTHERS = ["works", "codomyrmex-cache-memory"]


@pytest.mark.parametrize("backend", ["acme", "acme_plugin:plugin", "acme_plugin : plugin", "acme_plugin:other"])
@pytest.mark.parametrize(
    ("plugins", "environ", "said"),
    [
        ({"block": ["acme"]}, {}, "blocked in the config"),
        ({"block": ["acme-cache"]}, {}, "blocked in the config"),
        ({"block": ["acme-cache"], "allow": ["acme-cache"]}, {}, "blocked in the config"),
        ({"allow": OTHERS}, {}, "not among those allowed in the config"),
        ({}, {"CODOMYRMEX_CACHE_BLOCK": "other,acme"}, "blocked in CODOMYRMEX_CACHE_BLOCK"),
        ({}, {"CODOMYRMEX_CACHE_BLOCK": "acme-cache"}, "blocked in CODOMYRMEX_CACHE_BLOCK"),
        ({"allow": ["acme"]}, {"CODOMYRMEX_CACHE_BLOCK": "acme"}, "blocked in CODOMYRMEX_CACHE_BLOCK"),
        ({}, {"CODOMYRMEX_CACHE_ALLOW": ",".join(OTHERS)}, "not among those allowed in CODOMYRMEX_CACHE_ALLOW"),
    ],
)
def test_blocked(site: Site, plugins: dict[str, Any], environ: dict[str, str], said: str, backend: str) -> None:
    """A plugin that is blocked or not allowed is never imported, however it is named; the error says where."""
    site.add("acme-cache", {"backends": {"acme": "acme_plugin:plugin"}}, acme_plugin="raise SystemExit('imported')")
    if "allow" in plugins:
        plugins = {**plugins, "allow": [*plugins["allow"], *OTHERS]}
    with site.manager({"plugins": plugins}, **environ) as manager:
        assert f" is not loaded: it is {said}" in str(refused(manager, backend))
        assert "acme_plugin" not in sys.modules
        (row,) = rows(manager, "acme")
        assert ("blocked", f"it is {said}") == (row.state, row.detail)


@pytest.mark.parametrize(
    ("kind", "hook", "options", "wanted"),
    [
        ("backends", "create_backend", {"backend": "bad"}, "Backend"),
        ("backends", "create_async_backend", {"backend": "bad"}, "AsyncBackend"),
        ("serializers", "create_serializer", {"backend": "works", "serializer": "bad"}, "Serializer or Transform"),
        ("eviction", "create_eviction_policy", {"backend": "in_memory", "eviction": "bad"}, "EvictionPolicy"),
    ],
)
@pytest.mark.parametrize("returned", ["{'s3cr3t'}", "None", "object"])
def test_wrong_type(site: Site, kind: str, hook: str, options: dict[str, str], wanted: str, returned: str) -> None:
    """What a hook returns is checked at once; the error says what it is and what was expected, and not its value."""
    site.add("acme-bad", {kind: {"bad": "acme_bad"}}, acme_bad=f"{MARK}def {hook}(request): return {returned}\n")
    with site.manager() as manager:
        error = refused(manager, **options)
        name = {"{'s3cr3t'}": "set", "None": "NoneType", "object": "type"}[returned]
        assert str(error).endswith(f"'bad': {hook} returned a {name}, expected {wanted}")


@pytest.mark.parametrize(
    ("kind", "hook", "options"),
    [
        ("backends", "create_backend", {"backend": "bad"}),
        ("serializers", "create_serializer", {"backend": "works", "serializer": "bad"}),
        ("eviction", "create_eviction_policy", {"backend": "in_memory", "eviction": "bad"}),
    ],
)
def test_a_hook_that_raises(site: Site, kind: str, hook: str, options: dict[str, str]) -> None:
    """A foreign error is chained under one of ours, which names plugin and hook, and shows no secret of it."""
    source = f"{MARK}def {hook}(request): raise OSError('s3cr3t')\n"
    site.add("acme-bad", {kind: {"bad": "acme_bad"}}, acme_bad=source)
    with site.manager() as manager:
        error = refused(manager, **options)
        assert str(error).endswith(f"'bad' failed in {hook}: OSError")
        assert isinstance(error.__cause__, OSError)


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("raise CacheConnectionError('no answer')", CacheConnectionError, "no answer"),
        ("raise request.refuse('too large')", CacheConfigError, "cache 'app' (bad): too large"),
    ],
)
def test_a_hook_that_raises_one_of_our_errors(site: Site, source: str, kind: type[CacheError], message: str) -> None:
    """It comes out as it is, with the names of the cache and the backend."""
    site.add("acme-bad", {"backends": {"bad": "acme_bad"}}, acme_bad=f"{MARK}def create_backend(request): {source}\n")
    with site.manager() as manager:
        with pytest.raises(kind) as caught:
            manager.get_cache("app", backend="bad")
        assert message == str(caught.value)
        assert ("app", "bad") == (caught.value.cache, caught.value.backend)
        go_on(manager)


def test_nobody_else_is_asked(site: Site) -> None:
    """A plugin that is loaded has no part in making what was asked of another one."""
    site.add("acme-greedy", {"backends": {"greedy": "acme_greedy"}}, acme_greedy=SHELF)
    with site.manager() as manager:
        manager.get_cache("own", backend="greedy", serializer="json")
        go_on(manager)
        assert ["own"] == list(sys.modules["acme_greedy"].stores)


class Recorded:
    """A plugin that the program itself brings."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @hookimpl
    def create_backend(self, request: BackendRequest) -> SimpleBackend:
        self.asked.append(request.name)
        return SimpleBackend(DictStore(), now=process_clock)


class DictStore(dict[str, bytes]):
    def keys(self, prefix: str = "") -> list[str]:  # type: ignore[override]
        return [key for key in list(self) if key.startswith(prefix)]

    def set(self, key: str, data: bytes) -> None:
        self[key] = data

    def delete(self, key: str) -> None:
        self.pop(key, None)

    def close(self) -> None:
        self.clear()


def test_register(site: Site) -> None:
    """A plugin needs no entry point: an object or a module works under the name that it is registered by."""
    plugin = Recorded()
    module = types.ModuleType("frozen")
    exec(SHELF, vars(module))
    with site.manager() as manager:
        manager.register(plugin, name="mine")
        manager.register(module, name="frozen")
        for name in ("mine", "frozen"):
            cache = manager.get_cache(name, backend=name, serializer="json")
            cache.set("key", [name])
            assert [name] == cache.get("key")
            backends = [row for row in rows(manager, name) if row.kind == "backends"]
            assert [(None, None, None, "registered")] == [
                (row.distribution, row.version, row.editable, row.state) for row in backends
            ]
        go_on(manager)
        assert ["mine"] == plugin.asked


def test_registered_wins(site: Site) -> None:
    """A registered plugin takes the place of an installed one of its name, which is not imported."""
    plugin = Recorded()
    with site.manager() as manager:
        manager.register(plugin, name="works")
        manager.get_cache("app", backend="works", serializer="json").set("key", 1)
        assert ["works"] == plugin.asked
        assert "acme_works" not in sys.modules
    with site.manager() as manager:
        go_on(manager)
        assert ["works"] == plugin.asked


def unmarked(self: object, request: object) -> None: ...


@hookimpl
def marked(self: object, request: object) -> None: ...


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (object(), "implements no hook; mark one of create_backend, "),
        (type("Unmarked", (), {"create_backend": unmarked})(), "implements no hook"),
        (type("Old", (Recorded,), {"codomyrmex_cache_api": 0})(), "was written for version 0 of the hooks"),
        (type("Mistyped", (Recorded,), {"create_bakend": marked})(), "unknown hook 'create_bakend'"),
    ],
    ids=["nothing", "unmarked", "another version", "mistyped"],
)
def test_registering_what_does_not_fit(site: Site, plugin: object, said: str) -> None:
    """It is refused at once; the name stays free for one that fits."""
    with site.manager() as manager:
        with pytest.raises(CachePluginError, match="plugin 'mine' ") as caught:
            manager.register(plugin, name="mine")
        assert said in str(caught.value)
        manager.register(Recorded(), name="mine")
        manager.get_cache("app", backend="mine", serializer="json").set("key", 1)
        go_on(manager)


def test_registering_a_name_twice(site: Site) -> None:
    """The first stays."""
    first, second = Recorded(), Recorded()
    with site.manager() as manager:
        manager.register(first, name="mine")
        with pytest.raises(CachePluginError, match="'mine' is already in use"):
            manager.register(second, name="mine")
        manager.get_cache("app", backend="mine", serializer="json")
        assert [["mine"], []] == [first.asked, second.asked]


@pytest.mark.parametrize(
    ("plugins", "said"), [({"block": ["mine"]}, "blocked in"), ({"allow": OTHERS}, "not among those allowed in")]
)
def test_registering_what_is_blocked(site: Site, plugins: dict[str, Any], said: str) -> None:
    """The lists of the config hold for what the program brings as well."""
    with site.manager({"plugins": plugins}) as manager:
        with pytest.raises(CachePluginError, match=f"'mine' can't be registered: it is {said} the config"):
            manager.register(Recorded(), name="mine")
        go_on(manager)
