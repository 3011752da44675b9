"""Settings of every test run of this repository."""

from __future__ import annotations

from importlib import metadata

from distributions import examples, ours


def pytest_report_header() -> list[str]:
    """Name the files under test, so that a report says whether wheels or sources were tested."""
    lines = []
    for distribution in ours() + examples():
        try:
            installed = metadata.distribution(distribution.name)
        except metadata.PackageNotFoundError:
            continue
        path = installed.locate_file(distribution.package.replace(".", "/"))
        lines.append(f"under test: {distribution.name} {installed.version} from {path}")
    return lines or ["under test: nothing of ours is installed; run the tests with tox"]
