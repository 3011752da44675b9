"""``codomyrmex-cache plugins``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., tuple[int, str, str]]
needs_memory = pytest.mark.skipif(
    find_spec("codomyrmex_cache_memory") is None, reason="codomyrmex-cache-memory is not installed"
)

QUIET = """
import json, sys
from codomyrmex_cache_cli._run import run
code = run({arguments!r})
ours = [name for name in sys.modules if name.startswith(("codomyrmex_cache_", "codomyrmex.cache._builtins"))]
foreign = [name for name in ours if not name.startswith("codomyrmex_cache_cli")]
print(json.dumps([code, foreign]), file=sys.stderr)
"""


def rows(command: Command, *arguments: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """What ``plugins --json`` prints, by kind and name."""
    code, out, err = command("plugins", "--json", *arguments)
    assert (0, "") == (code, err)
    return {(row["kind"], row["name"]): row for row in json.loads(out)}


def test_null_is_listed_as_the_core_s(command: Command) -> None:
    """A row says where a plugin comes from: distribution, version and target."""
    row = rows(command)["backends", "null"]
    assert "editable" in row
    del row["editable"]
    assert {
        "kind": "backends",
        "name": "null",
        "distribution": "codomyrmex-cache",
        "version": version("codomyrmex-cache"),
        "target": "codomyrmex.cache._builtins.null",
        "state": "installed",
        "detail": "",
    } == row


@needs_memory
def test_in_memory_and_its_alias_are_listed_as_codomyrmex_cache_memory_s(command: Command) -> None:
    """Both names lead to one target."""
    found = rows(command)
    for name in ("in_memory", "memory"):
        row = found["backends", name]
        assert ("codomyrmex-cache-memory", "codomyrmex_cache_memory") == (row["distribution"], row["target"])
        assert version("codomyrmex-cache-memory") == row["version"]


@pytest.mark.parametrize("arguments", [["plugins"], ["plugins", "--json"]])
def test_listing_imports_no_plugin(arguments: list[str]) -> None:
    """What is merely installed is not imported, the core's own plugins included."""
    script = QUIET.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "null" in done.stdout
    assert [0, []] == json.loads(done.stderr)


def test_the_table_shows_what_json_shows(command: Command) -> None:
    """Every plugin has its line, with name, distribution and target."""
    _, table, _ = command("plugins")
    for row in rows(command).values():
        line = next(line for line in table.splitlines() if line.split()[:2] == [row["kind"], row["name"]])
        assert [row["distribution"], row["version"], row["target"]] == line.split()[2:5]


def test_a_config_decides_what_is_blocked(command: Command, tmp_path: Path) -> None:
    """The state follows the rules of the file, and the detail names it."""
    config = tmp_path / "cache.toml"
    config.write_text('[plugins]\nblock = ["null"]\n')
    row = rows(command, "--config", config)["backends", "null"]
    assert "blocked" == row["state"]
    assert str(config) in row["detail"]
    _, table, _ = command("plugins", "--config", config)
    assert "it is blocked in" in table


def test_importing_the_package_brings_nothing() -> None:
    """``import codomyrmex_cache_cli`` costs next to nothing: neither typer nor rich nor the core is imported."""
    script = (
        "import sys, codomyrmex_cache_cli\n"
        "print([name for name in ('typer', 'rich', 'codomyrmex.cache', 'pluggy', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()
