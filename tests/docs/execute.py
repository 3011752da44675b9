"""Runs the code of one page, as a reader does who follows it from top to bottom.

    python tests/docs/execute.py docs/caching.md

How to write a page:

- A ``python`` block is run; all blocks of a page share their names. A ``text`` block that follows it directly is what
  it prints, to the letter, but ``...`` stands for anything. What prints must show what it prints.
- A block with ``file="name"`` behind its language is saved and not run; several with the same name follow each other.
- A ``toml`` block is checked: every cache in it whose backend is installed is really made, others must have a backend
  that this project publishes.
- A ``console`` block that calls only ``codomyrmex-cache`` and ``pytest`` is run; behind ``$`` are commands, all other
  lines are output, and so is a ``text`` block that follows. In any other one pip may name only distributions that
  exist, and other programs must be known here. Without any ``$`` each line is a command.
- A ``text`` block elsewhere, such as a tree of files, is not checked. Other languages are refused.
- ``<!-- installed: examples/name -->`` on a page: its reader has installed that example.

Everything happens in the current directory, which should be empty and a throw-away. The exit code is 0 if all is as
the page says.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
import traceback
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pages import ROOT, Block, Page

sys.path.append(str(ROOT / "tools"))

from distributions import Distribution, examples, ours

RUN = {"codomyrmex-cache": "codomyrmex_cache_cli", "pytest": "pytest"}
"""Programs that are run, and their modules."""
KNOWN = {*RUN, "cd", "mkdir", "tox"}
_INSTALLED_BY_US = {"pip", "tox"}
_LANGUAGES = {"python", "toml", "console", "text"}
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[([\w,-]+)\])?")


class Wrong(Exception):
    """What a page says is not so."""


class Reader:
    """Follows one page.

    Args:
        page: The page.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._module = types.ModuleType("page")
        self._saved: set[str] = set()
        sys.modules["page"] = self._module  # for those who look their own module up, as dataclasses do

    def follow(self) -> None:
        """Do what every block says; raises `Wrong`."""
        blocks = self._page.blocks
        for block, after in zip(blocks, [*blocks[1:], None], strict=False):
            shown = after.text if after and after.follows and after.language == "text" else None
            try:
                self._do(block, shown)
            except Wrong as wrong:
                raise Wrong(f"{self._page}:{block.line}: {wrong}") from None

    def _do(self, block: Block, shown: str | None) -> None:
        if block.language not in _LANGUAGES:
            raise Wrong(f"the language {block.language!r} is none of {', '.join(sorted(_LANGUAGES))}")
        if block.language == "toml":
            check_toml(block.text)
        if block.file:
            self._save(block)
        elif block.language == "python":
            compare(self._run(block), shown)
        elif block.language == "console":
            commands, expected = split_console(block.text)
            if all(program_of(command) in RUN for command in commands):
                compare("".join(run_command(command) for command in commands), expected or shown)
            else:
                for command in commands:
                    check_command(command)

    def _save(self, block: Block) -> None:
        path = Path(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if block.file in self._saved else "w", encoding="utf-8") as file:
            file.write(block.text)
        self._saved.add(block.file)

    def _run(self, block: Block) -> str:
        printed = io.StringIO()
        # With empty lines in front, tracebacks name the lines of the page.
        source = "\n" * (block.line - 1) + block.text
        try:
            code = compile(source, str(self._page), "exec", dont_inherit=True)
            with contextlib.redirect_stdout(printed):
                exec(code, vars(self._module))
        except Exception:
            raise Wrong(f"raised an error\n{printed.getvalue()}{traceback.format_exc()}") from None
        return printed.getvalue()


def compare(printed: str, shown: str | None) -> None:
    """Raise `Wrong` unless ``shown`` is what was printed."""
    if shown is None:
        if printed:
            raise Wrong(f"prints what the page doesn't show:\n{printed}")
        return
    pattern = ".*".join(map(re.escape, tidy(shown).split("...")))
    if not re.fullmatch(pattern, tidy(printed), re.DOTALL):
        lines = difflib.unified_diff(tidy(shown).splitlines(), tidy(printed).splitlines(), "shown", "printed", n=0)
        raise Wrong("prints something else than it shows\n" + "\n".join(line.rstrip("\n") for line in lines))


