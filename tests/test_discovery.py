"""What is installed, read from metadata and never by importing (SPEC 3)."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from installing import SHELF, Site, alone, go_on, refused, rows, run

from codomyrmex.cache import CacheManager, CachePluginError

KINDS = ("backends", "serializers", "eviction", "exporters", "plugins")


@pytest.mark.parametrize("name", ["IN_MEMORY", "Works", "works ", " works", "work", "works.x", "WORKS"])
def test_names_are_compared_exactly(site: Site, name: str) -> None:
    """What differs from a name in one letter, in case or in a space is another name."""
    with site.manager() as manager:
        assert f"there is no backend {name!r}" in str(refused(manager, name))


HINTS = {
    "in_memory": '"codomyrmex-cache[memory]"',
    "memory": '"codomyrmex-cache[memory]"',
    "file_based": '"codomyrmex-cache[file]"',
    "file": '"codomyrmex-cache[file]"',
    "redis": '"codomyrmex-cache[redis]"',
    "acme": None,
}
WITHOUT_BACKENDS = """
from codomyrmex.cache import CachePluginError, get_cache

for name in {names}:
    try:
        get_cache("app", backend=name)
    except CachePluginError as error:
        print(error)
"""


def test_nothing_but_the_core(tmp_path: Path) -> None:
    """Without any backend, `get_cache` says what to install: the pip command for each name that we publish."""
    core = alone(tmp_path / "core", "codomyrmex-cache")
    names = [None, *HINTS]  # None for the default backend
    printed = run(WITHOUT_BACKENDS.format(names=names), core, cwd=tmp_path, options=("-S",)).splitlines()
    assert len(names) == len(printed)
    for line, name in zip(printed, ["in_memory", *HINTS], strict=True):
        assert f"there is no backend {name!r}; installed: null." in line
        _, _, hint = line.partition("To install it: pip install ")
        assert (HINTS[name] or "") == hint


def test_provenance(site: Site) -> None:
    """Every plugin is listed with where it comes from and its state; nothing is imported for it."""
    editable = json.dumps({"url": "file:///project", "dir_info": {"editable": True}}).encode()
    targets = {"acme": "acme_plugin:plugin", "broken": "acme_broken", "shut": "acme_shut"}
    site.add("acme-cache", {"backends": targets, "plugins": {"audit": "acme_audit"}}, version="1.2")
    site.add("acme-mine", {"serializers": {"mine": "acme_mine:make.stage"}}, files={"direct_url.json": editable})
    for one in ("one", "two"):
        site.add(f"acme-{one}", {"eviction": {"both": f"acme_{one}"}}, version="3")
    site.write("acme_broken", "1 / 0")
    with site.manager({"plugins": {"block": ["shut"]}}) as manager:
        refused(manager, "broken")
        before = set(sys.modules)
        found = [row for row in manager.plugins() if row.distribution and row.distribution.startswith("acme-")]
        assert before == set(sys.modules)
    also = "also claimed by acme-{0} 3, acme_{0}".format
    cause = "ZeroDivisionError: division by zero"
    assert [
        ("backends", "acme", "acme-cache", "1.2", "acme_plugin:plugin", False, "installed", ""),
        ("backends", "broken", "acme-cache", "1.2", "acme_broken", False, "failed", cause),
        ("backends", "shut", "acme-cache", "1.2", "acme_shut", False, "blocked", "it is blocked in the config"),
        ("backends", "works", "acme-cache-works", "1.0", "acme_works", False, "loaded", ""),
        ("serializers", "mine", "acme-mine", "1.0", "acme_mine:make.stage", True, "installed", ""),
        ("eviction", "both", "acme-one", "3", "acme_one", False, "conflict", also("two")),
        ("eviction", "both", "acme-two", "3", "acme_two", False, "conflict", also("one")),
        ("plugins", "audit", "acme-cache", "1.2", "acme_audit", False, "installed", ""),
    ] == [
        (row.kind, row.name, row.distribution, row.version, row.target, row.editable, row.state, row.detail)
        for row in sorted(found, key=lambda row: (KINDS.index(row.kind), row.name, row.distribution))
    ]


LISTS = """
import sys
from codomyrmex.cache import CacheManager

found = CacheManager().plugins()
targets = {row.target.partition(":")[0] for row in found}
print(len(found), sorted(targets & set(sys.modules)))
"""


def test_listing_imports_nothing(tmp_path: Path) -> None:
    """In a fresh interpreter as well, for plugins of every kind, ours among them."""
    site = Site(tmp_path / "site")
    site.add("acme", {kind: {"acme": f"acme_{kind}"} for kind in KINDS})
    for kind in KINDS:
        site.write(f"acme_{kind}", "raise SystemExit('imported')")
    count, imported = run(LISTS, site.path, cwd=tmp_path).split(maxsplit=1)
    assert "[]" == imported.strip()
    assert int(count) > len(KINDS)


def test_a_distribution_that_is_there_twice(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one on the import path counts, as it does for import, however its name is spelt; it is listed once."""
    for version, name in (("1.0", "Acme.Twice"), ("3.0", "acme-twice"), ("2.0", "acme-twice")):
        directory = Site(tmp_path / version)
        source = f"{SHELF}\nversion = {version!r}\n"
        directory.add(name, {"backends": {"twice": "acme_twice"}}, version=version, acme_twice=source)
        monkeypatch.syspath_prepend(str(directory.path))
    with site.manager() as manager:
        assert [("acme-twice", "2.0", "installed")] == [
            (row.distribution, row.version, row.state) for row in rows(manager, "twice")
        ]
        manager.get_cache("app", backend="twice", serializer="json")
        assert "2.0" == sys.modules.pop("acme_twice").version


