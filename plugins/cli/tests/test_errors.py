"""Errors, usage errors, versions and help."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from codomyrmex.cache import CachePluginError
from codomyrmex_cache_cli import _plugins

Command = Callable[..., tuple[int, str, str]]
CONTENT = ["get", "set", "delete", "invalidate", "keys", "clear"]
COMMANDS = [*CONTENT, "stats", "explain", "compact", "plugins", "doctor", "top", "demo"]


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    line = [sys.executable, "-m", "codomyrmex_cache_cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_an_error_is_one_line_on_stderr_and_exit_code_1(tmp_path: Path) -> None:
    """Nothing on stdout, no traceback."""
    done = process("plugins", "--config", str(tmp_path / "missing.toml"))
    assert (1, "") == (done.returncode, done.stdout)
    assert f"error: the config {tmp_path}/missing.toml can't be read: No such file or directory\n" == done.stderr


@pytest.mark.parametrize("place", [0, 1, 3])
def test_debug_shows_the_traceback_wherever_it_stands(place: int, tmp_path: Path) -> None:
    """Before the command, after it, at the end: with the cause of the error, and the same exit code."""
    arguments = ["plugins", "--config", str(tmp_path / "missing.toml")]
    arguments.insert(place, "--debug")
    done = process(*arguments)
    assert 1 == done.returncode
    assert "Traceback (most recent call last)" in done.stderr
    assert "FileNotFoundError" in done.stderr
    assert "CacheConfigError" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no-such-command"], "no-such-command"),
        (["plugins", "--no-such-option"], "--no-such-option"),
        (["demo", "--limit", "none"], "--limit"),
        (["demo", "--limit", "0"], "--limit"),
        (["doctor", "one.toml", "two.toml"], "two.toml"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(command: Command, arguments: list[str], says: str) -> None:
    """It names what is wrong and where to read on."""
    code, out, err = command(*arguments)
    assert (2, "", 1) == (code, out, len(err.splitlines()))
    assert err.startswith("error: ")
    assert says in err
    assert "--help)" in err


def test_a_message_of_several_lines_is_shown_in_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a library below wrote."""

    def fail(*_: object) -> int:
        raise CachePluginError("first line\n  second line")

    monkeypatch.setattr(_plugins, "show", fail)
    assert (1, "", "error: first line second line\n") == command("plugins")


def test_a_fault_of_the_program_is_one_line_too(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to see the traceback."""

    def fail(*_: object) -> int:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(_plugins, "show", fail)
    assert (1, "", "error: ZeroDivisionError: by zero (--debug shows where)\n") == command("plugins")


def test_version_names_both_distributions(command: Command) -> None:
    """The command's own and the core's."""
    code, out, err = command("--version")
    assert (0, "") == (code, err)
    assert out.startswith(f"codomyrmex-cache {version('codomyrmex-cache-cli')} ")
    assert f"(codomyrmex-cache {version('codomyrmex-cache')}, Python {sys.version.split()[0]})" in out


def test_no_command_shows_the_help_as_a_usage_error(command: Command) -> None:
    """A script that forgot the command fails."""
    code, out, err = command()
    assert (2, "") == (code, out)
    for name in COMMANDS:
        assert name in err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_json(command: Command, name: str) -> None:
    """``--help`` works and exits with 0."""
    code, out, _ = command(name, "--help")
    assert 0 == code
    assert "--json" in re.sub(r"\x1b\[[0-9;]*m", "", out)  # typer colours its help wherever it runs in CI


@pytest.mark.parametrize("name", ["keys", "delete"])
def test_help_shows_globs_as_they_are(command: Command, name: str) -> None:
    """Brackets are markup for what prints the help."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", command(name, "--help")[1])
    assert "*, ?, [abc], [!abc]" in re.sub(r"[│\s]+", " ", plain)


def test_the_script_is_installed() -> None:
    """``codomyrmex-cache`` is the entry point of this distribution."""
    script = Path(sys.executable).with_name("codomyrmex-cache")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("codomyrmex-cache ")
