"""Output: tables for people, JSON for programs, bars for those who wait."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

NONE = "–"
"""Stands for what is not known."""
_FILE_WIDTH = 1000
_SHORT = 14
"""Columns no wider than this keep their width on a narrow terminal, at the expense of the others."""
_STYLES = {"ok": "green", "problem": "red", "conflict": "red", "failed": "red", "blocked": "yellow"}


def print_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    print(json.dumps(value, indent=2))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()) -> None:
    """Print a table, without its empty columns.

    Args:
        headings: Names of the columns.
        rows: Their cells.
        numbers: Headings of the columns that are aligned to the right.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    lines = list(rows)
    columns = {heading: [line[number] for line in lines] for number, heading in enumerate(headings)}
    filled = {heading: cells for heading, cells in columns.items() if any(cells)}
    for heading, cells in filled.items():
        justify: Literal["left", "right"] = "right" if heading in numbers else "left"
        short = max(map(len, cells)) <= _SHORT
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=short)
    for line in zip(*filled.values(), strict=True):
        # Text, because in a plain str rich would take the brackets of "codomyrmex-cache[memory]" for markup.
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
    # A file has no edge at which a line would have to be broken.
    unbounded = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    Console(width=_FILE_WIDTH if unbounded else None).print(table)


@contextlib.contextmanager
def progress() -> Generator[Progress, None, None]:
    """Progress bars on stderr, invisible unless that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
    # Older releases of rich print an empty line at the end of bars that nobody sees.
    with contextlib.nullcontext() if bars.disable else bars:
        yield bars


@contextlib.contextmanager
def waiting(title: str) -> Generator[None, None, None]:
    """A bar on stderr for work whose length nobody knows, for as long as the block runs."""
    with progress() as bars:
        bars.add_task(title, total=None)
        yield


def size(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return NONE
    if count < 1024:
        return f"{count} B"
    number, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB"):
        if number >= 1024:
            number, unit = number / 1024, larger
    return f"{number:.1f} {unit}"


def seconds(duration: float | None) -> str:
    """A duration for people, in seconds."""
    return NONE if duration is None else f"{duration:.3f} s" if duration < 1 else f"{duration:.1f} s"
