"""``codomyrmex-cache get``, ``set``, ``delete``, ``invalidate``, ``keys`` and ``clear``."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from codomyrmex.cache import Cache, CacheConnectionError
from codomyrmex_cache_cli._run import run
from codomyrmex_cache_cli._values import shown

Command = Callable[..., tuple[int, str, str]]


def needs(package: str) -> pytest.MarkDecorator:
    """Skips a test where a plugin is not installed."""
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")


@pytest.fixture
def pickles(tmp_path: Path) -> Path:
    """A config whose serializer keeps more than JSON's types."""
    path = tmp_path / "pickles.toml"
    path.write_text('[caches.app]\nbackend = "bytes"\nserializer = [{ name = "pickle", key = "%s" }]\n' % ("k" * 32))
    return path


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces stdin."""

    def replace(data: bytes, *, terminal: bool = False) -> None:
        stream = io.TextIOWrapper(io.BytesIO(data), "utf-8")
        monkeypatch.setattr(stream, "isatty", lambda: terminal)
        monkeypatch.setattr(sys, "stdin", stream)

    return replace


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"x": [1, 2.5, None, True]}, '{\n  "x": [\n    1,\n    2.5,\n    null,\n    true\n  ]\n}'),
        ("Grüße", '"Grüße"'),
        ("\x1b[2J\x9b2J", '"\\u001b[2J\\u009b2J"'),
        (None, "null"),
        ((1, 2), "(1, 2)"),
        ({1: 2}, "{1: 2}"),
        (float("nan"), "nan"),
        (b"\xff", "b'\\xff'"),
    ],
)
def test_a_value_is_shown_as_json_if_it_would_come_back_the_same(value: Any, text: str) -> None:
    """Anything else as Python shows it; a terminal gets no control characters."""
    assert text == shown(value)


def test_get_prints_the_value(command: Command, app: Cache[Any]) -> None:
    """As JSON for people; for programs an object with key and value."""
    app.set("key", [1])
    assert (0, "[\n  1\n]\n", "") == command("get", "app", "key")
    assert {"key": "key", "value": [1]} == json.loads(command("get", "app", "key", "--json")[1])


def test_a_value_that_is_no_json_is_shown_by_its_repr(command: Command, app: Cache[Any], pickles: Path) -> None:
    """For programs under another name, so that none takes it for the value."""
    assert 0 == command("set", "app", "key", "text", "--bytes", "--config", pickles)[0]
    assert (0, "b'text'\n", "") == command("get", "app", "key", "--config", pickles)
    code, out, err = command("get", "app", "key", "--config", pickles, "--json")
    assert (0, {"key": "key", "repr": "b'text'"}, "") == (code, json.loads(out), err)


def test_raw_writes_a_text_or_bytes_as_they_are(command: Command, app: Cache[Any]) -> None:
    """Without quotes or a line end; another type is refused."""
    app.set("text", "one\ntwo")
    assert (0, "one\ntwo", "") == command("get", "app", "text", "--raw")
    app.set("number", 1)
    code, out, err = command("get", "app", "number", "--raw")
    assert (1, "", True) == (code, out, "type int" in err)


def test_an_absent_key_is_an_error_with_its_explanation(command: Command, app: Cache[Any]) -> None:
    """Exit code 1, one line on stderr, nothing on stdout, as JSON too."""
    for options in ([], ["--json"], ["--raw"]):
        code, out, err = command("get", "app", "key", *options)
        assert (1, "") == (code, out)
        assert "error: 'key' in cache 'app' (bytes): absent; nothing is stored under this key\n" == err
    app.set("null", None)
    assert (0, "null\n", "") == command("get", "app", "null")


def test_an_unreadable_value_is_an_error_that_says_why(command: Command, app: Cache[Any], bytes_plugin: Any) -> None:
    """A damaged one is a miss, and the line names the damage."""
    app.set("key", "value")
    bytes_plugin.store.spoil = lambda data: data[:-1] + b"?"
    code, out, err = command("get", "app", "key")
    assert (1, "") == (code, out)
    assert "unreadable" in err


def test_set_takes_json(command: Command, app: Cache[Any]) -> None:
    """From the line, from stdin, from a file; a program that reads the cache sees the value."""
    assert (0, "stored 'key' in cache 'app'\n", "") == command("set", "app", "key", '{"x": [1, null]}')
    assert {"x": [1, None]} == app.get("key")
    assert (0, {"key": "key", "stored": True}) == (
        (done := command("set", "app", "key", "--json", "--", "-5"))[0],
        json.loads(done[1]),
    )
    assert -5 == app.get("key")


def test_set_takes_text_and_files_and_stdin(
    command: Command, app: Cache[Any], stdin: Callable[..., None], tmp_path: Path
) -> None:
    """A text is stored to the letter, whatever it looks like."""
    assert 0 == command("set", "app", "key", "[1]", "--text")[0]
    assert "[1]" == app.get("key")
    stdin(b"[1]\n")
    assert 0 == command("set", "app", "key", "-")[0]
    assert [1] == app.get("key")
    stdin("ä\n".encode())
    assert 0 == command("set", "app", "key", "-", "--text")[0]
    assert "ä\n" == app.get("key")
    (tmp_path / "value.json").write_text("[2]")
    assert 0 == command("set", "app", "key", "--file", tmp_path / "value.json")[0]
    assert [2] == app.get("key")


def test_bytes_come_back_as_they_are(
    app: Cache[Any],
    pickles: Path,
    stdin: Callable[..., None],
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Not even a line's end is changed between stdin and stdout."""
    stdin(b"\0\xff\r\n")
    assert 0 == run(["set", "app", "key", "-", "--bytes", "--config", str(pickles)])
    capfdbinary.readouterr()
    assert 0 == run(["get", "app", "key", "--raw", "--config", str(pickles)])
    assert (b"\0\xff\r\n", b"") == capfdbinary.readouterr()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["hello"], "--text stores it"),
        (["NaN"], "not part of JSON"),
        (["--file", "missing"], "missing can't be read"),
        (["1", "--ttl", "soon"], "'soon'"),
        (["1", "--ttl", "0"], "expected"),
        (["1", "--tag", ""], "tag"),
        (["[" * 100_000], "no JSON"),
    ],
)
def test_a_value_that_can_not_be_meant_is_refused(
    command: Command, app: Cache[Any], bytes_plugin: Any, arguments: list[str], says: str
) -> None:
    """One line that says what to do, and nothing is written."""
    code, out, err = command("set", "app", "key", *arguments)
    assert (1, "", 1) == (code, out, len(err.splitlines()))
    assert says in err
    assert [] == bytes_plugin.store.written


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "app", "key", "--raw", "--json"],
        ["set", "app", "key"],
        ["set", "app", "key", "1", "--file", "x"],
        ["set", "app", "key", "1", "--text", "--bytes"],
        ["delete", "app"],
        ["delete", "app", "key", "--pattern", "*"],
        ["stats", "--backend", "bytes"],
        ["keys", "app", "--limit", "0"],
    ],
)
def test_arguments_that_contradict_each_other_are_a_usage_error(command: Command, arguments: list[str]) -> None:
    """Exit code 2, before any cache is opened."""
    code, out, err = command(*arguments)
    assert (2, "", 1) == (code, out, len(err.splitlines()))


