"""What a person should know of a server: which it is, what it does when it is full, its disk, and how far it is.

Asked with INFO, because many who rent out servers forbid CONFIG. A user who may not ask is told that, and no more.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from codomyrmex.cache import CacheConnectionError
from codomyrmex.cache.backend import Finding

from ._clock import ServerClock
from ._errors import ReplyError
from ._operations import Operations, Request, Trips, pack
from ._options import Server

MINIMUM: Final = {"Redis": (6, 2), "Valkey": (7, 2)}
"""Oldest versions that the backend serves."""
_PINGS: Final = 5
_SLOW: Final = 0.005
"""Seconds; a trip in the same data centre takes a tenth of that."""
_NEARLY_FULL: Final = 0.9
_MIB: Final = 2**20
Info: TypeAlias = Mapping[str, str]


def inspect(operations: Operations, server: Server, clock: ServerClock) -> Trips[list[Finding]]:
    """Ask the server, and judge what it says.

    Args:
        operations: Reads error replies.
        server: Where it is.
        clock: What its clock shows.

    Raises:
        CacheConnectionError: It doesn't answer.
    """
    taken: list[float] = []
    for _ in range(_PINGS):
        start = time.monotonic()
        (reply,) = yield Request(pack(("PING",)))
        taken.append(time.monotonic() - start)
        operations.done(reply)
    (reply,) = yield Request(pack(("INFO",)))
    if reply.__class__ is ReplyError and reply.code == "NOPERM":
        text = f"{server}, database {server.db}; this user may not ask it for more: allow the command INFO"
        return [Finding("note", text), *_distance(server, sorted(taken)[_PINGS // 2])]
    if not isinstance(reply, (str, bytes)):
        raise operations.wrong(reply)
    text = reply if isinstance(reply, str) else reply.decode(errors="replace")
    info = dict(_fields(text))
    try:
        judged = [*_version(server, info), *_role(info), *_eviction(info), *_persistence(info)]
    except ValueError as error:  # something between us and the server that makes up its own INFO
        raise CacheConnectionError(f"the server {server} gave an answer of the wrong kind") from error
    return [*judged, *_distance(server, sorted(taken)[_PINGS // 2]), *_clock(clock)]


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and not name.startswith("#"):
            yield name, value


def _version(server: Server, info: Info) -> Iterator[Finding]:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get(f"{name.lower()}_version", "0")
    yield Finding("note", f"{name} {version} at {server}, database {server.db}")
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    if (int(major), int(minor or 0)) < MINIMUM[name]:
        yield Finding("problem", f"{name} {version} is too old: Redis 6.2 or Valkey 7.2 is needed; update it")


def _role(info: Info) -> Iterator[Finding]:
    if info.get("role") in {"slave", "replica"}:
        yield Finding("problem", "it is a replica, which takes no writes: name its master in the URL")
    if info.get("cluster_enabled") == "1":
        yield Finding("problem", "it is a node of a Cluster, which this backend does not serve: name another server")
    if info.get("loading") == "1":
        yield Finding("warning", "it is still loading its data: until then calls fail")


def _eviction(info: Info) -> Iterator[Finding]:
    policy = info.get("maxmemory_policy", "noeviction")
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    held = f"{used / _MIB:,.0f} of {limit / _MIB:,.0f} MiB are used"
    if not limit:
        text = "it has no limit of memory, so it grows until its machine has none left: set maxmemory"
        yield Finding("warning", f"{text}, and maxmemory-policy to allkeys-lru if it holds nothing but caches")
    elif policy == "noeviction":
        text = f"it evicts nothing, so writes fail when it is full ({held})"
        yield Finding("warning", f"{text}: set maxmemory-policy to allkeys-lru, or volatile-lru beside other data")
    elif policy.startswith("volatile-"):
        text = f"its policy {policy} evicts only what has a ttl ({held}): entries without one fill it for good"
        yield Finding("note", f"{text}; give caches a ttl, or set maxmemory-policy to allkeys-lru")
    else:
        yield Finding("note", f"its policy is {policy}, {held}")
    if limit and policy == "noeviction" and used > limit * _NEARLY_FULL:
        yield Finding("warning", "it is nearly full: raise maxmemory, or shorten ttls")


def _persistence(info: Info) -> Iterator[Finding]:
    if info.get("rdb_last_bgsave_status", "ok") != "ok" or info.get("aof_last_write_status", "ok") != "ok":
        text = "it can't save to its disk, and may refuse all writes for that reason (MISCONF)"
        yield Finding("warning", f"{text}: make room there, or set save to nothing if it holds only caches")
    if info.get("aof_enabled") == "1":
        yield Finding("note", "it logs every write to its disk; set appendonly to no if it holds only caches")
    elif info.get("rdb_last_bgsave_time_sec", "-1") != "-1":
        yield Finding("note", "it saves to its disk now and then: a restart brings most entries back")
    else:
        yield Finding("note", "it has saved nothing to a disk since it was started: a restart may empty it")


def _distance(server: Server, seconds: float) -> Iterator[Finding]:
    """How long a trip takes, the median of some, and whether others can read along."""
    text = f"a trip takes {seconds * 1000:.2f} ms"
    if seconds > server.timeout / 4:
        yield Finding("warning", f"{text}, and timeout is {server.timeout:g} s: raise it, or move the server closer")
    elif seconds > _SLOW:
        yield Finding("warning", f"{text}: move the server closer, or ask for many keys at once with get_many")
    else:
        yield Finding("note", text)
    if not server.tls and not server.path and not _is_local(server.host):
        yield Finding("warning", "values and password cross the network in plain text: use a rediss:// URL")


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _clock(clock: ServerClock) -> Iterator[Finding]:
    if abs(clock.offset) > 1:
        text = f"its clock differs from this machine's by {clock.offset:+.1f} s"
        yield Finding("note", f"{text}; lifetimes go by its clock, on all machines alike")
