"""What the demo found out, as a table and as JSON."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from ._analysis import Measures
from ._modules import Module
from ._output import NONE, print_json, print_table, seconds, size

_NUMBERS = ("uncached", "cold", "warm", "speed-up", "hit rate", "entries", "size")
_Sum: TypeAlias = Literal["lines", "code_lines", "classes", "functions", "branches"]
_SUMS: tuple[_Sum, ...] = get_args(_Sum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One backend.

    Attributes:
        backend: Its name.
        cold_seconds: Time of the pass that filled the cache; None for a backend that can't be used.
        warm_seconds: Time of the pass that was served from it.
        hit_rate: Hits among the reads of the warm pass, from 0.0 to 1.0.
        entries: Entries in the store afterwards; None where it doesn't say.
        bytes: Their size; None where it doesn't say.
        differing: Modules whose result was not the uncached one.
        problem: Why it can't be used.
    """

    backend: str
    cold_seconds: float | None = None
    warm_seconds: float | None = None
    hit_rate: float | None = None
    entries: int | None = None
    bytes: int | None = None
    differing: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def speed_up(self) -> float | None:
        """How many times faster the warm pass was than the cold one."""
        return self.cold_seconds / self.warm_seconds if self.cold_seconds and self.warm_seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole run.

    Attributes:
        modules: What was analysed.
        results: The uncached results, in the same order.
        uncached_seconds: Time they took.
        rows: The backends.
    """

    modules: Sequence[Module]
    results: Sequence[Measures]
    uncached_seconds: float
    rows: Sequence[Row]

    def faults(self, named: Sequence[str]) -> list[str]:
        """Why the run has failed: results that differ, and problems of the backends that were ``named``."""
        faults: list[str] = []
        for row in self.rows:
            if row.problem is not None and row.backend in named:
                faults.append(f"{row.backend}: {row.problem}")
            if row.differing:
                count, first = len(row.differing), row.differing[0]
                faults.append(f"{row.backend}: {count} results are not the uncached ones, first of {first}")
        return faults

    def print(self, as_json: bool) -> None:
        """Print it."""
        if as_json:
            print_json(self._json())
            return
        headings = ("backend", *_NUMBERS, "results")
        print_table(headings, [_cells(row, self.uncached_seconds) for row in self.rows], _NUMBERS)
        sums, unparsable = self._sums(), self._unparsable()
        print(
            f"{len(self.modules):,} modules of the standard library of Python {platform.python_version()}, "
            f"tests included: {sums['lines']:,} lines, {sums['code_lines']:,} of them code; "
            f"{sums['classes']:,} classes, {sums['functions']:,} functions; "
            f"{len(unparsable)} that can't be parsed{': ' if unparsable else ''}{', '.join(unparsable)}"
        )

    def _json(self) -> dict[str, Any]:
        return {
            "python": platform.python_version(),
            "modules": len(self.modules),
            **self._sums(),
            "unparsable": self._unparsable(),
            "uncached_seconds": self.uncached_seconds,
            "backends": [
                {
                    "backend": row.backend,
                    "cold_seconds": row.cold_seconds,
                    "warm_seconds": row.warm_seconds,
                    "speed_up": row.speed_up,
                    "hit_rate": row.hit_rate,
                    "entries": row.entries,
                    "bytes": row.bytes,
                    "differing": list(row.differing),
                    "problem": row.problem,
                }
                for row in self.rows
            ],
        }

    def _sums(self) -> dict[str, int]:
        return {name: sum(result[name] for result in self.results) for name in _SUMS}

    def _unparsable(self) -> list[str]:
        pairs = zip(self.modules, self.results, strict=True)
        return [module.name for module, result in pairs if result["error"] is not None]


def _cells(row: Row, uncached_seconds: float) -> list[str]:
    result = row.problem or (f"{len(row.differing)} differ" if row.differing else "equal")
    return [
        row.backend,
        seconds(uncached_seconds),
        seconds(row.cold_seconds),
        seconds(row.warm_seconds),
        NONE if row.speed_up is None else f"{row.speed_up:,.0f} ×",
        NONE if row.hit_rate is None else f"{row.hit_rate:.1%}",
        NONE if row.entries is None else f"{row.entries:,}",
        size(row.bytes),
        result,
    ]