def test_ttl_and_tags_reach_the_cache(command: Command, app: Cache[Any]) -> None:
    """A number is seconds, a text has units, and every tag invalidates."""
    for ttl, least, most in [("300", 290, 300), ("5m", 290, 300), ("inf", float("inf"), float("inf"))]:
        assert 0 == command("set", "app", "key", "1", "--ttl", ttl, "--tag", "one", "--tag", "two")[0]
        assert least <= (app.ttl("key") or 0) <= most
    assert ("one", "two") == app.explain("key").tags


def test_delete_removes_what_is_there_and_names_what_is_not(command: Command, app: Cache[Any]) -> None:
    """Exit code 1 if a key is absent; the others are gone all the same."""
    app.set_many({"a": 1, "b": 2, "c": 3})
    assert (0, "1 deleted\n", "") == command("delete", "app", "a")
    assert (1, "1 deleted\n", "error: not in cache 'app': 'a', 'x'\n") == command("delete", "app", "a", "b", "x")
    code, out, _ = command("delete", "app", "c", "x", "--json")
    assert (1, {"deleted": 1, "absent": ["x"]}) == (code, json.loads(out))
    assert [] == app.keys()


def test_delete_takes_a_pattern(command: Command, app: Cache[Any]) -> None:
    """It matches whole keys; that none does is no error."""
    app.set_many({"user:1": 1, "user:2": 2, "other": 3})
    assert (0, "2 deleted\n", "") == command("delete", "app", "--pattern", "user:?")
    assert (0, "0 deleted\n", "") == command("delete", "app", "--pattern", "user:?")
    assert ["other"] == app.keys()