def tidy(text: str) -> str:
    """``text`` without the spaces that nobody sees."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def split_console(text: str) -> tuple[list[str], str | None]:
    """Commands and the output shown between them."""
    lines = text.splitlines()
    if not any(line.startswith("$ ") for line in lines):
        return lines, None
    commands = [line[2:] for line in lines if line.startswith("$ ")]
    output = "".join(f"{line}\n" for line in lines if not line.startswith("$ "))
    return commands, output or None


def program_of(command: str) -> str:
    """The program that a command calls; of several, the first that is not run here."""
    called = [words[2] if words[:2] == ["python", "-m"] else words[0] for words in parts(command)]
    return next((program for program in called if program not in RUN), called[0])


def parts(command: str) -> list[list[str]]:
    """The commands between ``&&``, as words."""
    return [shlex.split(part, comments=True) for part in command.split("&&")]


def run_command(command: str) -> str:
    """What a command prints."""
    printed = ""
    for words in parts(command):
        arguments = [sys.executable, "-m", RUN[words[0]], *words[1:]]
        done = subprocess.run(arguments, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        printed += done.stdout
    return printed


def check_command(command: str) -> None:
    """Raise `Wrong` if a command that is not run calls an unknown program, or installs what there is not."""
    for words in parts(command):
        program, *arguments = words[2:] if words[:2] == ["python", "-m"] else words
        if program == "pip" and arguments[:1] == ["install"]:
            for argument in arguments[1:]:
                check_requirement(argument)
        elif program not in KNOWN:
            raise Wrong(f"the program {program!r} is none of {', '.join(sorted(KNOWN))}, pip install")


def check_requirement(argument: str) -> None:
    """Raise `Wrong` if pip could not install ``argument``."""
    known = {distribution.name: distribution for distribution in ours() + examples()}
    if argument.startswith("-") or argument in _INSTALLED_BY_US:
        return
    directory, _, extras = argument.partition("[")
    if directory.startswith("."):
        distribution = Distribution.at(ROOT / directory) if directory != "." else Distribution.at(Path())
        wanted = extras.rstrip("]")
    else:
        match = _REQUIREMENT.fullmatch(argument)
        if match is None or match[1] not in known:
            raise Wrong(f"there is no distribution {argument!r}")
        distribution, wanted = known[match[1]], match[2] or ""
    offered = distribution.project.get("optional-dependencies", {})
    if missing := set(filter(None, wanted.split(","))) - set(offered):
        raise Wrong(f"{distribution} has no extra {', '.join(missing)}")


def check_toml(text: str) -> None:
    """Raise `Wrong` unless ``text`` is a config, or a pyproject.toml with a good one and known entry points."""
    from codomyrmex.cache._discovery import KINDS

    try:
        content = tomllib.loads(text)
    except ValueError as error:
        raise Wrong(f"no TOML: {error}") from None
    for variable in re.findall(r'"env:(\w+)"', text):
        os.environ.setdefault(variable, "a secret of the reader's own")
    groups = content.get("project", {}).get("entry-points", {})
    if unknown := set(groups) - {f"codomyrmex.cache.{kind}" for kind in KINDS}:
        raise Wrong(f"no group of entry points: {', '.join(unknown)}")
    if content.keys() & {"project", "tool"}:
        content = content.get("tool", {}).get("codomyrmex", {}).get("cache", {})
    for variable in re.findall(r'"env:(\w+)"', text):  # whoever follows the page has set it
        os.environ.setdefault(variable, "a secret of the reader's own")
    check_config(content)


def check_config(config: Mapping[str, Any]) -> None:
    """Make every cache of a config whose backend is installed."""
    from codomyrmex.cache import CacheManager
    from codomyrmex.cache._plugins import _PUBLISHED
    from codomyrmex.cache.errors import CacheError

    installed = {plugin.name for plugin in CacheManager(environ={}).plugins() if plugin.kind == "backends"}
    published = {name for kind, name in _PUBLISHED if kind == "backends"}
    try:
        CacheManager(config, environ={}).close()
        sections = {name: config[name] for name in ("caches", "defaults") if name in config}
        with CacheManager(sections, environ={}) as manager:
            for name in [*manager.list_caches(), "with-the-defaults"]:
                backend = manager._config.settings(name, {}).backend
                if backend in installed or ":" in backend:
                    manager.get_cache(name)
                elif backend not in published:
                    raise Wrong(f"the backend {backend!r} is neither installed nor published")
    except CacheError as error:
        raise Wrong(f"the config is refused: {error}") from error


def main() -> None:
    page = Page.read(Path(sys.argv[1]).resolve())
    os.environ |= {"NO_COLOR": "1", "COLUMNS": "160"}
    sys.path.insert(0, "")  # as in an interpreter that was started here: a saved file can be imported
    try:
        Reader(page).follow()
    except Wrong as wrong:
        raise SystemExit(str(wrong)) from None


if __name__ == "__main__":
    main()
