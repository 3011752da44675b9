"""What becomes of the open stores of this process when it forks, and when it ends.

A child has the memory of its parent, but none of its threads; and closing LMDB's environment in the child would take
the parent's readers out of the list that they share. So the parent closes it before, and opens it again.
"""

from __future__ import annotations

import atexit
import os
import weakref
from contextlib import suppress
from typing import Protocol

from codomyrmex.cache.errors import CacheError


class Forking(Protocol):
    """A store, as it is asked here."""

    path: str

    def settle(self, idle: float) -> None:
        """Bring it to the disk and mark it clean."""
        ...

    def before_fork(self) -> None:
        """Close what must not be copied, and let nobody open it."""
        ...

    def after_fork_in_parent(self) -> None:
        """Open it again."""
        ...

    def after_fork_in_child(self) -> None:
        """Begin without threads and locks."""
        ...


_stores: weakref.WeakSet[Forking] = weakref.WeakSet()
_forking: list[Forking] = []


def watch(store: Forking) -> None:
    """Call ``store`` from now on."""
    _stores.add(store)


def _before() -> None:
    stores = sorted(_stores, key=lambda store: store.path)
    for store in stores:
        store.before_fork()
    _forking[:] = stores


def _in_parent() -> None:
    stores = list(_forking)
    _forking.clear()
    for store in stores:
        store.after_fork_in_parent()


def _in_child() -> None:
    stores = list(_forking)
    _forking.clear()
    for store in stores:
        store.after_fork_in_child()


def _at_exit() -> None:
    # A program that ends without closing its caches leaves them in good order all the same.
    for store in list(_stores):
        with suppress(CacheError):
            store.settle(0.0)


atexit.register(_at_exit)
os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
