"""One call of the command: from arguments to an exit code, with every error in one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from codomyrmex.cache import CacheError

from ._app import PROGRAM
from ._cache_app import app
from ._errors import CommandError, one_line

_UsageError: type[Any] = typer.BadParameter.__mro__[1]
"""Of click, or of the copy of click inside newer releases of typer, which exports no name for it."""


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: What follows the program's name. ``--debug`` may stand anywhere.

    Returns:
        0 if all went well, 1 after an error or if problems were found, 2 after a usage error.
    """
    arguments, debug = _without_debug(arguments)
    command = typer.main.get_command(app)
    try:
        code: object = command.main(arguments, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output, as head does, has had enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            print(f"error: {one_line(_message(error))}", file=sys.stderr)
        return 2 if isinstance(error, _UsageError) else 1
    return code if isinstance(code, int) else 0


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    options = list(arguments)
    end = options.index("--") if "--" in options else len(options)
    kept = [argument for argument in options[:end] if argument != "--debug"]
    return kept + options[end:], len(kept) < end


def _message(error: Exception) -> str:
    if isinstance(error, _UsageError):
        usage: Any = error
        see = f" (see {usage.ctx.command_path} --help)" if usage.ctx else ""
        return f"{usage.format_message()}{see}"
    if isinstance(error, (CacheError, CommandError)):
        return str(error)
    return f"{type(error).__name__}: {error} (--debug shows where)"
