"""Check the types of the installed packages, ours and the examples', with mypy and pyright.

The verdict is what a user's checker sees: a module or py.typed that is missing from a wheel is an error too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from distributions import ROOT, examples, ours

PACKAGES = [distribution.package for distribution in ours() + examples()]


def mypy() -> bool:
    """Run mypy on the packages by name."""
    command = [sys.executable, "-m", "mypy", *(word for package in PACKAGES for word in ("-p", package))]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def pyright() -> bool:
    """Run pyright on the directories of the packages.

    It leaves out what lies below a directory like .tox unless its configuration lies there as well, and takes
    no file at all for a success: hence a configuration beside site-packages, and a count of the files.
    """
    site = Path(sysconfig.get_path("purelib"))
    directories = [site.joinpath(*package.split(".")) for package in PACKAGES]
    with tempfile.TemporaryDirectory(dir=site.parent) as scratch:
        include = [os.path.relpath(directory, scratch) for directory in directories]
        settings = {"extends": os.path.relpath(ROOT / "pyproject.toml", scratch), "include": include}
        Path(scratch, "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
        options = ["--outputjson", "--pythonpath", sys.executable, "-p", scratch]
        command = [sys.executable, "-m", "pyright", *options]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    report = json.loads(done.stdout)
    for found in report["generalDiagnostics"]:
        place = f"{os.path.relpath(found['file'], ROOT)}:{found['range']['start']['line'] + 1}"
        print(f"{place}: {found['severity']}: {found['message']} [{found.get('rule', 'syntax')}]")
    checked = report["summary"]["filesAnalyzed"]
    print(f"{report['summary']['errorCount']} errors in {checked} files")
    return done.returncode == 0 and checked == sum(1 for top in directories for _ in top.rglob("*.py"))


def main() -> None:
    verdicts = []
    for checker in (mypy, pyright):
        print(f"{checker.__name__}: {', '.join(PACKAGES)}", flush=True)
        verdicts.append(checker())
    raise SystemExit(not all(verdicts))


if __name__ == "__main__":
    main()
