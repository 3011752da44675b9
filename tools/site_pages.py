"""Hooks of mkdocs: pages of the site that don't lie in docs/, and folders in its navigation.

The tables of benchmarks/, the READMEs of plugins/ and the log of changes become pages, and each public module one with
all of its docstrings. In the navigation of mkdocs.yml a name that ends with a slash stands for all of that folder.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
_FILE = re.compile(r"^( *```\w+) file=", re.MULTILINE)
sys.path.append(str(ROOT / "tests" / "docs"))

import reference


def pages() -> dict[str, str]:
    """The text of each page that is not in docs/, by its path on the site."""
    texts = {f"benchmarks/{path.name}": path.read_text("utf-8") for path in sorted(ROOT.glob("benchmarks/*.md"))}
    texts |= {
        f"distributions/{path.parent.name}.md": path.read_text("utf-8")
        for path in sorted(ROOT.glob("plugins/*/README.md"))
    }
    texts["changes.md"] = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for end in reference.MODULES:
        name = f"codomyrmex.cache{end}"
        members = "".join(f"\n        - {member}" for member in reference.public(end))
        texts[f"api/{name}.md"] = f"# {name}\n\n::: {name}\n    options:\n      members:{members}\n"
    return texts


def on_config(config: Any) -> Any:
    """Put the pages of a folder in place of its name."""
    there = [*pages(), *sorted(path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md"))]

    def spread(item: Any) -> Any:
        if isinstance(item, list):
            return [spread(one) for one in item]
        if isinstance(item, dict):
            return {title: spread(one) for title, one in item.items()}
        return [page for page in there if page.startswith(item)] if item.endswith("/") else item

    config.nav = spread(config.nav)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links lead to where the pages are on the site, and show the names of files above their code."""
    return _FILE.sub(r"\1 title=", markdown.replace("](../benchmarks/", "](benchmarks/"))
