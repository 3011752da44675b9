"""Small distributions, as pip leaves them behind, and fresh interpreters that find them."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import CacheManager, CachePluginError, PluginInfo

SHELF = '''
"""A backend on a dict, as a stranger writes one: it knows no more of the cache than what docs/ promise."""

from codomyrmex.cache import hookimpl
from codomyrmex.cache.backend import SimpleBackend, process_clock

stores = {}


class Shelf(dict):
    def keys(self, prefix):
        return [key for key in list(self) if key.startswith(prefix)]

    def set(self, key, data):
        self[key] = data

    def delete(self, key):
        self.pop(key, None)

    def close(self):
        self.clear()


@hookimpl
def create_backend(request):
    return SimpleBackend(stores.setdefault(request.cache, Shelf()), now=request.clock or process_clock)
'''


@dataclass(frozen=True)
class Site:
    """A directory on the import path, as site-packages is one."""

    path: Path

    def add(
        self,
        distribution: str,
        entry_points: Mapping[str, Mapping[str, str]],
        *,
        version: str = "1.0",
        files: Mapping[str, bytes] | None = None,
        **modules: str,
    ) -> Path:
        """Install a distribution, and return the directory of its metadata.

        Args:
            distribution: Its name.
            entry_points: Names and targets, by kind of plugin.
            version: Its version.
            files: Content of further files of the metadata, or in place of those that pip writes.
            modules: Sources of its modules, by name.
        """
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", "utf-8")
        lines: list[str] = []
        for kind, targets in entry_points.items():
            lines += [f"[codomyrmex.cache.{kind}]", *(f"{name} = {target}" for name, target in targets.items())]
        (info / "entry_points.txt").write_text("\n".join(lines), "utf-8")
        for name, content in (files or {}).items():
            (info / name).write_bytes(content)
        for name, source in modules.items():
            self.write(name, source)
        return info

    def write(self, module: str, source: str) -> None:
        """Write a module, in place of what was there."""
        (self.path / f"{module}.py").write_text(source, "utf-8")

    def manager(self, config: Mapping[str, Any] | None = None, **environ: str) -> CacheManager:
        """A manager that sees what is installed now."""
        # Directories that change twice within one tick of the file system's clock look unchanged.
        importlib.invalidate_caches()
        manager = CacheManager(config or {}, environ=environ)
        manager.plugins(refresh=True)
        return manager


def refused(manager: CacheManager, backend: str, **options: Any) -> CachePluginError:
    """The error of whoever asks for ``backend``, after which every other plugin goes on working."""
    with pytest.raises(CachePluginError) as caught:
        manager.get_cache("app", backend=backend, **options)
    error = caught.value
    assert ("app", backend) == (error.cache, error.backend)
    assert str(error).startswith("cache 'app': ")
    go_on(manager)
    return error


def go_on(manager: CacheManager) -> None:
    """One plugin of ours and one of a stranger's work."""
    for other, more in (("in_memory", {}), ("works", {"serializer": "json"})):
        cache = manager.get_cache(f"on-{other}", backend=other, **more)
        cache.set("key", [other])
        assert [other] == cache.get("key")


def rows(manager: CacheManager, name: str) -> list[PluginInfo]:
    """What is known of the plugins of this name."""
    return [row for row in manager.plugins() if row.name == name]


def run(
    program: str, *paths: Path, cwd: Path, options: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
) -> str:
    """What ``program`` prints, in a fresh interpreter.

    Args:
        program: Its source.
        paths: Directories in front of the import path.
        cwd: Directory that it runs in; it is on the import path as well, so that it should hold no module.
        options: Of the interpreter.
        environ: Variables, in place of all that configure caches.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CODOMYRMEX_")}
    inherited = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    environment |= {"PYTHONPATH": os.pathsep.join([*map(str, paths), *inherited]), **(environ or {})}
    command = [sys.executable, "-W", "error", *options, "-c", program]
    done = subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def plain(name: str) -> str:
    """A distribution's name in the spelling that all spellings have in common."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed_by(*distributions: str) -> set[str]:
    """Names of the distributions themselves and of all that they require, extras left out."""
    names: set[str] = set()
    todo = list(distributions)
    while todo:
        name = plain(todo.pop())
        if name in names:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # needed on other versions of Python only
        names.add(name)
        todo += [re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line]
    return names


def alone(directory: Path, *distributions: str) -> Path:
    """A directory with these distributions and what they need, and nothing else: for ``python -S``."""
    directory.mkdir()
    for name in needed_by(*distributions):
        found = metadata.distribution(name)
        for top in {file.parts[0] for file in found.files or [] if ".." not in file.parts}:
            (directory / top).symlink_to(Path(str(found.locate_file(top))))
    return directory
