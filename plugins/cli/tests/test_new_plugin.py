"""``new-plugin``: what it writes builds, installs, passes its own tests, and is chosen by name."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from codomyrmex_cache_cli._run import run

KINDS = ["backend", "eviction", "serializer", "exporter"]


def built(distribution: Path, scratch: Path) -> Path:
    """The content of the distribution's wheel, as pip would leave it behind."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(scratch)]
    done = subprocess.run(command, cwd=distribution, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch / "site")
    return scratch / "site"


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [
        ("backend", "chosen or swap or tags or fails"),  # the whole kit takes half a minute
        pytest.param("backend", "", marks=pytest.mark.slow),
        ("eviction", ""),
        ("serializer", ""),
        ("exporter", ""),
    ],
)
def test_the_result(
    kind: str, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From its wheel it passes its own tests, and a config chooses it by its name."""
    monkeypatch.chdir(tmp_path)
    assert run(["new-plugin", kind, f"my_{kind}"]) == 0
    said = capsys.readouterr().out
    distribution = tmp_path / f"codomyrmex-cache-my-{kind}"
    assert said.startswith(f"{distribution.name}: a distribution with the ")
    replaced = said.split("replace what ")[1].split()[0]
    assert (distribution / replaced).is_file()
    assert "$" not in "".join(path.read_text("utf-8") for path in distribution.rglob("*.*"))
    site = built(distribution, tmp_path / "scratch")
    environment = {**os.environ, "PYTHONPATH": str(site), "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "-k", chosen]
    done = subprocess.run(command, cwd=distribution, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    groups = {"backend": "backends", "serializer": "serializers", "exporter": "exporters"}
    question = f"{groups.get(kind, kind)} my_{kind} codomyrmex-cache-my-{kind} 0.1.0 installed"
    program = (
        "from codomyrmex.cache import CacheManager\n"
        "for one in CacheManager(environ={}).plugins():\n"
        "    print(one.kind, one.name, one.distribution, one.version, one.state)\n"
    )
    listed = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert question in listed.splitlines()


@pytest.mark.parametrize("kind", KINDS)
def test_the_files(kind: str, tmp_path: Path) -> None:
    """All that a distribution needs is there: licence, readme, types, the bounds on the core's version."""
    place = tmp_path / "place"
    assert run(["new-plugin", kind, "thing", "--directory", str(place)]) == 0
    files = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert {"LICENSE", "README.md", "pyproject.toml", "src/codomyrmex_cache_thing/py.typed"} < files
    project = tomllib.loads((place / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["dependencies"] == ["codomyrmex-cache>=0.1,<0.2"]
    assert {"thing": "codomyrmex_cache_thing"} in project["entry-points"].values()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["backend", "My-Plugin"], "'My-Plugin' can't be the name of a plugin: "),
        (["backend", "in_memory"], "the name is taken: codomyrmex-cache-memory has the backend 'in_memory'"),
        (["eviction", "sieve"], "the name is taken: codomyrmex-cache has the eviction policy 'sieve'"),
        (["engine", "fast"], "'engine' is not one of 'backend', 'eviction', 'serializer', 'exporter'"),
    ],
)
def test_refusals(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says why."""
    assert run(["new-plugin", *arguments]) != 0
    assert message in " ".join(capsys.readouterr().err.split())


def test_what_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is overwritten; an empty directory is taken."""
    assert run(["new-plugin", "exporter", "thing", "--directory", str(tmp_path)]) == 0
    (tmp_path / "README.md").write_text("mine", "utf-8")
    assert run(["new-plugin", "exporter", "thing", "--directory", str(tmp_path)]) == 1
    assert f"{tmp_path} is there already" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text("utf-8") == "mine"
