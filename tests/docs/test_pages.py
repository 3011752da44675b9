"""README.md and docs/ do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from execute import Reader, Wrong, compare
from pages import ROOT, Page, pages

EVERY = {str(page): page for page in pages()}
each = pytest.mark.parametrize("name", EVERY)


@each
def test_code(name: str, tmp_path: Path, install: Callable[[str], Path]) -> None:
    """Who follows the page from top to bottom, in an empty directory, sees what the page shows."""
    page = EVERY[name]
    environment = {variable: value for variable, value in os.environ.items() if not variable.startswith("CODOMYRMEX_")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(str(install(one)) for one in page.installed)}
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("execute.py")), str(page.path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@each
def test_links(name: str) -> None:
    """Every link inside the repository leads to a file that is there, and to a heading of it."""
    page = EVERY[name]
    broken = []
    for link in page.links:
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        if not path.exists() or (anchor and anchor not in Page.read(path).anchors):
            broken.append(link)
    assert [] == broken


def test_readme() -> None:
    """README.md is among the pages."""
    assert "README.md" in EVERY
    assert len(EVERY) > 10


WRONG = {
    "an error": "```python\n1 / 0\n```\n",
    "another output": "```python\nprint(1)\n```\n\n```text\n2\n```\n",
    "no output": "```python\nx = 1\n```\n\n```text\n2\n```\n",
    "an output that is not shown": "```python\nprint(1)\n```\n\nText.\n\n```text\n1\n```\n",
    "an unknown option": "```toml\n[caches.a]\nmax_entires = 5\n```\n",
    "an unknown option of the defaults": '```toml\n[defaults]\nttl = "5 minutes"\n```\n',
    "an unknown backend": '```toml\n[caches.a]\nbackend = "none"\n```\n',
    "an unknown group": '```toml\n[project.entry-points."codomyrmex.cache.backend"]\na = "b"\n```\n',
    "no TOML": "```toml\n[caches\n```\n",
    "a distribution that doesn't exist": "```console\n$ pip install codomyrmex-cache-nothing\n```\n",
    "an extra that doesn't exist": '```console\n$ python -m pip install "codomyrmex-cache[nothing]"\n```\n',
    "an unknown program": "```console\n$ codomyrmex_cache plugins\n```\n",
    "another output of a command": "```console\n$ codomyrmex-cache --version\nnothing\n```\n",
    "a language that nobody checks": "```json\n{}\n```\n",
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_pages(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is wrong is found out: each kind of block can fail."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "page.md"
    path.write_text(WRONG[what], encoding="utf-8")
    with pytest.raises(Wrong):
        Reader(Page.read(path)).follow()


def test_wildcard() -> None:
    """Three dots stand for anything, and only they do."""
    compare("a\nb \nc\n", "a\n...\nc\n")
    for shown in ["a\n", "a\n...\nd\n", "...b\n", None]:
        with pytest.raises(Wrong):
            compare("a\nb\nc\n", shown)


def test_no_machine() -> None:
    """No page names a directory of the machine that it was written on, or a host that packages come from."""
    for page in EVERY.values():
        text = page.path.read_text("utf-8")
        assert not [word for word in (f"{ROOT}/", "/tmp/", "/home/", "pypi.org") if word in text], page
