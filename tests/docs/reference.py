"""Writes docs/reference.md: every public name, and the first paragraph of its docstring.

    python tests/docs/reference.py

Run it after a change of public docstrings, in an environment in which the core is installed.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import itertools
from types import ModuleType
from typing import Any

from pages import ROOT

PAGE = ROOT / "docs" / "reference.md"
MODULES = (
    "",
    ".backend",
    ".serializers",
    ".eviction",
    ".observing",
    ".measures",
    ".hookspecs",
    ".options",
    ".errors",
    ".testing",
)
"""The public modules, behind ``codomyrmex.cache``."""
_HEAD = """# Reference

Every public name, with the first paragraph of its docstring. The docstrings say more: arguments with their units, and
what is raised. `AsyncCache` and `AsyncBackend` have the methods of `Cache` and `Backend`, awaited.

<!-- Written by tests/docs/reference.py; a change here is lost. -->
"""
_VALUES = {
    "API_VERSION": "Version of the hooks; a plugin made for another one says so in `codomyrmex_cache_api`.",
    "Clock": "Type of a clock: a function that returns seconds.",
    "EVICT": "The plain verdict `Evict()`.",
    "HEADER_SIZE": "Bytes of a record's header.",
    "Kind": "Type of the kinds of options that `option` knows.",
    "MEASURES": "All measures.",
    "SKIP": "The plain verdict `Skip()`.",
    "Verdict": "Type of what `EvictionPolicy.judge` returns.",
    "Version": "Type of a record's version: bytes, or an int in stores of objects.",
    "hookimpl": "Marks a function of a plugin as the implementation of the hook of its name.",
    "process_clock": "Seconds on a clock that only goes forward, for stores that die with their process.",
}
"""What is neither a class nor a function, and so has no docstring."""
_WITHOUT_MEMBERS = {"AsyncBackend", "AsyncCache", "CacheMachine"}
"""Twins of others, and what has no members that anyone calls."""


def module(end: str) -> ModuleType:
    """The public module that is called ``codomyrmex.cache`` and ``end``."""
    return importlib.import_module(f"codomyrmex.cache{end}")


def public(end: str) -> list[str]:
    """The public names of a module; hookspecs has no list of its own, because pluggy reads the whole module."""
    return ["API_VERSION", "hookimpl", *hooks()] if end == ".hookspecs" else list(module(end).__all__)


def hooks() -> list[str]:
    """The names of the hooks."""
    hookspecs = module(".hookspecs")
    return [name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")]


def members(cls: type) -> dict[str, Any]:
    """Public methods and properties of a class, those of its private bases among them."""
    private = itertools.takewhile(lambda base: base.__name__.startswith("_"), cls.__mro__[1:])
    bases = [cls, *private]
    every = {name: value for base in reversed(bases) for name, value in vars(base).items()}
    return {
        name: value
        for name, value in every.items()
        if not name.startswith(("_", "test_")) and (inspect.isfunction(value) or isinstance(value, property))
    }


def page() -> str:
    """The text of docs/reference.md."""
    lines = [_HEAD]
    listed: set[str] = set()
    for end in MODULES:
        lines += [f"## codomyrmex.cache{end}", "", _first(module(end)), "", "| name | is |", "|---|---|"]
        for name in public(end):
            value = getattr(module(end), name)
            lines.append(_row(name, value))
            if inspect.isclass(value) and name not in listed | _WITHOUT_MEMBERS:
                lines += [_row(f"{name}.{own}", member) for own, member in members(value).items()]
            listed.add(name)
        lines.append("")
    return "\n".join(lines)


def _row(name: str, value: Any) -> str:
    return f"| `{name}{_signature(value)}` | {_VALUES.get(name) or _first(value)} |"


def _signature(value: Any) -> str:
    if not inspect.isfunction(value):
        return ""
    shown: list[inspect.Parameter] = []
    for one in inspect.signature(value).parameters.values():
        default = one.empty if one.default is dataclasses.MISSING else one.default
        if one.name != "self":
            shown.append(one.replace(annotation=one.empty, default=default))
    return str(inspect.Signature(shown))


def _first(value: Any) -> str:
    """The first paragraph of a docstring, as Markdown on one line."""
    docstring = inspect.getdoc(value)
    if not docstring:
        raise SystemExit(f"{value!r} has no docstring: give it one, or a line in _VALUES")
    return docstring.split("\n\n")[0].replace("\n", " ").replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