def test_invalidate_removes_what_carries_a_tag(command: Command, app: Cache[Any]) -> None:
    """Whatever its namespace; what carries none of the tags stays."""
    app.set("a", 1, tags=["one"])
    app.namespace("deep").set("b", 2, tags=["two", "three"])
    app.set("c", 3, tags=["three"])
    assert (0, "invalidated in cache 'app': 'one', 'two'\n", "") == command("invalidate", "app", "one", "two")
    assert ["c"] == app.keys()
    code, out, _ = command("invalidate", "app", "three", "--json")
    assert (0, {"invalidated": ["three"]}, []) == (code, json.loads(out), app.keys())
    assert 2 == command("invalidate", "app")[0]
    assert 1 == command("invalidate", "app", "")[0]


def test_keys_are_sorted_and_selected(command: Command, app: Cache[Any]) -> None:
    """By prefix, by a pattern for the whole key, up to a limit; a note says that there are more."""
    app.set_many({"user:2": 1, "user:1": 1, "user:10": 1, "other": 1})
    assert (0, "other\nuser:1\nuser:10\nuser:2\n", "") == command("keys", "app")
    assert (0, "user:1\nuser:2\n", "") == command("keys", "app", "--prefix", "user", "--pattern", "*:?")
    assert (0, "other\n", "note: the first 1 of 4 keys\n") == command("keys", "app", "--limit", 1)
    assert {"keys": ["other"], "found": 4} == json.loads(command("keys", "app", "--limit", 1, "--json")[1])


def test_keys_that_can_not_be_shown_are_escaped(command: Command, app: Cache[Any]) -> None:
    """One line for each key, and no control character for the terminal; JSON has them exactly."""
    app.set_many({"a\nb": 1, "\x1b[2J": 2, "ä": 3})
    assert (0, '"\\u001b[2J"\n"a\\nb"\nä\n', "") == command("keys", "app")
    assert ["\x1b[2J", "a\nb", "ä"] == json.loads(command("keys", "app", "--json")[1])["keys"]


def test_clear_asks(command: Command, app: Cache[Any], stdin: Callable[..., None]) -> None:
    """Only a clear yes removes anything."""
    app.set_many({"a": 1, "b": 2})
    stdin(b"n\n", terminal=True)
    code, out, err = command("clear", "app")
    assert (1, "") == (code, out)
    assert "Remove all 2 entries of cache 'app'?" in err
    assert err.endswith("error: nothing was removed\n")
    assert 2 == len(app.keys())
    stdin(b"y\n", terminal=True)
    assert (0, "removed all 2 entries of cache 'app'\n") == command("clear", "app")[:2]
    assert [] == app.keys()


def test_clear_without_anybody_to_ask_needs_yes(
    command: Command, app: Cache[Any], stdin: Callable[..., None], bytes_plugin: Any
) -> None:
    """A script that forgot it removes nothing; other caches of the store keep their entries."""
    app.set("a", 1)
    bytes_plugin.store.data["other:key"] = b"of another cache"
    stdin(b"y\n")
    code, out, err = command("clear", "app")
    assert (1, "", True) == (code, out, "--yes" in err)
    assert (0, {"cleared": True, "entries": 2}) == (
        (done := command("clear", "app", "--yes", "--json"))[0],
        json.loads(done[1]),
    )
    assert ["other:key"] == list(bytes_plugin.store.data)


