"""The measures of a module."""

from __future__ import annotations

import json
import warnings

import pytest

from codomyrmex_cache_cli._analysis import measure

SOURCE = b'''"""A docstring
of two lines."""

import os, sys
from . import sibling
from ..far import away

# a comment


class A:
    """One line."""

    def method(self, x):
        if x:
            return 1
        elif self and x and not x:
            return 2
        else:
            if sys:
                return 3
        return [y for y in x]

    async def other(self):
        while True:
            pass
'''


def test_every_measure_of_a_module_is_counted() -> None:
    """Each measure is what a person counts."""
    assert {
        "lines": 26,
        "code_lines": 16,
        "classes": 1,
        "functions": 2,
        "longest_function": 9,
        "depth": 4,
        "branches": 7,
        "imports": [".", "..far", "os", "sys"],
        "error": None,
    } == measure(SOURCE)


@pytest.mark.parametrize(
    ("source", "depth"),
    [
        (b"x = 1", 0),
        (b"if a:\n  pass\nelif b:\n  pass\nelif c:\n  pass\n", 1),
        (b"if a:\n  pass\nelse:\n  if b:\n    pass\n", 2),
        (b"try:\n  pass\nexcept E:\n  with x:\n    pass\n", 2),
        (b"match x:\n  case 1:\n    for y in x: pass\n", 2),
        (b"f = lambda: [x for x in y if x]\n", 0),
    ],
)
def test_depth_counts_the_nesting_that_the_source_shows(source: bytes, depth: int) -> None:
    """A chain of ``elif`` is as deep as its ``if``, although each hangs below the last one in the tree."""
    assert depth == measure(source)["depth"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"def f(:\n", "SyntaxError"),
        (b"x = '\xff'\n", "SyntaxError"),
        (b"# coding: no-such-coding\nx = 1\n", "SyntaxError"),
        (b"x = a" + b".b" * 20_000, "RecursionError"),
        (b"x = " + b"-" * 50_000 + b"1", "MemoryError"),
    ],
)
def test_a_module_that_can_not_be_parsed_has_a_result_too(source: bytes, error: str) -> None:
    """It says why, so that the failure is cached like any other result."""
    result = measure(source)
    assert error == result["error"]
    assert len(source.splitlines()) == result["lines"]
    assert (0, 0, []) == (result["code_lines"], result["functions"], result["imports"])


def test_warnings_of_the_compiler_change_nothing() -> None:
    """A result is the same whether warnings are shown, hidden or errors."""
    source = b"x = '\\d'\nassert (x, 1)\ny = x is 1\n"
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        expected = measure(source)
    assert [] == shown
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert expected == measure(source)
    assert expected["error"] is None


def test_a_declared_encoding_is_obeyed() -> None:
    """The bytes are decoded as the module says."""
    assert measure("# coding: latin-1\nä = 1\n".encode("latin-1"))["error"] is None


def test_a_result_is_made_of_the_types_of_json() -> None:
    """Every serializer keeps it."""
    for source in (SOURCE, b"def f(:\n"):
        result = measure(source)
        assert result == json.loads(json.dumps(result))
