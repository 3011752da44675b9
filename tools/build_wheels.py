"""Build wheels of the present sources into an empty directory, and install them if asked to.

Runs the hatchling of the running environment, without build isolation: half a second for each distribution
instead of several. Every environment of tox builds its own wheels, so that no test ever meets a stale one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from distributions import Distribution, examples, ours


def hatch(directory: Path, target: str, into: Path) -> Path:
    """Build the sdist or the wheel of the distribution in ``directory``; return the file."""
    before = set(into.glob("*"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into.resolve())]
    done = subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{directory}: no {target}\n{done.stdout}{done.stderr}")
    (built,) = set(into.glob("*")) - before
    return built


def build(distributions: Iterable[Distribution], into: Path) -> list[Path]:
    """Build one wheel for each of the distributions."""
    into.mkdir(parents=True, exist_ok=True)
    if any(into.iterdir()):
        raise SystemExit(f"{into} is not empty: a stale wheel could be mistaken for a fresh one")
    return [hatch(distribution.directory, "wheel", into) for distribution in distributions]


def install(wheels: Iterable[Path], *options: str, python: str = sys.executable) -> None:
    """Install the wheels, replacing what is there, then whatever they declare to need."""
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    files = [str(wheel) for wheel in wheels]
    subprocess.run([*pip, "--force-reinstall", "--no-deps", *files], check=True)
    subprocess.run([*pip, *options, *files], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", type=Path, help="empty or missing directory")
    parser.add_argument("--examples", action="store_true", help="the distributions of examples/ as well")
    parser.add_argument("--install", action="store_true", help="install them into this environment")
    arguments = parser.parse_args()
    wheels = build(ours() + (examples() if arguments.examples else []), arguments.into)
    for wheel in wheels:
        print(wheel.name)
    if arguments.install:
        install(wheels)


if __name__ == "__main__":
    main()
