"""``codomyrmex-cache stats``, ``explain`` and ``compact``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import Cache, CacheConnectionError, Explanation

Command = Callable[..., tuple[int, str, str]]
needs_memory = pytest.mark.skipif(
    find_spec("codomyrmex_cache_memory") is None, reason="codomyrmex-cache-memory is not installed"
)


def row(out: str, name: str) -> list[str]:
    """The cells of a table's line."""
    return next(line.split() for line in out.splitlines() if line.split()[:1] == [name])


def test_stats_say_how_full_a_cache_is(command: Command, app: Cache[Any], bytes_plugin: Any) -> None:
    """What the store holds, not what this process did, which is nothing."""
    app.set("key", "x" * 2000)
    size = len(bytes_plugin.store.data["app:key"])
    code, out, err = command("stats", "app", "--json")
    assert (0, "") == (code, err)
    assert [
        {
            "cache": "app",
            "backend": "bytes",
            "entries": 1,
            "bytes": size,
            "max_entries": None,
            "max_bytes": None,
            "note": None,
            "problem": None,
        }
    ] == json.loads(out)
    assert ["app", "bytes", "1", "–", "2.0", "KiB", "–"] == row(command("stats")[1], "app")


@needs_memory
def test_stats_of_all_caches_name_those_that_can_not_be_looked_at(
    command: Command, app: Cache[Any], tmp_path: Path
) -> None:
    """The others are shown all the same; exit code 1."""
    config = tmp_path / "cache.toml"
    config.write_text(
        '[caches.bad]\nbackend = "bytes"\nlimt = 1\n[caches.good]\nbackend = "bytes"\nserializer = "json"\n'
        '[caches.memory]\nbackend = "in_memory"\n'
    )
    code, out, err = command("stats", "--config", config)
    assert 1 == code
    assert "Did you mean 'limit'?" in err
    assert ["good", "bytes", "0"] == row(out, "good")[:3]
    assert "dies with the process" in out


def test_stats_without_any_cache_is_an_error(command: Command, tmp_path: Path) -> None:
    """It says how to name one."""
    (tmp_path / "cache.toml").write_text("")
    code, out, err = command("stats", "--config", tmp_path / "cache.toml")
    assert (1, "", True) == (code, out, "--config" in err)


def test_stats_of_a_backend_that_fails_is_an_error(command: Command, app: Cache[Any], bytes_plugin: Any) -> None:
    """One line with the reason."""
    bytes_plugin.store.failure = CacheConnectionError("no route")
    code, _, err = command("stats", "app")
    assert (1, "error: app: the backend fails: no route\n") == (code, err)


def test_explain_shows_every_field(command: Command, app: Cache[Any]) -> None:
    """As the cache explains it; a life without end is a word, for JSON has no number for it."""
    app.set("key", 1, tags=["one", "two"])
    code, out, err = command("explain", "app", "key", "--json")
    assert (0, "") == (code, err)
    found = json.loads(out)
    assert [field.name for field in fields(Explanation)] == list(found)
    assert ("fresh", True, "inf", ["one", "two"]) == (found["state"], found["served"], found["ttl"], found["tags"])
    table = command("explain", "app", "key")[1]
    assert [name for name in found if f" {name} " in table] == list(found)
    assert "one, two" in table
    assert "for ever" in table


def test_explain_of_an_absent_key_is_an_answer(command: Command, app: Cache[Any]) -> None:
    """It is what was asked: exit code 0."""
    code, out, err = command("explain", "app", "key")
    assert (0, "") == (code, err)
    assert "absent" in out


def test_explain_of_a_backend_that_fails_is_a_problem(command: Command, app: Cache[Any], bytes_plugin: Any) -> None:
    """Exit code 1, and the reason in its place."""
    bytes_plugin.store.failure = CacheConnectionError("no route")
    code, out, _ = command("explain", "app", "key", "--json")
    assert (1, "unreachable") == (code, json.loads(out)["state"])


@needs_memory
def test_explain_of_a_cache_in_memory_comes_with_a_note(command: Command, tmp_path: Path) -> None:
    """Its settings are true, but its content is another one."""
    config = tmp_path / "cache.toml"
    config.write_text('[caches.app]\nbackend = "in_memory"\n')
    code, out, err = command("explain", "app", "key", "--config", config)
    assert 0 == code
    assert "in_memory" in out
    assert err.startswith("note: cache 'app' is on in_memory, whose content dies with the process")


def test_compact_says_what_it_gave_back(command: Command, app: Cache[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes for programs, in the largest unit for people; most backends have nothing to give."""
    assert (0, "there was nothing to give back\n", "") == command("compact", "app")
    monkeypatch.setattr(type(app), "compact", lambda _: 3 * 2**20)
    assert (0, "gave back 3.0 MiB\n", "") == command("compact", "app")
    assert {"bytes": 3 * 2**20} == json.loads(command("compact", "app", "--json")[1])
