"""What a driver declares, and the small things its methods return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from ._record import Record

S = TypeVar("S", bytes, Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a driver declares about itself; nothing is guessed.

    Attributes:
        stores: ``"bytes"`` for encoded records, ``"objects"`` for `Record` instances kept as they are.
        shared: Other processes or machines use the same store at the same time.
        persistent: Entries outlive the process.
        swap: `swap` is atomic among all who share the store. False: among the threads of this process only; a shared
            driver is then refused unless its cache says ``fence = "process"``.
        isolated: No other cache can reach this driver's store, so keys come without the cache's name in front.
        bounded: It keeps limits and evicts, by the policy that its request creates.
        native_expiry: The store itself drops records past their kept-until.
        one_trip_tags: `get_tagged` is there.
        direct: `direct` is there.
        waits: `wait` returns soon after a lease has gone, not only after its timeout.
        blocking: Which calls may wait for a disk, a lock or a network: ``"never"``, ``"writes"`` or ``"always"``.
        clock: What `Backend.now` counts on: this process, this machine (also after a reboot), or the server.
    """

    stores: Literal["bytes", "objects"] = "bytes"
    shared: bool = False
    persistent: bool = False
    swap: bool = True
    isolated: bool = False
    bounded: bool = False
    native_expiry: bool = False
    one_trip_tags: bool = False
    direct: bool = False
    waits: bool = False
    blocking: Literal["never", "writes", "always"] = "always"
    clock: Literal["process", "boot", "server"] = "process"


class ScanPage(NamedTuple, Generic[S]):
    """One page of a `scan`: heads by key, and the cursor of the next page (None after the last)."""

    heads: Mapping[str, S]
    cursor: str | None


class Purged(NamedTuple):
    """Result of a `purge`: how many of the users' entries were removed, and whether more may be waiting."""

    removed: int
    more: bool


class Usage(NamedTuple):
    """Size of a store; None where it would have to be scanned or has no limit."""

    entries: int | None = None
    bytes: int | None = None
    max_entries: int | None = None
    max_bytes: int | None = None


class Finding(NamedTuple):
    """What `Backend.inspect` found out about a store: a sentence for people, and how much it matters.

    A ``"note"`` is good to know, a ``"warning"`` may need a look some day, and a ``"problem"`` has to be mended.
    """

    level: Literal["note", "warning", "problem"]
    text: str
