"""Makes docs/pictures/top.svg: what `codomyrmex-cache top` shows of three processes that really run.

python tools/picture_of_top.py
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from codomyrmex_cache_cli import _top

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "top.svg"
PROGRAM = """
import random, sys, time
from codomyrmex.cache import CacheManager

shown, files, seed = sys.argv[1:]
config = {
    "caches": {
        "sessions": {"max_entries": 2_000, "ttl": "10m"},
        "reports": {"backend": "file_based", "path": files, "max_bytes": "64MiB"},
    },
    "exporters": {"top": {"interval": "200ms", "directory": shown}},
}
with CacheManager(config, environ={}) as manager:
    sessions, reports, draw = manager.get_cache("sessions"), manager.get_cache("reports"), random.Random(int(seed))
    while True:
        for _ in range(50):
            sessions.get_or_set(f"user:{int(draw.expovariate(1 / 900))}", lambda: {"cart": [1, 2, 3]})
        name = f"report:{int(draw.expovariate(1 / 40))}"
        reports.get_or_set(name, lambda: time.sleep(0.02) or b"x" * 20_000, ttl=30)
        time.sleep(0.005)
"""
WIDTH = 118


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        shown = Path(scratch, "shown")
        command = [sys.executable, "-c", PROGRAM, str(shown), str(Path(scratch, "files"))]
        processes = [subprocess.Popen([*command, str(seed)]) for seed in range(3)]
        try:
            time.sleep(6)
            before = _top.readings(shown)
            time.sleep(1)
            rows = _top.lines(_top.readings(shown), before, processes=False)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    console = Console(width=WIDTH, record=True, file=io.StringIO())
    console.print(_top.table(rows, WIDTH, processes=False))
    console.save_svg(str(PICTURE), title="codomyrmex-cache top")


if __name__ == "__main__":
    main()