@needs("codomyrmex_cache_memory")
@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "app", "k"],
        ["set", "app", "k", "1"],
        ["delete", "app", "k"],
        ["invalidate", "app", "t"],
        ["keys", "app"],
        ["clear", "app"],
    ],
)
def test_a_cache_in_memory_is_refused(command: Command, arguments: list[str], tmp_path: Path) -> None:
    """Nobody is made to believe that a command sees what a running program has there."""
    config = tmp_path / "cache.toml"
    config.write_text('[caches.app]\nbackend = "in_memory"\n')
    code, out, err = command(*arguments, "--config", config)
    assert (1, "") == (code, out)
    assert err.startswith("error: cache 'app' is on in_memory, whose content dies with the process")
    assert "known" not in err


@needs("codomyrmex_cache_memory")
def test_a_mistyped_name_is_told_apart_from_a_cache_in_memory(command: Command, tmp_path: Path) -> None:
    """The line names the caches that there are."""
    config = tmp_path / "cache.toml"
    config.write_text('[caches.app]\nbackend = "null"\n')
    says = "The config has no table for it; known: app. Did you mean 'app'?"
    assert says in command("get", "ap", "k", "--config", config)[2]


@needs("codomyrmex_cache_memory")
def test_without_a_config_the_line_says_how_to_name_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache in memory that nobody has described is a config that was forgotten."""
    monkeypatch.delenv("CODOMYRMEX_CACHE_CONFIG", raising=False)
    err = command("keys", "app")[2]
    assert "name one with --config, or in CODOMYRMEX_CACHE_CONFIG" in err


@pytest.mark.parametrize("arguments", [["set", "app", "k", "1"], ["delete", "app", "k"], ["clear", "app", "--yes"]])
def test_a_change_of_a_store_for_one_process_comes_with_a_note(
    command: Command, bytes_plugin: Any, app: Cache[Any], arguments: list[str]
) -> None:
    """A program that has the store open may undo it."""
    app.set("k", 1)
    assert (0, "") == command(*arguments)[::2]
    bytes_plugin.shared = False
    app.set("k", 1)
    code, _, err = command(*arguments)
    assert (0, True) == (code, err.startswith("note: bytes is for one process at a time"))
    assert "" == command("keys", "app")[2]


@needs("codomyrmex_cache_file")
def test_a_backend_can_be_named_on_the_line(command: Command, tmp_path: Path) -> None:
    """A URL in place of a config; every command is a process that finds what the one before left."""
    url = f"file://{tmp_path}/store?serializer=json"
    for arguments in (["set", "app", "key", "[1]"], ["get", "app", "key"]):
        line = [sys.executable, "-m", "codomyrmex_cache_cli", *arguments, "--backend", url]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "[\n  1\n]\n" == done.stdout
    assert (0, "key\n", "") == command("keys", "app", "--backend", url)


def test_a_backend_that_fails_is_one_line(command: Command, app: Cache[Any], bytes_plugin: Any) -> None:
    """Whatever the command: an error, never an answer that is not one."""
    app.set("key", 1)
    bytes_plugin.store.failure = CacheConnectionError("no route\nto host")
    for arguments in (
        ["get", "app", "k"],
        ["set", "app", "k", "1"],
        ["delete", "app", "k"],
        ["invalidate", "app", "t"],
    ):
        code, out, err = command(*arguments)
        assert (1, "", 1) == (code, out, len(err.splitlines()))
        assert "no route to host" in err


def test_a_write_that_a_degrading_cache_hides_is_an_error(
    command: Command, app: Cache[Any], bytes_plugin: Any, tmp_path: Path
) -> None:
    """A command that says "stored" has stored."""
    config = tmp_path / "cache.toml"
    config.write_text('[caches.app]\nbackend = "bytes"\nserializer = "json"\non_error = "degrade"\n')
    bytes_plugin.store.failure = CacheConnectionError("down")
    code, out, err = command("set", "app", "key", "1", "--config", config)
    assert (1, "", True) == (code, out, "degrade" in err)


def test_a_reader_who_has_had_enough_is_no_error() -> None:
    """``keys | head`` ends in silence."""
    script = (
        "import sys\nfrom codomyrmex_cache_cli import _plugins, _run\n"
        "def show(*_):\n    for _ in range(100_000): print('x' * 100)\n    return 0\n"
        "_plugins.show = show\nsys.exit(_run.run(['plugins']))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (b"", 1) == (process.stderr.read(), process.wait())
