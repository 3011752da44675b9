"""What is imported, when: nothing at first, then what a cache needs, never what is merely installed."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from build_wheels import hatch
from installing import SHELF, Site, needed_by, plain, run

import codomyrmex.cache

# Whether one of them is installed must not matter: each can be imported in these tests, and does nothing.
OTHERS = ("redis", "lmdb", "msgpack", "ormsgpack", "zstandard", "rich", "typer", "prometheus_client", "opentelemetry")
KINDS = ("backends", "serializers", "eviction", "exporters", "plugins")
REPORT = """
import json, sys
before = set(sys.modules)
{program}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.fixture
def installed(tmp_path: Path) -> Site:
    """A directory with stand-ins for the libraries of all backends, and with a plugin of every kind."""
    site = Site(tmp_path / "site")
    site.add("acme-cache", {kind: {"acme": f"acme_{kind}"} for kind in KINDS})
    for module in (*OTHERS, *(f"acme_{kind}" for kind in KINDS)):
        site.write(module, "")
    site.add("acme-shelf", {"backends": {"shelf": "acme_shelf"}}, acme_shelf=SHELF)
    return site


def imported(program: str, site: Site, **environ: str) -> set[str]:
    """Modules that a fresh interpreter imports for ``program``, beside those that it starts with."""
    return set(json.loads(run(REPORT.format(program=program), site.path, cwd=site.path.parent, environ=environ)))


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def strangers(modules: set[str]) -> set[str]:
    """Those at the top that neither Python itself brings nor we."""
    ours = {"codomyrmex", "codomyrmex_cache_memory"}
    return {name for name in tops(modules) if name not in sys.stdlib_module_names} - ours


def packages_of(distributions: set[str]) -> set[str]:
    """Names under which the distributions are imported."""
    return {
        package
        for package, owners in metadata.packages_distributions().items()
        if distributions & {plain(owner) for owner in owners}
    }


def test_importing_the_package(installed: Site) -> None:
    """`import codomyrmex.cache` brings a table of contents: no other module of ours, no library, nothing slow."""
    found = imported("import codomyrmex.cache", installed)
    assert {"codomyrmex", "codomyrmex.cache"} == {name for name in found if name.startswith("codomyrmex")}
    assert set() == strangers(found)
    assert set() == tops(found) & {"asyncio", "dataclasses", "inspect", "json", "logging", "threading", "tomllib"}


SIMPLE = """
from codomyrmex.cache import get_cache

cache = get_cache()
cache.set("key", 1, ttl=5)
assert cache.get("key") == 1
"""


def test_a_simple_cache(installed: Site) -> None:
    """A cache in memory imports its plugin and what that and the core require: no other library, and no asyncio."""
    found = imported(SIMPLE, installed)
    assert {"codomyrmex_cache_memory", "pluggy", "importlib_metadata"} <= found
    assert strangers(found) <= packages_of(needed_by("codomyrmex-cache-memory"))
    assert set() == tops(found) & {*OTHERS, "asyncio", "logging", "tomllib", "pickle", "sqlite3"}
    assert set() == found & {"codomyrmex.cache._async_cache", "codomyrmex.cache._pytest_plugin"}
    assert set() == {name for name in found if name.startswith("codomyrmex.cache.testing")}


TARGETS = {"codomyrmex_cache_memory", "acme_shelf", *(f"acme_{kind}" for kind in KINDS)}
TARGETS |= {f"codomyrmex.cache._builtins.{name}" for name in ("json", "null", "pickle")}
CHOSEN = """
from contextlib import suppress
from codomyrmex.cache import CacheError, CacheManager

manager = CacheManager({config})
with suppress(CacheError):  # what is chosen may be an empty module
    manager.get_cache("app").set("key", 1)
manager.export_stats()
"""


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, {"codomyrmex_cache_memory"}),
        ({"defaults": {"backend": "null"}}, {"codomyrmex.cache._builtins.null"}),
        ({"defaults": {"backend": "acme"}}, {"acme_backends"}),
        ({"defaults": {"backend": "shelf", "serializer": "acme"}}, {"acme_shelf", "acme_serializers"}),
        ({"defaults": {"backend": "shelf", "serializer": "json"}}, {"acme_shelf", "codomyrmex.cache._builtins.json"}),
        ({"defaults": {"eviction": "acme"}}, {"codomyrmex_cache_memory", "acme_eviction"}),
        ({"plugins": {"enable": ["acme"]}}, {"codomyrmex_cache_memory", "acme_plugins"}),
        ({"exporters": ["acme"]}, {"codomyrmex_cache_memory", "acme_exporters"}),
    ],
)
def test_only_what_is_chosen(installed: Site, config: dict[str, Any], wanted: set[str]) -> None:
    """Of all plugins that are installed, ours among them, those that the config names are imported, and no other."""
    assert wanted == TARGETS & imported(CHOSEN.format(config=config), installed)


