"""``new-plugin``: a complete distribution with a plugin that works, from the templates beside this module."""

from __future__ import annotations

import datetime
import re
from importlib import metadata, resources
from pathlib import Path
from string import Template

from codomyrmex.cache import CacheManager

from ._errors import CommandError

_GROUPS = {"backend": "backends", "eviction": "eviction", "serializer": "serializers", "exporter": "exporters"}
_NOUNS = {"backend": "Backend", "eviction": "Eviction policy", "serializer": "Serializer", "exporter": "Exporter"}
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


def show(kind: str, name: str, directory: Path | None) -> int:
    """Write the distribution, and say what to do next.

    Args:
        kind: backend, eviction, serializer or exporter.
        name: The plugin's name in config.
        directory: Where to write it; None for a new one in the current directory.

    Raises:
        CommandError: The name can't be one or is taken, or something is in the way.
    """
    written = write(kind, name, directory)
    print(f"{written}: a distribution with the {_NOUNS[kind].lower()} {name!r}, and its tests")
    print()
    print(f"    cd {written}")
    print('    python -m pip install ".[test]"')
    print("    pytest")
    print()
    print(f"Then replace what {_replaced(kind, name)} does.")
    return 0


def write(kind: str, name: str, directory: Path | None) -> Path:
    """Write the distribution; where it is. See `show`."""
    if not _NAME.fullmatch(name):
        raise CommandError(
            f"{name!r} can't be the name of a plugin: lower-case letters, digits and single underscores, a letter first"
        )
    with CacheManager({}, environ={}) as manager:
        taken = [info for info in manager.plugins() if info.kind == _GROUPS[kind] and info.name == name]
    if taken:
        raise CommandError(f"the name is taken: {taken[0].distribution} has the {_NOUNS[kind].lower()} {name!r}")
    distribution = f"codomyrmex-cache-{name.replace('_', '-')}"
    package = f"codomyrmex_cache_{name}"
    target = Path(distribution) if directory is None else directory
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandError(f"{target} is there already: name another place with --directory")
    for path, text in _rendered(kind, name, distribution, package).items():
        try:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, "utf-8")
        except OSError as error:
            raise CommandError(f"{target / path} can't be written: {error.strerror}") from error
    return target


def _rendered(kind: str, name: str, distribution: str, package: str) -> dict[str, str]:
    """The files of the distribution by their paths."""
    major, minor = metadata.version("codomyrmex-cache").split(".")[:2]
    words = {
        "name": name,
        "distribution": distribution,
        "package": package,
        "group": _GROUPS[kind],
        "Noun": _NOUNS[kind],
        "year": str(datetime.datetime.now(datetime.UTC).year),
        "api": f"{major}.{minor}",
        "next_api": f"{major}.{int(minor) + 1}",
    }
    top = resources.files("codomyrmex_cache_cli").joinpath("templates")
    files = {f"src/{package}/py.typed": ""}
    for folder in ("common", kind):
        for template in top.joinpath(folder).iterdir():
            file = template.name.removesuffix(".template")
            place = "tests/" if file.startswith("test_") else f"src/{package}/" if file.endswith(".py") else ""
            files[place + file] = Template(template.read_text("utf-8")).substitute(words)
    return files


def _replaced(kind: str, name: str) -> str:
    files = {"backend": "_store.py", "eviction": "_policy.py", "serializer": "_serializer.py"}
    return f"src/codomyrmex_cache_{name}/{files.get(kind, '__init__.py')}"
