"""A page of documentation, taken apart: its blocks of code, its headings and its links."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_OPENING = re.compile(r"( *)```(\S*) ?(.*)")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
_COMMENT = re.compile(r"<!-- installed: (\S+) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: First word behind the fence.
        file: What ``file="…"`` behind the fence says; empty without it.
        line: Number of the page's line that the block's first line is.
        follows: Whether nothing but empty lines stands between it and the block before.
        text: Its lines, the fence's indentation taken off.
    """

    language: str
    file: str
    line: int
    follows: bool
    text: str


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        path: Where it is.
        blocks: Its fenced blocks.
        prose: Everything else.
    """

    path: Path
    blocks: tuple[Block, ...]
    prose: str

    @classmethod
    def read(cls, path: Path) -> Page:
        """Take the page apart."""
        blocks: list[Block] = []
        prose: list[str] = []
        follows = False
        lines = iter(enumerate(path.read_text("utf-8").splitlines(), 1))
        for number, line in lines:
            opening = _OPENING.fullmatch(line)
            if opening is None:
                prose.append(line)
                follows = follows and not line.strip()
                continue
            indentation, language, rest = opening.groups()
            content: list[str] = []
            for _, inner in lines:
                if inner == indentation + "```":
                    break
                content.append(inner.removeprefix(indentation) + "\n")
            else:
                raise AssertionError(f"{path}:{number}: a block without end")
            attributes = dict(_ATTRIBUTE.findall(rest))
            blocks.append(Block(language, attributes.get("file", ""), number + 1, follows, "".join(content)))
            follows = True
        return cls(path, tuple(blocks), "\n".join(prose))

    def __str__(self) -> str:
        return os.path.relpath(self.path, ROOT)

    @property
    def anchors(self) -> set[str]:
        """The ends of links to this page's headings, as code hosts make them."""
        headings = _HEADING.findall(self.prose)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    @property
    def links(self) -> list[str]:
        """Targets of links to files and headings of this repository."""
        return [target for target in _LINK.findall(self.prose) if "://" not in target]

    @property
    def installed(self) -> list[str]:
        """Directories of the distributions that a reader of this page has installed beside ours."""
        return _COMMENT.findall(self.prose)


def pages() -> list[Page]:
    """README.md and everything below docs/."""
    return [Page.read(path) for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if path.is_file()]
