"""What every benchmark does around its figures: its options, its title, and the file that they go to."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path


def write(script: str | None, title: str, file: str, figures: Callable[[bool], Iterable[str]]) -> None:
    """Measure, as the command line says, and write a page of Markdown beside this module.

    Args:
        script: What the benchmark's docstring says of it.
        title: Of the page; the day is added.
        file: Name of the page's file, unless ``--output`` names another one.
        figures: Told whether a few rounds are enough; gives the lines of the page.
    """
    parser = argparse.ArgumentParser(description=script)
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it runs")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name(file))
    arguments = parser.parse_args()
    page = [f"# {title}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}", "", *figures(arguments.quick)]
    print("\n".join(page))
    arguments.output.write_text("\n".join(page), encoding="utf-8")


def machine() -> str:
    """Python and processor that the figures come from."""
    return f"CPython {platform.python_version()}, {os.cpu_count()} cores of {_processor()}"


def _processor() -> str:
    """What the machine calls its processor."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()