def test_asynchronous_views_bring_asyncio(installed: Site) -> None:
    """asyncio is imported by those who need it, and only then."""
    found = imported("from codomyrmex.cache import get_async_cache\nget_async_cache()", installed)
    assert {"asyncio", "codomyrmex.cache._async_cache"} <= found


def test_a_config_file_brings_tomllib(installed: Site) -> None:
    """No file is read, and no reader imported, before somebody names one."""
    path = installed.path.parent / "app.toml"
    path.write_text("[caches.app]\n", "utf-8")
    program = "from codomyrmex.cache import get_cache\nget_cache('app')"
    assert "tomllib" in imported(program, installed, CODOMYRMEX_CACHE_CONFIG=str(path))
    assert "tomllib" not in imported(program, installed)


@pytest.mark.parametrize("name", codomyrmex.cache.__all__)
def test_each_name_alone(name: str, tmp_path: Path) -> None:
    """Whichever public name somebody imports first, it is there."""
    run(f"from codomyrmex.cache import {name}", cwd=tmp_path)


def package(name: str) -> Path:
    """Directory of an installed package."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def modules(name: str) -> dict[str, Path]:
    """Every module of an installed package, by its name."""
    top = package(name)
    return {
        ".".join((name, *path.relative_to(top).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in sorted(top.rglob("*.py"))
    }


EVERY = {**modules("codomyrmex.cache"), **modules("codomyrmex_cache_memory")}


PUBLIC = [name for name in EVERY if not re.search(r"(^|\.)_", name)]


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_module_alone(name: str, tmp_path: Path) -> None:
    """Whichever public module somebody imports first, it can be imported."""
    run(f"import {name}", cwd=tmp_path)


def statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that are carried out at some time: those for type checkers are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from statements(other)
        else:
            yield from statements(node)


def imports(name: str, path: Path) -> set[str]:
    """The modules of the same package that a module imports, at the top or inside of a function."""
    inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        source = importlib.util.resolve_name("." * node.level + (node.module or ""), inside)
        for alias in node.names:
            found.add(f"{source}.{alias.name}" if f"{source}.{alias.name}" in EVERY else source)
    return found & set(EVERY) - {name}


def test_imports_run_downwards() -> None:
    """No module reaches itself through its imports, those inside of functions among them."""
    graph = {name: imports(name, path) for name, path in EVERY.items()}
    assert "codomyrmex.cache._cache" in graph["codomyrmex.cache._manager"]
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(EVERY) == set(order)
    assert len(PUBLIC) > 8


PURE = ("_keys", "_record", "_ttl", "_codec", "_clocks", "_capabilities", "_policies", "_json", "errors", "eviction")


def test_drivers_know_nothing_of_caches() -> None:
    """Neither drivers nor the pure parts reach caches, managers or plugins, however far one follows their imports."""
    graph = {name: imports(name, path) for name, path in EVERY.items()}

    def reached(name: str) -> set[str]:
        return {name}.union(*(reached(other) for other in graph[name]))

    above = {f"codomyrmex.cache.{name}" for name in ("_cache", "_async_cache", "_manager", "_assembly", "_plugins")}
    for name in ("_driver", "_simple", "_null", "backend", "serializers", *PURE):
        assert set() == reached(f"codomyrmex.cache.{name}") & above, name
    assert above & reached("codomyrmex.cache._manager")


OTHER = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "codomyrmex-other"
version = "1.0"

[tool.hatch.build.targets.wheel]
packages = ["src/codomyrmex"]
"""


def test_the_namespace_belongs_to_nobody(tmp_path: Path) -> None:
    """Another distribution may bring `codomyrmex.other`, installed in another place: both can be imported."""
    source = tmp_path / "project" / "src" / "codomyrmex" / "other"
    source.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").write_text(OTHER, "utf-8")
    (source / "__init__.py").write_text("answer = 42\n", "utf-8")
    (tmp_path / "wheels").mkdir()
    wheel = hatch(tmp_path / "project", "wheel", tmp_path / "wheels")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, str(tmp_path / "installed"), str(wheel)], check=True)
    program = "import codomyrmex, codomyrmex.cache, codomyrmex.other\n"
    program += "print(codomyrmex.other.answer, codomyrmex.__file__, codomyrmex.cache.get_cache('app').name)"
    assert "42 None app\n" == run(program, tmp_path / "installed", cwd=tmp_path)


def test_no_distribution_owns_the_namespace() -> None:
    """Of all installed distributions that have files below `codomyrmex`, none makes a package of it."""
    found: dict[str, list[Any]] = {}
    for distribution in metadata.distributions():
        files = [str(file) for file in distribution.files or []]
        if below := [file for file in files if file.startswith("codomyrmex/")]:
            found[distribution.name] = below
    assert "codomyrmex-cache" in found
    assert [] == [name for name, files in found.items() if "codomyrmex/__init__.py" in files]
