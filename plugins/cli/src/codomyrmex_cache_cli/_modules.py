"""The modules that the demo analyses, and the keys under which it caches the results."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

from ._analysis import REVISION
from ._errors import CommandError

_SKIPPED = frozenset({"__pycache__", "dist-packages", "site-packages"})


class Module(NamedTuple):
    """One file.

    Attributes:
        name: Its path below the root, parted by slashes.
        path: Where it is.
    """

    name: str
    path: Path

    def key(self) -> str:
        """Its key in a cache: another one after every change of the file, the analysis or the grammar."""
        # Not a hash of the content, which would mean reading every file in the warm pass, too. Size and
        # modification time alone can lie, because archives and reproducible builds set that time; nobody sets
        # the time of the last change of status or the inode number.
        status = self.path.stat()
        identity = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        version = f"{sys.version_info.major}.{sys.version_info.minor}-{REVISION}"
        return f"{version}:{self.name}:{'-'.join(map(str, identity))}"


def standard_library() -> Path:
    """Where the running Python keeps its standard library.

    Raises:
        CommandError: Not in a directory.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    if not root.is_dir():
        raise CommandError("the standard library of this Python is no directory: there is nothing to analyse")
    return root


def find_modules(root: Path) -> list[Module]:
    """Every module below ``root`` that can be read, sorted by name; tests too, installed packages not."""
    found: list[Module] = []
    for directory, below, files in os.walk(root):
        below[:] = [name for name in below if name not in _SKIPPED]
        for file in files:
            path = Path(directory, file)
            if file.endswith(".py") and path.is_file() and os.access(path, os.R_OK):
                found.append(Module(path.relative_to(root).as_posix(), path))
    return sorted(found)
