"""The command ``codomyrmex-cache``: what is in a cache, what is installed, whether a config works, and a demo.

Importing this package imports nothing else; `main` brings typer, and each command (`_content`, `_whole`, `_plugins`,
`_doctor`, `_demo`, `_top`, `_new_plugin`) what it needs. `_publish` is a plugin: the exporter `top`.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of the process, and exit with its code."""
    import sys

    from ._run import run

    sys.exit(run(sys.argv[1:]))
