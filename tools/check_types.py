"""Check the types of the installed packages, ours and the examples', with mypy and pyright.

The verdict is what a user's checker sees: a module or py.typed that is missing from a wheel is an error too. So are
the programs in tests/typing, which say what has to be revealed, and which lines have to be errors; and so is what
`codomyrmex-cache new-plugin` writes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from distributions import ROOT, examples, ours

PROGRAMS = sorted((ROOT / "tests" / "typing").glob("*.py"))
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


Found = dict[int, set[str]]
"""Types revealed in each line, with ``"error"`` among them if there was one."""


def expected(program: Path) -> Found:
    """What its comments say."""
    wanted: Found = {}
    for number, line in enumerate(program.read_text("utf-8").splitlines(), 1):
        code, _, comment = line.partition("  # ")
        if comment == "error" or code.lstrip().startswith("reveal_type("):
            wanted[number] = {comment}
    return wanted


def mypy_found(program: Path) -> Found:
    """What mypy says about it."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(program)]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    found: Found = {}
    for number, kind, text in re.findall(r"^[^:\n]+:(\d+): (error|note): (.*)$", done.stdout, re.MULTILINE):
        if kind == "error":
            found.setdefault(int(number), set()).add("error")
        elif revealed := re.fullmatch(r'Revealed type is "(.*)"', text):
            found.setdefault(int(number), set()).add(re.sub(r"[\w.]+\.(\w+)", r"\1", revealed[1]))
    return found


def pyright_found(program: Path) -> Found:
    """What pyright says about it."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(program)]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    found: Found = {}
    for one in json.loads(done.stdout)["generalDiagnostics"]:
        revealed = re.fullmatch(r'Type of ".*" is "(.*)"', one["message"], re.DOTALL)
        if one["severity"] == "error" or revealed:
            line = found.setdefault(one["range"]["start"]["line"] + 1, set())
            line.add(revealed[1] if revealed else "error")
    return found


def programs() -> bool:
    """Compare what both say about every program with its comments."""
    good = bool(PROGRAMS)
    for program in PROGRAMS:
        wanted = expected(program)
        for find in (mypy_found, pyright_found):
            found = find(program)
            for number in sorted({*wanted, *found}):
                said, want = found.get(number, set()), wanted.get(number, set())
                if said != want:
                    good = False
                    print(f"{program.relative_to(ROOT)}:{number}: {find.__name__}: {said or '-'}, not {want or '-'}")
    return good


def written_plugins() -> bool:
    """Check what ``codomyrmex-cache new-plugin`` writes, as its author would: the package and its tests, strictly."""
    from codomyrmex_cache_cli._new_plugin import write

    good = True
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ("backend", "eviction", "serializer", "exporter"):
            place = write(kind, f"my_{kind}", Path(scratch, kind))
            Path(place, "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "extraPaths": ["src"]}')
            for command in (
                ["mypy", "--strict", "--config-file=", "src", "tests"],
                ["pyright", "--pythonpath", sys.executable, "-p", "."],
            ):
                environment = {**os.environ, "MYPYPATH": "src"}
                done = subprocess.run([sys.executable, "-m", *command], cwd=place, env=environment, check=False)
                good = good and done.returncode == 0
    return good


def main() -> None:
    verdicts = []
    for checker in (mypy, pyright):
        print(f"{checker.__name__}: {', '.join(PACKAGES)}", flush=True)
        verdicts.append(checker())
    print(f"programs: {', '.join(program.name for program in PROGRAMS)}", flush=True)
    verdicts.append(programs())
    print("written by new-plugin", flush=True)
    verdicts.append(written_plugins())
    raise SystemExit(not all(verdicts))


if __name__ == "__main__":
    main()
