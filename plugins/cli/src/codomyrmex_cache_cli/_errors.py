"""What a command itself refuses, and how an error is shown."""

from __future__ import annotations


class CommandError(Exception):
    """Raised when a command can't do what it was asked to; the message is shown in one line."""


def one_line(text: str) -> str:
    """``text`` without its line breaks, for messages of other libraries."""
    return " ".join(text.split())
