"""Which modules are analysed, and their keys."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from codomyrmex_cache_cli import _modules
from codomyrmex_cache_cli._errors import CommandError
from codomyrmex_cache_cli._modules import Module, find_modules, standard_library


def test_modules_are_found_below_the_root_without_installed_packages(project: Path) -> None:
    """Every .py file counts, but for those of packages that were installed there."""
    assert ["bad.py", "good.py", "package/empty.py", "package/nul.py"] == [
        module.name for module in find_modules(project)
    ]


def test_the_standard_library_is_the_running_python_s() -> None:
    """It is where this very interpreter imports from."""
    modules = {module.name: module.path for module in find_modules(standard_library())}
    assert os.path.samefile(os.__file__, modules["os.py"])
    assert not any("site-packages" in name for name in modules)


def test_a_standard_library_that_is_no_directory_is_refused(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """A frozen Python has its library in an archive: the demo says so."""
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(project / "python.zip")})
    with pytest.raises(CommandError, match="no directory"):
        standard_library()


def test_an_unchanged_module_keeps_its_key(project: Path) -> None:
    """Reading changes nothing."""
    module = Module("good.py", project / "good.py")
    before = module.key()
    module.path.read_bytes()
    assert before == module.key()


def test_a_module_that_is_replaced_has_another_key_even_with_the_same_size_and_time(project: Path) -> None:
    """An archive or a reproducible build that sets the time can't bring back the result of another content."""
    module = Module("good.py", project / "good.py")
    before, status = module.key(), module.path.stat()
    other = project / "other"
    other.write_bytes(module.path.read_bytes().replace(b"os", b"io"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(module.path)
    after = module.path.stat()
    assert (status.st_size, status.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert before != module.key()


def test_modules_of_one_content_have_keys_of_their_own(project: Path) -> None:
    """The name is part of the key: a hard link is another module."""
    (project / "twin.py").hardlink_to(project / "good.py")
    keys = {module.key() for module in find_modules(project)}
    assert len(find_modules(project)) == len(keys)


def test_another_revision_of_the_analysis_has_other_keys(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of an older release are never served for what a newer one measures."""
    module = Module("good.py", project / "good.py")
    before = module.key()
    monkeypatch.setattr(_modules, "REVISION", _modules.REVISION + 1)
    assert before != module.key()
