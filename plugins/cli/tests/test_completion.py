"""Shells complete commands, options, and the names of caches and backends, as their scripts ask for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("codomyrmex-cache"))
ANSWERS = [
    ("codomyrmex-cache d", {"delete", "demo", "doctor"}),
    ("codomyrmex-cache get s", {"sessions", "shop"}),
    ("codomyrmex-cache stats sh", {"shop"}),
    ("codomyrmex-cache get shop key --backend in_", {"in_memory"}),
    ("codomyrmex-cache new-plugin e", {"eviction", "exporter"}),
    ("codomyrmex-cache get shop key --conf", {"--config"}),
]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One with a config of three caches, and a home that is empty."""
    config = tmp_path / "cache.toml"
    config.write_text("[caches.sessions]\n[caches.shop]\n[caches.other]\n", "utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CODOMYRMEX_")}
    return {**inherited, "CODOMYRMEX_CACHE_CONFIG": str(config), "HOME": str(tmp_path), "TERM": "dumb"}


def asked(environment: dict[str, str], **more: str) -> str:
    """What the program answers to a shell's question."""
    done = subprocess.run([PROGRAM], env={**environment, **more}, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(("line", "expected"), ANSWERS)
def test_bash(environment: dict[str, str], line: str, expected: set[str]) -> None:
    """By words and the number of the one that is being written."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    assert set(asked(environment, _CODOMYRMEX_CACHE_COMPLETE="complete_bash", **words).split()) == expected


@pytest.mark.parametrize(("line", "expected"), ANSWERS[:5])
def test_zsh(environment: dict[str, str], line: str, expected: set[str]) -> None:
    """By the whole line."""
    answer = asked(environment, _CODOMYRMEX_CACHE_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=line)
    assert all(f'"{word}"' in answer for word in expected)
    assert '"other"' not in answer


@pytest.mark.parametrize(("line", "expected"), ANSWERS[:5])
def test_fish(environment: dict[str, str], line: str, expected: set[str]) -> None:
    """By the whole line, and twice: whether there is something, and what."""
    question = {"_CODOMYRMEX_CACHE_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line}
    answer = asked(environment, _TYPER_COMPLETE_FISH_ACTION="get-args", **question)
    assert {text.split("\t")[0] for text in answer.splitlines()} == expected


def test_a_broken_config(environment: dict[str, str], tmp_path: Path) -> None:
    """There is nothing to complete, and no message in the middle of a line."""
    (tmp_path / "cache.toml").write_text("nonsense", "utf-8")
    words = {"COMP_WORDS": "codomyrmex-cache get s", "COMP_CWORD": "2"}
    assert asked(environment, _CODOMYRMEX_CACHE_COMPLETE="complete_bash", **words).strip() == ""


def test_in_a_shell(environment: dict[str, str]) -> None:
    """The script for a real bash makes it complete."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    script = asked(environment, _CODOMYRMEX_CACHE_COMPLETE="source_bash")
    ask = (
        f"{script}\nCOMP_WORDS=(codomyrmex-cache get s); COMP_CWORD=2\n"
        f"_codomyrmex_cache_completion {PROGRAM}\necho ${{COMPREPLY[@]}}\n"
    )
    done = subprocess.run(["bash", "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"sessions", "shop"}
