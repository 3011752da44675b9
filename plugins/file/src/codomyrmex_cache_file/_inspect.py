"""What a person should know of a store's directory: its state, room on the disk, and what was left behind there."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from codomyrmex.cache.backend import Finding

from . import _boot, _control, _folder
from ._control import CLEAN, DIRTY, Control

if TYPE_CHECKING:
    from ._store import Store

_MIB = 2**20


def inspect(store: Store) -> list[Finding]:
    """Look at the directory of ``store``; opens nothing and changes nothing.

    Raises:
        CacheConfigError: It is no directory that a store may use.
    """
    path = store.path
    findings: list[Finding] = []
    if os.path.lexists(path):
        _folder.check(path)
        findings.append(Finding("note", f"{path}, for its owner only"))
        findings += _state(store)
        findings += _left_behind(path)
    else:
        findings.append(Finding("note", f"{path}, which is not there yet"))
    findings += _room(path, store.options.max_bytes)
    return findings


def _state(store: Store) -> list[Finding]:
    """Whether the store was left in good order, from the page that can be read before it is opened."""
    try:
        descriptor = _folder.read_file(os.path.join(store.path, "control"))
    except FileNotFoundError:
        return []
    try:
        # At the gate, because who opens the store meanwhile would take this for somebody who has it open.
        return [store._gate.held(descriptor, lambda: _condition(store.path, descriptor))]
    finally:
        os.close(descriptor)


def _condition(path: str, descriptor: int) -> Finding:
    if os.fstat(descriptor).st_size < _control.SIZE:
        return Finding("warning", "its file 'control' is cut: it will be set aside, and begun anew")
    control = Control(descriptor, writable=False)
    state, boot = control.state, control.boot
    control.close()
    if state == CLEAN:
        return Finding("note", "clean: the disk has all of it")
    if state == DIRTY and boot != _boot.boot_id():
        return Finding(
            "warning", "the machine went down before it was on the disk: it will be set aside, and begun anew"
        )
    if _in_use(path):
        return Finding("note", "in use: not all of it may have reached the disk")
    return Finding("note", "a program was killed while it was open: it will be checked page by page")


def _in_use(path: str) -> bool:
    try:
        descriptor = _folder.read_file(os.path.join(path, "users"))
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)  # and with it the lock
    return False


def _left_behind(path: str) -> list[Finding]:
    with suppress(FileNotFoundError):
        found = os.stat(os.path.join(path, "damaged.mdb"))
        day = time.strftime("%Y-%m-%d", time.localtime(found.st_mtime))
        size = found.st_blocks * 512 / _MIB
        text = f"damaged.mdb, {size:.1f} MiB of {day}, was set aside; delete it if nobody wants to look into it"
        return [Finding("warning", text)]
    return []


def _room(path: str, limit: int) -> list[Finding]:
    """Whether the disk lets the store grow as large as it may."""
    held = 0
    with suppress(FileNotFoundError):
        held = os.stat(os.path.join(path, "data.mdb")).st_blocks * 512
    existing = path
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    disk = os.statvfs(existing)
    free = disk.f_bavail * disk.f_frsize
    if not os.access(existing, os.W_OK):
        if existing == path:
            return [Finding("warning", "this program may only read it")]
        return [Finding("problem", f"it can't be made: this program may not write to {existing}; choose another path")]
    if held + free < limit:
        text = (
            f"max_bytes allows {limit / _MIB:,.0f} MiB, the disk has room for {(held + free) / _MIB:,.0f} MiB: "
            "lower it, or make room"
        )
        return [Finding("warning", text)]
    return []
