"""Build artifacts: compiled once per content of their inputs, by whichever process comes first, on a bounded disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from codomyrmex.cache import Cache

Compiler = Callable[[list[Path]], bytes]


class Builder:
    """Builds targets from files.

    Args:
        cache: Where artifacts are kept; a `file_based` one is shared by all builds on this machine.
        toolchain: Name and version of the compiler, which decides what comes out as well.
    """

    def __init__(self, cache: Cache[bytes], toolchain: str) -> None:
        self._cache = cache
        self._toolchain = toolchain

    def build(self, target: str, inputs: Iterable[Path], compile_: Compiler) -> bytes:
        """The artifact of ``target``; other processes that want it meanwhile wait for it instead of building it too."""
        files = sorted(inputs)
        digest = hashlib.sha256(self._toolchain.encode())
        for path in files:
            digest.update(f"{path}:{path.stat().st_size}:".encode() + path.read_bytes())
        key = f"{target}:{digest.hexdigest()}"
        return self._cache.get_or_set(key, lambda: compile_(files), tags=[f"target:{target}"], lease="10m")

    def forget(self, target: str) -> None:
        """Have ``target`` built anew, whatever its inputs are; also if it is being built just now."""
        self._cache.invalidate_tags(f"target:{target}")
