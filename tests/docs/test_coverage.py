"""Whatever exists is documented, and what is documented exists."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import reference
from distributions import examples, ours
from pages import ROOT, pages

from codomyrmex.cache import Cache, CacheManager, CacheStats, Explanation, PluginInfo, _config, _pytest_plugin, errors
from codomyrmex.cache._builtins.log import LogOptions
from codomyrmex.cache._config import CacheOptions
from codomyrmex.cache._discovery import KINDS
from codomyrmex.cache._lookup import Found
from codomyrmex.cache.backend import Backend, BackendRequest, Capabilities
from codomyrmex.cache.eviction import Cause, Entry, EvictionPolicy, View
from codomyrmex_cache_cli._publish import TopOptions
from codomyrmex_cache_file import FileOptions
from codomyrmex_cache_memory import MemoryOptions
from codomyrmex_cache_msgpack import MsgpackOptions
from codomyrmex_cache_opentelemetry import OpenTelemetryOptions
from codomyrmex_cache_prometheus import PrometheusOptions
from codomyrmex_cache_redis import RedisOptions
from codomyrmex_cache_zstd import ZstdOptions

DOCS = {page.path.stem: page for page in pages() if page.path.parent == ROOT / "docs"}
WRITTEN = " ".join(page.path.read_text("utf-8") for name, page in DOCS.items() if name != "reference")
CORE = ROOT / "core" / "src" / "codomyrmex" / "cache"


SCHEMAS = (
    CacheOptions,
    FileOptions,
    LogOptions,
    MemoryOptions,
    MsgpackOptions,
    OpenTelemetryOptions,
    PrometheusOptions,
    RedisOptions,
    TopOptions,
    ZstdOptions,
)


def text(name: str) -> str:
    return DOCS[name].path.read_text("utf-8")


def unmentioned(names: Any, where: str) -> list[str]:
    """Those of ``names`` that are no word of a text."""
    words = set(re.findall(r"\w+", where))
    return sorted(name for name in names if name not in words)


def section(name: str, heading: str) -> str:
    return text(name).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(where: str) -> dict[str, list[str]]:
    """The rows of a section's tables, by the name in their first column."""
    lines = [line.strip("| ").split(" | ") for line in where.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in lines}


@pytest.mark.parametrize(
    ("schema", "heading"),
    [
        (CacheOptions, "Options of every cache"),
        (MemoryOptions, "Options of in_memory"),
        (FileOptions, "Options of file_based"),
        (RedisOptions, "Options of redis"),
        (MsgpackOptions, "Options of msgpack"),
        (ZstdOptions, "Options of zstd"),
        (LogOptions, "Options of log"),
        (TopOptions, "Options of top"),
        (PrometheusOptions, "Options of prometheus"),
        (OpenTelemetryOptions, "Options of opentelemetry"),
    ],
)
def test_options(schema: Any, heading: str) -> None:
    """The table has every option, no other, and its default; a default of None is in words."""
    table = rows(section("configuration", heading))
    assert {field.name for field in fields(schema)} == set(table)
    for field in fields(schema):
        shown = table[field.name][0].strip("`")
        if field.name == "serializer":
            assert [{"name": shown}] == list(field.default)
        elif isinstance(field.default, bool):
            assert str(field.default).lower() == shown
        elif isinstance(field.default, (int, float)):
            assert f"{field.default:,}" == shown
        elif field.default == ():
            assert shown == "none"
        elif field.default is not None:
            assert field.default == shown
        assert field.default is not MISSING


def test_kinds_of_options() -> None:
    """Every option's kind is among the units that are explained; choice is explained by the option itself."""
    explained = set(rows(section("configuration", "Units"))) | set(
        re.findall(r"^\| (\w+) \|", text("configuration"), re.M)
    )
    kinds = {field.metadata["kind"] for schema in SCHEMAS for field in fields(schema)}
    assert set() == {kind.removesuffix("s") for kind in kinds} - explained - {"choice", "text"}


def test_variables() -> None:
    """Every environment variable is documented."""
    variables = {value for name, value in vars(_config).items() if name.endswith("_VARIABLE")}
    assert [] == [variable for variable in variables if variable not in WRITTEN]
    assert len(variables) == 4


def test_hooks() -> None:
    """Every hook has a section, with code that runs; so has everything that a backend's request holds."""
    for hook in reference.hooks():
        assert f"def {hook}(" in section("hooks", hook)
    assert [] == unmentioned({field.name for field in fields(BackendRequest)} - {"known", "make_policy"}, text("hooks"))
    assert [] == unmentioned((cause.name for cause in Cause), section("hooks", "on_evict"))


