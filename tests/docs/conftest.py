"""What the tests of the documentation share: where a reader's examples are installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Test modules are imported one by one, by path: without this they could not import their helpers.
sys.path.insert(0, str(Path(__file__).parent))

from build_wheels import build
from distributions import ROOT, Distribution


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A function that installs a distribution of this repository from its wheel, into a directory of its own."""
    done: dict[str, Path] = {}

    def install(directory: str) -> Path:
        if directory not in done:
            scratch = tmp_path_factory.mktemp("installed")
            wheels = build([Distribution.at(ROOT / directory)], scratch / "wheels")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
            subprocess.run([*pip, "--target", str(scratch / "site"), *map(str, wheels)], check=True)
            done[directory] = scratch / "site"
        return done[directory]

    return install
