"""Test distributions one by one, each from its wheel in a fresh environment with only the core beside it.

Shows what a common environment hides: a dependency that another distribution happened to bring. What its extra ``test``
asks for, if it has one, comes from the present sources, too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from build_wheels import build, install
from distributions import ROOT, Distribution, examples, ours


def check(distribution: Distribution, scratch: Path) -> bool:
    """Install the core and the distribution into a new environment and run the distribution's tests there."""
    print(f"\n{distribution} alone with the core", flush=True)
    venv.create(scratch / "venv", symlinks=True)
    bin_dir = scratch / "venv" / "bin"
    core = ours()[0]
    wheels = build([core, *needed_for_tests(distribution), distribution], scratch / "wheels")
    install(wheels, "--group", "test", python=str(bin_dir / "python"))
    command = [str(bin_dir / "pytest"), "-p", "no:cacheprovider", str(distribution.directory / "tests")]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def needed_for_tests(distribution: Distribution) -> list[Distribution]:
    """Those of our plugins that the extra ``test`` of ``distribution`` names, itself or by an extra of the core."""
    core, *plugins = ours()
    names: set[str] = set()
    for requirement in distribution.extra("test"):
        name, _, extras = requirement.partition("[")
        names.add(name)
        if name == core.name:
            names.update(*(core.extra(extra) for extra in extras.rstrip("]").split(",")))
    return [plugin for plugin in plugins if plugin.name in names]


def main() -> None:
    chosen = [Distribution.at(Path(argument)) for argument in sys.argv[1:]] or examples()
    if not chosen:
        raise SystemExit("examples/ holds no distribution")
    failed = []
    for distribution in chosen:
        with tempfile.TemporaryDirectory() as scratch:
            if not check(distribution, Path(scratch)):
                failed.append(distribution.name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