def test_a_distribution_that_vanishes(site: Site) -> None:
    """Uninstalled while the program runs: the error names it as long as the table does, then it is unknown."""
    info = site.add("acme-gone", {"backends": {"gone": "acme_gone"}}, acme_gone=SHELF)
    with site.manager() as manager:
        shutil.rmtree(info)
        (site.path / "acme_gone.py").unlink()
        assert "(acme-gone 1.0, acme_gone) can't be imported" in str(refused(manager, "gone"))
        assert [("acme-gone", None)] == [(row.distribution, row.editable) for row in rows(manager, "gone")]
        manager.plugins(refresh=True)
        assert "there is no backend 'gone'" in str(refused(manager, "gone"))
        assert [] == rows(manager, "gone")


def test_reading_again(site: Site) -> None:
    """`plugins(refresh=True)` sees what was installed a moment ago, and its modules can be imported."""
    with site.manager() as manager:
        refused(manager, "late")
        directory = os.stat(site.path)
        site.add("acme-late", {"backends": {"late": "acme_late"}}, acme_late=SHELF)
        # As if all that had happened within one tick of the file system's clock.
        os.utime(site.path, ns=(directory.st_atime_ns, directory.st_mtime_ns))
        assert "there is no backend 'late'" in str(refused(manager, "late"))
        manager.plugins(refresh=True)
        assert ["installed"] == [row.state for row in rows(manager, "late")]
        assert manager.get_cache("app", backend="late", serializer="json").set("key", 1)


@pytest.mark.parametrize("target", ["acme_extra [fast]", "acme_extra:plugin [fast,small]", "acme_extra : plugin"])
def test_targets_as_the_standard_allows_them(site: Site, target: str) -> None:
    """An entry point may name extras and hold spaces: neither is part of what is imported."""
    source = f"{SHELF}\nimport sys\nplugin = sys.modules[__name__]\n"
    site.add("acme-extra", {"backends": {"extra": target}}, acme_extra=source)
    with site.manager() as manager:
        assert manager.get_cache("app", backend="extra", serializer="json").set("key", 1)


OURS = b"[codomyrmex.cache.backends]\nbad = acme_bad\n"


@pytest.mark.parametrize(
    "files",
    [
        {"METADATA": b"Metadata-Version: 2.1\nName: acme-bad\n"},
        {"METADATA": b"Metadata-Version: 2.1\nVersion: 1.0\n"},
        {"METADATA": b""},
        {"METADATA": b"Name: \xff\n"},
        {"entry_points.txt": b"\xff\xfe" + OURS},
        {"entry_points.txt": OURS + b"no value\n"},
        {"entry_points.txt": OURS + b"[console_scripts]\nno value\n"},
        {"entry_points.txt": b"[console_scripts]\nno value\n"},
        {"entry_points.txt": b"bad = acme_bad\n"},
        {"entry_points.txt": b"[codomyrmex.cache.backends]\nbad =\n"},
    ],
    ids=[
        "no version",
        "no name",
        "empty metadata",
        "metadata is no text",
        "entry points are no text",
        "entry without value",
        "entry of others without value",
        "nothing of ours",
        "no group",
        "empty target",
    ],
)
def test_malformed_metadata(site: Site, files: Mapping[str, bytes]) -> None:
    """One distribution whose metadata can't be read, ours or not, takes no cache and no other plugin away."""
    site.add("acme-bad", {"backends": {"bad": "acme_bad"}}, files=files, acme_bad=SHELF)
    with site.manager() as manager:
        go_on(manager)
        assert ["loaded"] == [row.state for row in rows(manager, "works")]
        with suppress(CachePluginError):  # usable or refused, but no foreign error
            manager.get_cache("app", backend="bad", serializer="json")


@pytest.mark.parametrize("origin", [b"[]", b"{", b"null", b'{"dir_info": null}', b'{"dir_info": []}', b"\xff"])
def test_malformed_origin(site: Site, origin: bytes) -> None:
    """Whether a distribution is editable may be unreadable; that keeps neither it nor the list from being used."""
    site.add("acme-odd", {"backends": {"odd": "acme_odd"}}, files={"direct_url.json": origin}, acme_odd=SHELF)
    with site.manager() as manager:
        assert [True] == [not row.editable for row in rows(manager, "odd")]
        assert manager.get_cache("app", backend="odd", serializer="json").set("key", 1)
        go_on(manager)


def test_one_table_per_process(site: Site) -> None:
    """The metadata is read once, for all managers."""
    with site.manager() as manager, CacheManager(environ={}) as other:
        site.add("acme-late", {"backends": {"late": "acme_late"}}, acme_late=SHELF)
        assert [[], []] == [rows(manager, "late"), rows(other, "late")]
