"""What is asked of the server, and what its replies mean: pure, and the same for both drivers.

An operation is a generator that yields one `Request` at a time and receives the list of its replies. Error replies are
among them as `ReplyError`. A request whose connection was found dead is repeated by who carries it out, unless it says
otherwise: then `Lost` is raised at the ``yield``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

import hiredis

from codomyrmex.cache import CacheConnectionError
from codomyrmex.cache.backend import Clock, Field, ScanPage, Version, kept_until_of

from ._errors import Lost, ReplyError, refusal
from ._scripts import HEAD, REMOVE, SWAP, TAGGED, Script

T = TypeVar("T")
Words: TypeAlias = "tuple[str | bytes, ...]"

pack: Callable[[Words], bytes] = cast(Any, hiredis).pack_command
"""A command as it is sent. Numbers have to be text: over an int, hiredis 3.5 ends the process if a signal comes."""
BATCH: Final = 1000
"""Most commands, or keys of one command, in a trip."""
BATCH_BYTES: Final = 1 << 20
"""A trip that has reached so many bytes is sent."""
_SLACK: Final = 1.0
"""Seconds that the server keeps a record beyond its kept-until: the clocks of two clients may differ so much."""
_LONGEST: Final = 1e9
"""Seconds; what lives longer is not given an end on the server."""
_SPECIAL = re.compile(r"([*?\[\]\\^-])")
_VERSION = Field.VERSION.value


class Request(NamedTuple):
    """One trip to the server.

    Attributes:
        data: Packed commands.
        replies: How many.
        repeat: Whether they may be carried out twice.
    """

    data: bytes
    replies: int = 1
    repeat: bool = True


Trips: TypeAlias = Generator[Request, "list[Any]", T]


class Operations:
    """Builds requests and reads replies.

    Args:
        prefix: Stands before every key.
        now: The server's time.
        server: What to call it in messages.
    """

    def __init__(self, prefix: str, now: Clock, server: object) -> None:
        self.prefix = prefix
        self._now = now
        self._server = server

    def put(self, key: str, record: bytes) -> bytes:
        """The packed command that stores a record."""
        life = self._life(record)
        if life is None:
            return pack(("SET", self.prefix + key, record))
        return pack(("SET", self.prefix + key, record, "PX", life))

    def value(self, reply: Any) -> bytes | None:
        """A record as found; raises what an error reply means."""
        if reply is None or reply.__class__ is bytes:
            return reply
        if reply.__class__ is ReplyError and reply.code == "WRONGTYPE":
            return b""  # somebody else's: there is something, and it can't be read
        raise self.wrong(reply)

    def done(self, reply: Any) -> None:
        """Raise what an error reply means."""
        if reply.__class__ is ReplyError:
            raise refusal(reply, self._server)

    def wrong(self, reply: Any) -> Exception:
        """The error for a reply that is an error, or of a type that nobody asked for."""
        if reply.__class__ is ReplyError:
            return refusal(reply, self._server)
        return CacheConnectionError(f"the server {self._server} gave an answer of the wrong kind")

    def get_many(self, keys: Sequence[str]) -> Trips[dict[str, bytes]]:
        """MGET."""
        found: dict[str, bytes] = {}
        for some in _batches(keys):
            (reply,) = yield Request(self.mget(some))
            for key, record in zip(some, self.values(reply, len(some)), strict=True):
                if record is not None:
                    found[key] = record
        return found

    def mget(self, keys: Sequence[str]) -> bytes:
        """The packed command that fetches several records."""
        prefix = self.prefix
        return pack(("MGET", *[prefix + key for key in keys]))

    def values(self, reply: Any, count: int) -> list[bytes | None]:
        """Its reply; raises what an error reply means."""
        if reply.__class__ is not list or len(reply) != count:
            raise self.wrong(reply)
        return reply

    def put_many(self, records: Mapping[str, bytes]) -> Trips[None]:
        """SET for each; raises the first error, when all have been tried."""
        error: ReplyError | None = None
        for data in _trips(self.put(key, record) for key, record in records.items()):
            for reply in (yield data):
                error = error or (reply if reply.__class__ is ReplyError else None)
        self.done(error)

    def remove_many(self, keys: Sequence[str]) -> Trips[dict[str, bytes]]:
        """The heads of what was there."""
        removed: dict[str, bytes] = {}
        for some in _batches(keys):
            heads = yield from self._scripted(REMOVE, [(self.prefix + key,) for key in some])
            removed |= {key: head for key, head in zip(some, heads, strict=True) if self.value(head) is not None}
        return removed

    def swap(
        self, key: str, field: Field, expected: Version | None, new: bytes | None, header_only: bool
    ) -> Trips[bool]:
        """One command or script; after a lost connection once more, settled by reading back."""
        script: Words | None = None
        name = self.prefix + key
        life = None if new is None else self._life(new)
        if expected is not None:
            action = "remove" if new is None else "header" if header_only else "set"
            first, end = field.value.start, field.value.stop
            compared = cast(bytes, expected)
            script = name, str(first), str(end - 1), compared, action, new or b"", life or ""
            words: Words = ()
        elif new is None:
            words = "EXISTS", name
        else:
            words = "SET", name, new, "NX", *(() if life is None else ("PX", life))
        try:
            reply = yield from self._attempt(words, script)
        except Lost as lost:
            reply = yield from self._attempt(words, script)
            if not self._swapped(reply, words) and (yield from self._unsettled(name, expected, new)):
                raise lost.error from lost.error.__cause__
            return True
        return self._swapped(reply, words)

    def _attempt(self, words: Words, script: Words | None) -> Trips[Any]:
        if script is None:
            (reply,) = yield Request(pack(words), repeat=False)
        else:
            (reply,) = yield from self._scripted(SWAP, [script], repeat=False)
        return reply

    def _swapped(self, reply: Any, words: Words) -> bool:
        if reply.__class__ is ReplyError:
            raise refusal(reply, self._server)
        return reply == 0 if words[:1] == ("EXISTS",) else bool(reply)

    def _unsettled(self, name: str, expected: Version | None, new: bytes | None) -> Trips[bool]:
        """Whether nobody can tell if the first attempt of a swap was carried out: its version isn't there."""
        if new is None:
            return expected is not None
        (version,) = yield Request(pack(("GETRANGE", name, str(_VERSION.start), str(_VERSION.stop - 1))))
        return bool(version != new[_VERSION])

    def get_tagged(self, keys: Sequence[str], marker: str) -> Trips[tuple[dict[str, bytes], dict[str, bytes]]]:
        """Records, and markers by tag."""
        records: dict[str, bytes] = {}
        markers: dict[str, bytes] = {}
        for some in _batches(keys):
            names = [self.prefix + key for key in some]
            (reply,) = yield from self._scripted(TAGGED, [(*names, self.prefix + marker)], keys=len(names))
            if reply.__class__ is not list or len(reply) != 2:
                raise self.wrong(reply)
            found, flat = reply
            records |= {key: record for key, record in zip(some, found, strict=True) if record is not None}
            for tag, record in zip(flat[::2], flat[1::2], strict=True):
                if record is not None:
                    markers[tag.decode(errors="replace")] = record
        return records, markers

    def scan(self, prefix: str, cursor: str | None, limit: int) -> Trips[ScanPage[bytes]]:
        """SCAN, then the heads of what it found."""
        following, names = yield from self._page(prefix, cursor or "0", limit)
        heads = yield from self._scripted(HEAD, [(name,) for name in names])
        found: dict[str, bytes] = {}
        for name, head in zip(names, heads, strict=True):
            if self.value(head):
                key = _decoded(name)
                if key is not None:
                    found[key[len(self.prefix) :]] = head
        return ScanPage(found, following)

    def clear(self, prefix: str) -> Trips[int]:
        """SCAN, and UNLINK in the same trip as the next SCAN."""
        removed = 0
        cursor: str | None = "0"
        unlink = b""
        while cursor is not None or unlink:
            data = unlink + (self._scan(prefix, cursor, BATCH) if cursor is not None else b"")
            replies = yield Request(data, bool(unlink) + (cursor is not None))
            if unlink:
                self.done(replies[0])
                removed += replies[0]
            unlink = b""
            if cursor is not None:
                cursor, names = self._scanned(replies[-1])
                if not prefix.startswith("\0"):
                    own = (self.prefix + "\0").encode()
                    names = [name for name in names if not name.startswith(own)]
                if names:
                    unlink = pack(("UNLINK", *names))
        return removed

    def _page(self, prefix: str, cursor: str, limit: int) -> Trips[tuple[str | None, list[bytes]]]:
        (reply,) = yield Request(self._scan(prefix, cursor, limit))
        return self._scanned(reply)

    def _scan(self, prefix: str, cursor: str, limit: int) -> bytes:
        pattern = _SPECIAL.sub(r"\\\1", self.prefix + prefix) + "*"
        return pack(("SCAN", cursor, "MATCH", pattern, "COUNT", str(limit)))

    def _scanned(self, reply: Any) -> tuple[str | None, list[bytes]]:
        if reply.__class__ is not list or len(reply) != 2:
            raise self.wrong(reply)
        following = reply[0].decode()
        return None if following == "0" else following, list(dict.fromkeys(reply[1]))

    def _scripted(
        self, script: Script, calls: Sequence[Words], *, keys: int = 1, repeat: bool = True
    ) -> Trips[list[Any]]:
        """Replies of a script, called with each of ``calls``, of which the first ``keys`` are keys."""
        if not calls:
            return []
        count = str(keys)
        data = b"".join([pack(("EVALSHA", script.digest, count, *call)) for call in calls])
        replies = yield Request(data, len(calls), repeat)
        unknown = [
            index for index, reply in enumerate(replies) if reply.__class__ is ReplyError and reply.code == "NOSCRIPT"
        ]
        if unknown:  # a server that was started or flushed since
            again: list[Words] = [("EVAL", script.source, count, *calls[index]) for index in unknown[:1]]
            again += [("EVALSHA", script.digest, count, *calls[index]) for index in unknown[1:]]
            fresh = yield Request(b"".join(map(pack, again)), len(again), repeat)
            for index, reply in zip(unknown, fresh, strict=True):
                replies[index] = reply
        return replies

    def _life(self, record: bytes) -> str | None:
        """Milliseconds for the server; None for ever."""
        seconds = kept_until_of(record) - self._now()
        return str(int((max(seconds, 0.0) + _SLACK) * 1000)) if seconds < _LONGEST else None


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    if len(keys) <= BATCH:
        return iter((keys,) if keys else ())
    return (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))


def _trips(commands: Iterable[bytes]) -> Iterator[Request]:
    batch: list[bytes] = []
    size = 0
    for command in commands:
        batch.append(command)
        size += len(command)
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield Request(b"".join(batch), len(batch))
            batch, size = [], 0
    if batch:
        yield Request(b"".join(batch), len(batch))


def _decoded(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:  # no key of a cache
        return None