def test_public_names() -> None:
    """Every public name of the package itself is in a page that somebody wrote; those of its modules in any."""
    assert [] == unmentioned(reference.public(""), WRITTEN)
    for end in reference.MODULES:
        assert [] == unmentioned(reference.public(end), WRITTEN + text("reference"))


def test_methods() -> None:
    """Every method of caches, managers, backends and policies is in a page that somebody wrote."""
    assert [] == unmentioned(reference.members(Cache), text("caching") + text("loads"))
    assert [] == unmentioned(reference.members(CacheManager), WRITTEN)
    assert [] == unmentioned(reference.members(Backend), text("writing-a-plugin"))
    policy = {
        *reference.members(EvictionPolicy),
        *reference.members(Entry),
        *reference.members(View),
        "queues",
        "marks",
    }
    assert [] == unmentioned(policy, section("eviction", "The contract of a policy"))


def test_fields() -> None:
    """Every field that a user reads is documented, and every value of those that have few."""
    assert [] == unmentioned((field.name for field in fields(CacheStats)), section("caching", "Statistics"))
    explained = section("caching", "Why is it not there?")
    assert [] == unmentioned((field.name for field in fields(Explanation)), explained)
    assert {*(found.value for found in Found), "unreachable"} == set(rows(explained)) - {"state"}
    assert [] == unmentioned((field.name for field in fields(PluginInfo)), section("plugins", "What is installed"))
    assert [] == unmentioned(errors.__all__, section("caching", "Errors"))
    assert [] == unmentioned((field.name for field in fields(Capabilities)), section("writing-a-plugin", "The driver"))


def test_entry_points() -> None:
    """Every group is documented, and every name that a wheel of ours brings."""
    for kind in KINDS:
        assert f"`codomyrmex.cache.{kind}`" in section("plugins", "Entry points")
    points = [point for one in ours() for point in metadata.distribution(one.name).entry_points]
    names = {point.name for point in points if point.group.startswith("codomyrmex.cache.")}
    assert [] == unmentioned(names, WRITTEN)
    assert {point.name for point in points if point.group == "codomyrmex.cache.eviction"} == set(
        rows(text("eviction").split("\n## ")[0])
    )


def test_fixtures() -> None:
    """Every fixture and option of the pytest plugin is documented, and those of the kit."""
    source = Path(_pytest_plugin.__file__).read_text("utf-8")
    names = {*re.findall(r"^@pytest\.fixture\ndef (\w+)", source, re.M), *re.findall(r'addini\("(\w+)"', source)}
    assert len(names) >= 5
    assert [] == unmentioned({*names, "machine_runs", "plugin", "check_invariants", "cache_settings"}, text("testing"))


def test_modules() -> None:
    """The table of modules has every module of the core and no other."""
    exist = {path.name for path in CORE.glob("*.py")} - {"__init__.py"}
    exist |= {f"{path.parent.name}/" for path in CORE.glob("*/__init__.py")}
    shown = re.findall(r"`([\w/.]+)`", "\n".join(re.findall(r"^\| (`.+?`) \|", section("flow", "Modules"), re.M)))
    assert sorted(exist) == sorted(shown)
    assert set() == set(re.findall(r"`?(_\w+\.py)`?", text("flow"))) - exist


def test_reference() -> None:
    """The reference is what the docstrings say now: if not, run tests/docs/reference.py."""
    assert reference.page() == text("reference")


@pytest.mark.parametrize(
    ("page", "example", "tests"),
    [
        ("writing-a-plugin", "sqlite-backend", "test_contract.py"),
        ("custom-eviction", "gdsf-eviction", "test_paper.py"),
    ],
)
def test_tutorial(page: str, example: str, tests: str) -> None:
    """A page that builds an example shows its code, whole: only empty lines between pieces differ."""
    directory = ROOT / "examples" / example
    shown: dict[str, str] = {}
    for block in DOCS[page].blocks:
        if block.file:
            shown[block.file] = shown.get(block.file, "") + block.text
    wanted = {path.relative_to(directory).as_posix() for path in (directory / "src").rglob("*.py")}
    wanted |= {"pyproject.toml", f"tests/{tests}"}
    assert wanted == {name for name in shown if (directory / name).exists()}
    for name in sorted(wanted):
        assert lines((directory / name).read_text("utf-8")) == lines(shown[name]), name


def test_examples() -> None:
    """Every distribution of examples/ is built by a page."""
    built = {directory for page in DOCS.values() for directory in page.installed}
    assert {f"examples/{one.directory.name}" for one in examples()} == built


def lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip()]
