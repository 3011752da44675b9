"""Check that each sdist holds all sources, tests and papers, and builds the same wheel as the tree does."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from zipfile import ZipFile

from build_wheels import hatch
from distributions import Distribution, ours


def contents(wheel: Path) -> dict[str, int]:
    """Names and checksums of a wheel's files."""
    with ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist()}


def faults(distribution: Distribution, scratch: Path) -> list[str]:
    """Say what is wrong with the sdist of ``distribution``."""
    for name in ("sdist", "unpacked", "from-sdist", "from-tree"):
        (scratch / name).mkdir()
    shutil.unpack_archive(hatch(distribution.directory, "sdist", scratch / "sdist"), scratch / "unpacked")
    (unpacked,) = (scratch / "unpacked").iterdir()

    tests = {f"tests/{name}" for name in distribution.files("tests")}
    wanted = tests | {f"src/{name}" for name in distribution.files("src")}
    wanted |= {"LICENSE", "README.md", "pyproject.toml"}
    found = [f"lacks {name}" for name in sorted(wanted) if not (unpacked / name).is_file()]
    if not tests:
        found.append("has no tests")

    tree = contents(hatch(distribution.directory, "wheel", scratch / "from-tree"))
    again = contents(hatch(unpacked, "wheel", scratch / "from-sdist"))
    differing = sorted(name for name in tree.keys() | again.keys() if tree.get(name) != again.get(name))
    return found + [f"builds another {name} than the tree" for name in differing]


def main() -> None:
    failed = False
    for distribution in ours():
        with tempfile.TemporaryDirectory() as scratch:
            found = faults(distribution, Path(scratch))
        failed = failed or bool(found)
        print(f"{distribution}: {'; '.join(found) or 'complete'}")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
