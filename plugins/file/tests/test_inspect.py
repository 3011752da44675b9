"""What a person is told of a store's directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from file_support import Child, cache_at, directory

from codomyrmex.cache import Cache, CacheConfigError
from codomyrmex_cache_file import _boot


def told(cache: Cache[Any], level: str = "") -> str:
    """All findings of a level, or of all."""
    return "\n".join(finding.text for finding in cache.inspect() if finding.level == level or not level)


def test_nothing_is_made_to_look_at_it(tmp_path: Path) -> None:
    """A store that is not there yet is not there afterwards."""
    with cache_at(tmp_path / "new") as cache:
        assert "not there yet" in told(cache)
        assert not (tmp_path / "new").exists()


def test_a_store_that_was_closed_is_clean(tmp_path: Path) -> None:
    """And in use while a program has it open."""
    with cache_at(tmp_path) as cache:
        cache.set("key", 1)
        assert "in use" in told(cache)
    with cache_at(tmp_path) as cache:
        assert "clean: the disk has all of it" in told(cache)
        assert "" == told(cache, "warning")


def test_a_program_that_was_killed_shows(tmp_path: Path) -> None:
    """Its store will be checked; after a reboot it will be given up, which is a warning."""
    with Child("with cache_at(sys.argv[1]) as cache:\n  cache.set('key', 1)\n  os._exit(0)", tmp_path) as child:
        child.end()
    with cache_at(tmp_path) as cache:
        assert "was killed while it was open" in told(cache, "note")


def test_a_machine_that_went_down_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a warning, before the store is set aside."""
    with Child("with cache_at(sys.argv[1]) as cache:\n  cache.set('key', 1)\n  os._exit(0)", tmp_path) as child:
        child.end()
    monkeypatch.setattr(_boot, "boot_id", lambda: b"another")
    with cache_at(tmp_path) as cache:
        assert "the machine went down" in told(cache, "warning")
        assert cache.get("key") is None
        assert "damaged.mdb" in told(cache, "warning")


def test_a_disk_without_room_for_the_limit_shows(tmp_path: Path) -> None:
    """As a warning: until the disk is full the store works."""
    with cache_at(tmp_path, max_bytes="16TiB") as cache:
        assert "max_bytes allows 16,777,216 MiB" in told(cache, "warning")
    with cache_at(tmp_path, max_bytes="1MiB") as cache:
        assert "max_bytes" not in told(cache)


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    """As it is when it is opened."""
    directory(tmp_path).mkdir()
    os.chmod(directory(tmp_path), 0o777)
    with cache_at(tmp_path) as cache, pytest.raises(CacheConfigError, match="chmod go-w"):
        cache.inspect()
