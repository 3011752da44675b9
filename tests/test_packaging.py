"""What is installed is what the repository holds: run by tox, against wheels built for that very run."""

from __future__ import annotations

import importlib.util
import json
import sysconfig
from importlib import metadata
from pathlib import Path, PurePosixPath

import pytest
from distributions import ROOT, Distribution, ours

SITE_PACKAGES = Path(sysconfig.get_path("purelib")).resolve()

each = pytest.mark.parametrize("distribution", ours(), ids=str)


# Users and configurations choose by these names, so that dropping one is a decision and never an accident.
PROMISED = {
    "codomyrmex.cache.backends": {"in_memory", "memory", "null", "redis", "rediss"},
    "codomyrmex.cache.serializers": {"json", "msgpack", "pickle", "zstd"},
    "codomyrmex.cache.eviction": {"fifo", "lru", "none", "sieve"},
    "codomyrmex.cache.exporters": {"log", "opentelemetry", "prometheus", "top"},
    "codomyrmex.cache.plugins": {"opentelemetry", "prometheus"},
    "console_scripts": {"codomyrmex-cache"},
    "pytest11": {"codomyrmex_cache"},
}


def installed_files(distribution: Distribution) -> set[str]:
    """What lies below site-packages: what pip recorded, and whatever else is in the package's directory."""
    recorded = {
        PurePosixPath(file)
        for file in metadata.files(distribution.name) or []
        if ".." not in file.parts and not file.parts[0].endswith(".dist-info")
    }
    package = SITE_PACKAGES.joinpath(*distribution.package.split("."))
    present = {path.relative_to(SITE_PACKAGES) for path in package.rglob("*") if path.is_file()}
    return {path.as_posix() for path in recorded | present if "__pycache__" not in path.parts}


@each
def test_version(distribution: Distribution) -> None:
    """The installed version is the one pyproject.toml declares."""
    assert distribution.project["version"] == metadata.version(distribution.name)


@each
def test_content(distribution: Distribution) -> None:
    """Exactly the files of src/ are installed, byte for byte: none is missing, stale or left over."""
    source = distribution.files("src")
    assert sorted(source) == sorted(installed_files(distribution))
    differing = [name for name in source if source[name].read_bytes() != (SITE_PACKAGES / name).read_bytes()]
    assert [] == differing


@each
def test_imported_from_site_packages(distribution: Distribution) -> None:
    """An import finds the installed files, never the sources beside the tests."""
    spec = importlib.util.find_spec(distribution.package)
    assert spec is not None
    assert spec.origin is not None
    origin = Path(spec.origin).resolve()
    assert SITE_PACKAGES.joinpath(*distribution.package.split("."), "__init__.py") == origin
    assert not origin.is_relative_to(distribution.directory)


@each
def test_not_editable(distribution: Distribution) -> None:
    """The installation is a copy: an editable one would hide files missing from the wheel."""
    url = json.loads(metadata.distribution(distribution.name).read_text("direct_url.json") or "{}")
    assert not url.get("dir_info", {}).get("editable", False)


@each
def test_entry_points(distribution: Distribution) -> None:
    """The installed entry points are those pyproject.toml declares, and each can be loaded."""
    groups = {"console_scripts": distribution.project.get("scripts", {})}
    groups |= distribution.project.get("entry-points", {})
    declared = {(group, name, target) for group, table in groups.items() for name, target in table.items()}
    installed = metadata.distribution(distribution.name).entry_points
    assert declared == {(point.group, point.name, point.value) for point in installed}
    for point in installed:
        point.load()


@pytest.mark.parametrize("group", PROMISED)
def test_promised_names(group: str) -> None:
    """Every name that a user may choose by is claimed, and by one distribution of ours only."""
    names = [point.name for point in metadata.entry_points(group=group)]
    assert PROMISED[group] <= set(names)
    assert len(names) == len(set(names))


@each
def test_namespace(distribution: Distribution) -> None:
    """`codomyrmex` is a namespace anyone may add to: none of ours ships an `__init__.py` for it."""
    assert "codomyrmex/__init__.py" not in installed_files(distribution)


@each
def test_typed(distribution: Distribution) -> None:
    """Type checkers may trust the annotations: `py.typed` is installed."""
    assert str(PurePosixPath(*distribution.package.split("."), "py.typed")) in installed_files(distribution)


@each
def test_licence(distribution: Distribution) -> None:
    """The licence is in the wheel, word for word the one of the repository, and in the metadata by name."""
    installed = metadata.distribution(distribution.name)
    assert (ROOT / "LICENSE").read_text("utf-8") == installed.read_text("licenses/LICENSE")
    assert "MIT" == installed.metadata["License-Expression"]
    assert ["LICENSE"] == installed.metadata.get_all("License-File")


@each
def test_metadata(distribution: Distribution) -> None:
    """What the index shows: the supported Pythons, that it is typed, and a README."""
    shown = metadata.metadata(distribution.name)
    classifiers = shown.get_all("Classifier") or []
    assert ">=3.11" == shown["Requires-Python"]
    assert "Typing :: Typed" in classifiers
    assert (distribution.directory / "README.md").read_text("utf-8").strip() == shown["Description"].strip()
