"""``top``: what processes write is found, added up and shown; nothing planted is trusted."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from codomyrmex.cache import CacheManager
from codomyrmex_cache_cli import _publish, _top
from codomyrmex_cache_cli._run import run

INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""A shell that starts the tests in the background makes them, and all they start, deaf to Ctrl-C."""
PROGRAM = """
import sys, time
from codomyrmex.cache import CacheManager

table = {"interval": "50ms", "directory": sys.argv[1]}
with CacheManager({"caches": {"shop": {"max_entries": 100}}, "exporters": {"top": table}}, environ={}) as manager:
    cache = manager.get_cache("shop")
    number = 0
    print("ready", flush=True)
    while True:
        number += 1
        cache.get_or_set(f"secret {number % 200}", lambda: number)
        cache.get(f"secret {number % 200}")
        time.sleep(0.001)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory for files, which isn't there yet."""
    return tmp_path / "shown"


@pytest.fixture
def processes(place: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that show their cache."""
    command = [sys.executable, "-c", INTERRUPTIBLE + PROGRAM, str(place)]
    begun = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for one in begun:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    until(lambda: len(_top.readings(place)) == 2, "both processes to show themselves")
    yield begun
    for one in begun:
        one.kill()
        one.wait()
        assert one.stdout is not None
        one.stdout.close()


def until(condition: Any, what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"{what} doesn't happen"
        time.sleep(0.02)


def shown(lines: list[_top.Line], width: int) -> list[str]:
    """The lines of a table as a terminal of some width shows them."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(_top.table(lines, width, processes=True))
    return [line for line in console.export_text().splitlines() if line.strip()]


def test_two_processes(place: Path, processes: list[subprocess.Popen[str]]) -> None:
    """Their caches are added up, or shown one by one; rates are those between two readings."""
    before = _top.readings(place)
    until(lambda: {one.time for one in _top.readings(place)}.isdisjoint({one.time for one in before}), "new readings")
    now = _top.readings(place)
    (line,) = _top.lines(now, before, processes=False)
    assert (line.cache, line.backend, line.who) == ("shop", "in_memory", "2")
    assert line.totals["hits"] == sum(one.stats["hits"] for one in now)
    assert line.rates["loads"] > 0
    assert line.entries == (sum(one.stats["entries"] for one in now), 200)
    each = _top.lines(now, (), processes=True)
    assert sorted(one.who for one in each) == sorted(f"{process.pid} -c" for process in processes)
    assert each[0].rates == {}
    assert "secret" not in "".join(path.read_text("utf-8") for path in place.glob("*"))


def test_the_end_of_a_process(place: Path, processes: list[subprocess.Popen[str]]) -> None:
    """One that ends takes its file with it; that of one that was killed is removed by whoever looks."""
    processes[0].send_signal(signal.SIGINT)
    processes[0].wait()
    assert {one.process for one in _top.readings(place)} == {processes[1].pid}
    processes[1].kill()
    processes[1].wait()
    assert (place / f"{processes[1].pid}.json").exists()
    assert _top.readings(place) == []
    assert list(place.glob("*.json")) == []


def test_a_number_that_is_used_again(place: Path) -> None:
    """A file of a process that is gone isn't taken for another's that has its number."""
    place.mkdir(0o700)
    content = {"format": 1, "process": os.getpid(), "started": 1, "command": "x", "time": 0, "caches": []}
    (place / f"{os.getpid()}.json").write_text(json.dumps(content), "utf-8")
    assert _top.readings(place) == []
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 9}', "\0"])
def test_files_that_say_nothing(place: Path, text: str) -> None:
    """They are passed over."""
    place.mkdir(0o700)
    (place / "1.json").write_text(text, "utf-8")
    assert _top.readings(place) == []


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_place_that_is_not_ours(tmp_path: Path, place: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the exporter nor the command uses a directory in which others could plant something."""
    if kind == "a link":
        (tmp_path / "other").mkdir(0o700)
        place.symlink_to(tmp_path / "other")
    elif kind == "a file":
        place.write_text("")
    else:
        place.mkdir()
        place.chmod(0o777)
    with CacheManager({"exporters": {"top": {"interval": "none", "directory": str(place)}}}, environ={}) as manager:
        manager.export_stats()
        assert manager.exporters()[0].error == "CacheError"
    assert run(["top", "--once", "--directory", str(place)]) == 1
    assert "that only its owner, this user, may use" in capsys.readouterr().err


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the session, or else one with the user's number among the temporary files."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert _publish.default_directory() == tmp_path / "codomyrmex-cache"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nothing"))
    assert _publish.default_directory().name == f"codomyrmex-cache-{os.geteuid()}"


def test_nobody_shows_anything(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says what to do."""
    assert run(["top", "--directory", str(place)]) == 1
    assert capsys.readouterr().err == f"error: {_top.HINT}\n"


def test_once_and_json(place: Path, processes: list[subprocess.Popen[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts, and where there is no terminal."""
    assert run(["top", "--directory", str(place)]) == 0
    text = capsys.readouterr().out
    assert "shop" in text
    assert "in_memory" in text
    assert run(["top", "--json", "--cache", "shop", "--directory", str(place)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(one["process"] for one in found) == sorted(process.pid for process in processes)
    assert run(["top", "--json", "--cache", "other", "--directory", str(place)]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run(["top", "--once", "--cache", "shops", "--directory", str(place)]) == 1
    assert capsys.readouterr().err == ("error: no process shows a cache 'shops'; known: shop. Did you mean 'shop'?\n")


def test_in_a_terminal(place: Path, processes: list[subprocess.Popen[str]]) -> None:
    """It goes on until it is interrupted, and ends without a word."""
    import pty

    main, terminal = pty.openpty()
    program = INTERRUPTIBLE + "from runpy import run_module; run_module('codomyrmex_cache_cli', run_name='__main__')"
    command = [sys.executable, "-c", program, "top", "--interval", "0.1", "--directory", str(place)]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True)
    os.close(terminal)
    seen = b""
    deadline = time.monotonic() + 30
    while seen.count(b"shop") < 3:
        assert time.monotonic() < deadline, seen
        seen += os.read(main, 65_536)
    process.send_signal(signal.SIGINT)
    while True:
        try:
            rest = os.read(main, 65_536)
        except OSError:  # the other end is closed
            break
        if not rest:
            break
        seen += rest
    assert process.wait(30) == 0
    assert b"Traceback" not in seen
    os.close(main)


@pytest.mark.parametrize("width", [80, 120])
def test_widths(width: int) -> None:
    """Every line fits, and the numbers are whole."""
    stats = {
        "backend": "file_based",
        "hits": 123_456,
        "misses": 1_000,
        "loads": 999,
        "load_seconds": 12.5,
        "errors": 3,
        "evictions": 1_234,
        "entries": 99_999,
        "bytes": 734_003_200,
    }
    before = _top.Reading(1, "gunicorn", 0.0, "a-cache-with-a-long-name", {})
    now = _top.Reading(1, "gunicorn", 10.0, "a-cache-with-a-long-name", stats)
    lines = shown(_top.lines([now], [before], processes=True), width)
    assert all(len(line) <= width for line in lines)
    for text in ("99.2%", "12,446", "12.5 ms", "99,999", "700.0 MiB", "1 guni"):
        assert text in lines[-1]


def test_what_is_shared_is_counted_once() -> None:
    """Each process tells all of a shared store; memory is each one's own."""
    for backend, entries in (("file_based", 5), ("in_memory", 10)):
        stats = {"backend": backend, "entries": 5}
        group = [_top.Reading(number, "x", 0.0, "app", stats) for number in (1, 2)]
        assert _top.lines(group, (), processes=False)[0].entries == (entries, None)
