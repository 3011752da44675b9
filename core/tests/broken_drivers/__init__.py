"""Drivers with one mistake each, of the kind that people make: the kit has to find every one of them.

Each says by which laws it is caught. What it is derived from is sound.
"""

from __future__ import annotations

from . import concurrency, direct, keys, lifetimes, loading, objects, scanning, sharing, storing, swapping, tagging
from ._caught import BROKEN, Broken

__all__ = [
    "BROKEN",
    "Broken",
    "concurrency",
    "direct",
    "keys",
    "lifetimes",
    "loading",
    "objects",
    "scanning",
    "sharing",
    "storing",
    "swapping",
    "tagging",
]
