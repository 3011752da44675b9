"""Measures of one Python module, from its syntax tree: the work that the demo caches."""

from __future__ import annotations

import ast
import warnings
from typing import Final, TypedDict

REVISION: Final = 1
"""Raised with every change of what is measured: results of another revision are other results."""

_LEAVES = frozenset({ast.Constant, ast.Load, ast.Name, ast.Pass, ast.Store})
"""Passed over: two of three nodes are one of these, and none is measured."""
_DECISIONS = frozenset(
    {
        ast.Assert,
        ast.AsyncFor,
        ast.ExceptHandler,
        ast.For,
        ast.If,
        ast.IfExp,
        ast.While,
        ast.comprehension,
        ast.match_case,
    }
)
_BLOCKS = frozenset(
    {
        ast.AsyncFor,
        ast.AsyncFunctionDef,
        ast.AsyncWith,
        ast.ClassDef,
        ast.For,
        ast.FunctionDef,
        ast.If,
        ast.Match,
        ast.Try,
        ast.TryStar,
        ast.While,
        ast.With,
    }
)
_DOCUMENTED = (ast.AsyncFunctionDef, ast.ClassDef, ast.FunctionDef, ast.Module)


class Measures(TypedDict):
    """What is measured of a module; all but ``lines`` is zero or empty if it can't be parsed.

    Attributes:
        lines: Lines of the file.
        code_lines: Those that are neither blank nor comment nor docstring.
        classes: Class definitions, nested ones too.
        functions: Function definitions, methods and nested ones too.
        longest_function: Lines of the longest of them.
        depth: Deepest nesting of statements that hold statements.
        branches: Decisions, as in cyclomatic complexity: branches, loops, comprehensions, handlers,
            assertions, and what ``and`` and ``or`` join.
        imports: Modules that it imports, sorted, as written.
        error: Why it can't be parsed; None if it can.
    """

    lines: int
    code_lines: int
    classes: int
    functions: int
    longest_function: int
    depth: int
    branches: int
    imports: list[str]
    error: str | None


def measure(source: bytes) -> Measures:
    """Parse and measure one module.

    Args:
        source: The bytes of its file, in the encoding that it declares.

    Returns:
        Its measures, made of JSON's types only.
    """
    result = Measures(
        lines=len(source.splitlines()),
        code_lines=0,
        classes=0,
        functions=0,
        longest_function=0,
        depth=0,
        branches=0,
        imports=[],
        error=None,
    )
    try:
        with warnings.catch_warnings():
            # Where warnings are errors, an outdated escape in a literal would make a good module unparsable.
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        result["error"] = type(error).__name__
        return result
    documentation = _walk(tree, result)
    result["code_lines"] = sum(
        1
        for number, line in enumerate(source.splitlines(), 1)
        if (text := line.strip()) and not text.startswith(b"#") and number not in documentation
    )
    return result


def _walk(tree: ast.Module, result: Measures) -> set[int]:
    """Add up the nodes of ``tree``; returns the lines of its docstrings."""
    documentation: set[int] = set()
    imports: set[str] = set()
    waiting: list[tuple[ast.AST, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        kind = type(node)
        if kind in _BLOCKS:
            depth += 1
            result["depth"] = max(result["depth"], depth)
        if kind in _DECISIONS:
            result["branches"] += 1
        elif isinstance(node, ast.BoolOp):
            result["branches"] += len(node.values) - 1
        elif isinstance(node, _DOCUMENTED):
            documentation.update(_docstring_lines(node))
            if isinstance(node, ast.ClassDef):
                result["classes"] += 1
            elif not isinstance(node, ast.Module):
                result["functions"] += 1
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                result["longest_function"] = max(result["longest_function"], length)
        elif isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imports.add("." * node.level + (node.module or ""))
        for child in ast.iter_child_nodes(node):
            if type(child) not in _LEAVES:
                waiting.append((child, depth))
        if _has_elif(node):
            waiting[-1] = (waiting[-1][0], depth - 1)
    result["imports"] = sorted(imports)
    return documentation


def _has_elif(node: ast.AST) -> bool:
    """Whether the last child of ``node`` is an ``elif``: nested in the tree, but not in the source."""
    if not isinstance(node, ast.If) or len(node.orelse) != 1:
        return False
    branch = node.orelse[0]
    return isinstance(branch, ast.If) and branch.col_offset == node.col_offset


def _docstring_lines(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> range:
    if ast.get_docstring(node, clean=False) is None:
        return range(0)
    docstring = node.body[0]
    return range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1)
