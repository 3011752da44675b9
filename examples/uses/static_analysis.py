"""Static analysis of source files, done again only for those whose content has changed."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from codomyrmex.cache import Cache

VERSION = 1
"""To be raised whenever `analyse` finds out something else than before."""


class Report(TypedDict):
    """What is known of one file."""

    functions: int
    classes: int
    longest: int


def analyse(source: bytes) -> Report:
    """Count functions and classes, and the lines of the longest function."""
    nodes = list(ast.walk(ast.parse(source)))
    functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    lengths = [(node.end_lineno or node.lineno) - node.lineno + 1 for node in functions]
    classes = sum(isinstance(node, ast.ClassDef) for node in nodes)
    return {"functions": len(functions), "classes": classes, "longest": max(lengths, default=0)}


def analyse_files(cache: Cache[Report], paths: Iterable[Path]) -> dict[Path, Report]:
    """Reports by path. Equal files have one report, wherever they are and whatever they are called.

    Raises:
        SyntaxError: A file can't be parsed.
    """
    sources = {path: path.read_bytes() for path in paths}
    keys = {path: f"v{VERSION}:{hashlib.sha256(source).hexdigest()}" for path, source in sources.items()}
    by_key = {key: sources[path] for path, key in keys.items()}

    def reports(missing: list[str]) -> dict[str, Report]:
        return {key: analyse(by_key[key]) for key in missing}

    found = cache.get_or_set_many(by_key, reports)
    return {path: found[key] for path, key in keys.items()}
