"""The distributions of this repository, as their pyproject.toml files tell."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Distribution:
    """A directory with a pyproject.toml, a src/ and a tests/."""

    directory: Path
    project: dict[str, Any] = field(repr=False)

    @classmethod
    def at(cls, directory: Path) -> Distribution:
        """Read the distribution of ``directory``."""
        with (directory / "pyproject.toml").open("rb") as file:
            return cls(directory.resolve(), tomllib.load(file)["project"])

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """Name of the distribution, as pip knows it."""
        return str(self.project["name"])

    @property
    def package(self) -> str:
        """Dotted name of the package it brings: the topmost directory that is not a namespace."""
        top = min(self.src.rglob("__init__.py"), key=lambda path: len(path.parts)).parent
        return ".".join(top.relative_to(self.src).parts)

    def extra(self, name: str) -> list[str]:
        """What the extra ``name`` requires; nothing if there is none."""
        return list(self.project.get("optional-dependencies", {}).get(name, []))

    @property
    def src(self) -> Path:
        """Directory whose content is installed."""
        return self.directory / "src"

    def files(self, below: str) -> dict[str, Path]:
        """Every file of a directory of this distribution, by its path relative to that directory."""
        top = self.directory / below
        return {
            path.relative_to(top).as_posix(): path
            for path in sorted(top.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }


def _below(directory: str) -> list[Distribution]:
    return [Distribution.at(path.parent) for path in sorted((ROOT / directory).glob("*/pyproject.toml"))]


def ours() -> list[Distribution]:
    """What we publish: the core, then the plugins."""
    return [Distribution.at(ROOT / "core"), *_below("plugins")]


def examples() -> list[Distribution]:
    """What a stranger would publish; a directory of examples/ without a pyproject.toml is not one of them."""
    return _below("examples")
