"""What a command itself refuses, and how an error is shown."""

from __future__ import annotations

import difflib
from collections.abc import Collection


class CommandError(Exception):
    """Raised when a command can't do what it was asked to; the message is shown in one line."""


def one_line(text: str) -> str:
    """``text`` without its line breaks, for messages of other libraries."""
    return " ".join(text.split())


def known(names: Collection[str], meant: str) -> str:
    """The end of a message about ``meant``, which is none of ``names``: these, and the one that was probably meant."""
    near = difflib.get_close_matches(meant, names, n=1)
    return f"known: {', '.join(names) or 'none'}" + (f". Did you mean {near[0]!r}?" if near else "")
