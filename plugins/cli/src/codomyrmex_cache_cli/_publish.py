"""Exporter ``top``: lays the statistics of this process where ``codomyrmex-cache top`` finds them.

One small file per process, replaced whole at every export and removed when the process ends, in a directory that
belongs to the user alone. Decision 0011 has the reasons. Neither typer nor rich is imported here.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codomyrmex.cache import CacheError, CacheStats, hookimpl
from codomyrmex.cache.options import option

FORMAT = 1
"""Of the files."""
_lock = threading.Lock()
_sources: list[Mapping[str, CacheStats]] = []
_written: Path | None = None


@dataclass(frozen=True)
class TopOptions:
    """Options of the exporter ``top``."""

    directory: str | None = option(
        None,
        kind="path",
        optional=True,
        help="Where the files are; the user's own directory for such things without it.",
    )


exporter_options = TopOptions


@hookimpl
def export_stats(snapshots: Mapping[str, CacheStats], options: TopOptions) -> None:
    """Write the file of this process anew."""
    with _lock:
        # Managers that have no open cache are closed, or come back with their next export.
        _sources[:] = [*(one for one in _sources if one is not snapshots and len(one)), snapshots]
        _write(private(default_directory() if options.directory is None else Path(options.directory)))


def default_directory() -> Path:
    """Where the files of this user are, unless a config says otherwise."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return Path(runtime, "codomyrmex-cache")
    return Path(tempfile.gettempdir(), f"codomyrmex-cache-{os.geteuid()}")


def private(directory: Path) -> Path:
    """The directory, made if it isn't there.

    Raises:
        CacheError: It can't be made, or others may write there: a file could be planted.
    """
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700, parents=True)
        found = directory.lstat()
    except OSError as error:
        raise CacheError(f"{directory} can't be used: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise CacheError(f"{directory} is not a directory that only its owner, this user, may use: remove it")
    return directory


def started(process: int) -> int | None:
    """When a process began, in ticks since the machine did; None if there is no such process, 0 if nobody can tell."""
    try:
        # Behind the command's name, which may hold anything but is the last thing in brackets.
        return int(Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19])
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return None
    except (OSError, ValueError, IndexError):
        return 0
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return 0


def _write(directory: Path) -> None:
    global _written
    process = os.getpid()
    content = {
        "format": FORMAT,
        "process": process,
        "started": started(process),
        "command": " ".join(map(os.path.basename, sys.argv[:1])) or "python",
        "time": time.time(),
        "caches": [
            {"cache": name, **dataclasses.asdict(stats)} for source in _sources for name, stats in source.items()
        ],
    }
    path = directory / f"{process}.json"
    new = directory / f"{process}.{os.urandom(4).hex()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)
    new.replace(path)
    if _written != path:
        _written = path
        atexit.register(_remove, path, process)


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child has inherited this
        path.unlink(missing_ok=True)
