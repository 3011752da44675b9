"""Between a `Record` and what the driver stores.

For drivers of objects that is the record itself. For drivers of bytes it is the layout of `_record.py`; this module
writes it, and reads it back without trusting anything: every part has a checksum seeded with cache name and key, so
that bytes that were cut, flipped, moved to another key or written by an unknown version are recognised before any
decoder sees them. There is one decoder per cache, never a second try with another.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from zlib import crc32

from ._record import (
    EXTENDED,
    FAILED,
    FORMAT,
    HEADER,
    HEADER_SIZE,
    NO_LEASE,
    PENDING,
    Field,
    Record,
    Tags,
    Version,
)
from ._ttl import CLOCK_TOLERANCE
from .errors import CacheSerializationError
from .serializers import Serializer, Transform

_CHECKSUM = struct.Struct("<I")
_PAYLOAD = struct.Struct("<II")
_SHORT = struct.Struct("<H")
_TOKEN_SIZE = 8
_COST_LIMIT = 3e38
_PLAIN = struct.Struct("<II8xd8xd20xIII")
"""Of a record without annex: its first four bytes, annex length, fresh until, ttl, the checksums of header and payload,
and who wrote the payload."""
_UNSIGNED_HEADER = struct.Struct("<BBHI8sddd8sdf")
_UNSIGNED = _UNSIGNED_HEADER.size
_SMALL = 2**14
"""Bytes that are copied faster than a view of them is made."""


class Unreadable(Exception):
    """A stored record that is not trusted.

    Attributes:
        reason: For people; never holds a value.
        version: What a swap may compare, None if the record is too short to have one.
    """

    def __init__(self, reason: str, version: Version | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.version = version


class Codec(Protocol):
    """What the core asks of either kind."""

    name: str
    """Names of the pipeline's stages; ``none`` for objects."""

    def encode(self, key: str, record: Record) -> Any:
        """What to store for a record whose value is the user's."""
        ...

    def header(self, key: str, record: Record) -> Any:
        """What to give a `swap` with ``header_only``."""
        ...

    def decode(self, key: str, stored: Any) -> Record:
        """The record, its value still undecoded; from a head alone, without value. Raises `Unreadable`."""
        ...

    def value(self, key: str, record: Record) -> Any:
        """The user's value. Raises `Unreadable`."""
        ...

    def raw(self, key: str, record: Record) -> Any:
        """What to store for a record of the cache's own, whose value is bytes."""
        ...

    def raw_value(self, key: str, record: Record) -> bytes:
        """The bytes of such a record. Raises `Unreadable`."""
        ...


class ObjectCodec:
    """For drivers that keep objects: nothing to do."""

    name = "none"

    def encode(self, key: str, record: Record) -> Record:
        """The record itself."""
        return record

    header = raw = encode

    def decode(self, key: str, stored: Record) -> Record:
        """The record itself."""
        return stored

    def value(self, key: str, record: Record) -> Any:
        """The object itself."""
        return record.value

    raw_value = value


class BytesCodec:
    """For drivers that keep bytes.

    Args:
        cache: Name of the cache.
        names: The pipeline's names, as config has them.
        serializer: Its first stage.
        transforms: Its further stages.
        checksum: CRC-32.
    """

    def __init__(
        self,
        cache: str,
        names: Sequence[str],
        serializer: Serializer,
        transforms: Sequence[Transform],
        checksum: Callable[..., int] = crc32,
    ) -> None:
        self.name = "+".join(names)
        self._fingerprint = crc32(self.name.encode())
        self.context = cache.encode() + b"\0"
        """What stands in front of a key to seed checksums."""
        self._serializer = serializer
        self._transforms = tuple(transforms)
        self._undo = tuple(reversed(self._transforms))
        self._crc32 = checksum
        self.takes_views = serializer.views and not transforms
        """Whether a record may be read from a memoryview."""

    def encode(self, key: str, record: Record) -> bytes:
        """Header, annex and payload; raises `CacheSerializationError`."""
        context = self.context + key.encode()
        if record.pending:
            return _assemble(context, record)
        try:
            data = self._serializer.dumps(record.value, context)
            for stage in self._transforms:
                data = stage.encode(data, context)
            sealed = self._seal(context, self._fingerprint, data)
        except (CacheSerializationError, MemoryError):
            raise
        except Exception as error:
            raise _failure(self.name, record.value, error) from error
        return _assemble(context, record, *sealed)

    def plain_reader(self, clock: Callable[[], float]) -> Callable[[bytes, Any], tuple[bool, Any]]:
        """A function that reads a stored record, given its context (`context` and key), in one go.

        It returns True and the value of a plain record (fresh, in order, without tags and token), False and the record
        if it is not.
        """
        loads, undo, fingerprint = self._serializer.loads, self._undo, self._fingerprint
        unpack, shortest, checksum = _PLAIN.unpack_from, _PLAIN.size, self._crc32
        takes_views, writer = self.takes_views, _CHECKSUM.pack(fingerprint)

        def read(context: bytes, stored: Any) -> tuple[bool, Any]:
            if len(stored) < shortest:
                return False, bytes(stored)
            start, annex, fresh, ttl, signed, sealed, written_by = unpack(stored)
            # The first four bytes are format, flags and zeros.
            if start != FORMAT or annex or written_by != fingerprint:
                return False, bytes(stored)
            if not 0 < fresh - clock() <= ttl + CLOCK_TOLERANCE:
                return False, bytes(stored)
            seed = checksum(context)
            data: Any = memoryview(stored)[shortest:] if len(stored) > _SMALL else stored[shortest:]
            # Who wrote it stands between the checksum and the data, and has been compared.
            if signed != checksum(stored[:_UNSIGNED], seed) or sealed != checksum(data, checksum(writer, seed)):
                return False, bytes(stored)
            if not takes_views:
                data = bytes(data)
            try:
                for stage in undo:
                    data = stage.decode(data, context)
                return True, loads(data, context)
            except Exception:  # the general path says why
                return False, bytes(stored)

        return read

    def plain_writer(self) -> Callable[[bytes, Any, bytes, float, float], bytes]:
        """A function that makes a plain record from context, value, version, fresh until and ttl, in one go.

        It raises `CacheSerializationError` as `encode` does.
        """
        dumps, transforms, fingerprint = self._serializer.dumps, self._transforms, _CHECKSUM.pack(self._fingerprint)
        name = self.name
        pack, sums, checksum = _UNSIGNED_HEADER.pack, _PAYLOAD.pack, self._crc32

        def write(context: bytes, value: Any, version: bytes, fresh: float, ttl: float) -> bytes:
            seed = checksum(context)
            try:
                data = dumps(value, context)
                for stage in transforms:
                    data = stage.encode(data, context)
                sealed = checksum(data, checksum(fingerprint, seed))
            except (CacheSerializationError, MemoryError):
                raise
            except Exception as error:
                raise _failure(name, value, error) from error
            head = pack(FORMAT, 0, 0, 0, version, fresh, fresh, ttl, NO_LEASE, 0.0, 0.0)
            return b"".join((head, sums(checksum(head, seed), sealed), fingerprint, data))

        return write

    def raw(self, key: str, record: Record) -> bytes:
        """Header, annex and payload of a record of the cache's own."""
        context = self.context + key.encode()
        return _assemble(context, record, *self._seal(context, 0, record.value))

    def header(self, key: str, record: Record) -> bytes:
        """The header alone; the annex length is the stored record's, so tags and token must be unchanged."""
        return _assemble(self.context + key.encode(), record)[:HEADER_SIZE]

    def decode(self, key: str, stored: bytes) -> Record:
        """Checks header and annex."""
        return _parse(self.context + key.encode(), stored)

    def value(self, key: str, record: Record) -> Any:
        """Checks and decodes the payload."""
        context = self.context + key.encode()
        data = self._unsealed(context, record, self._fingerprint)
        try:
            for stage in self._undo:
                data = stage.decode(data, context)
            return self._serializer.loads(data, context)
        except CacheSerializationError as error:
            raise Unreadable(error.message, record.version) from error
        except MemoryError:
            raise
        except Exception as error:  # what can't be decoded is a miss, whatever a plugin's decoder makes of it
            raise Unreadable(f"the serializer {self.name} failed: {type(error).__name__}", record.version) from error

    def raw_value(self, key: str, record: Record) -> bytes:
        """Checks the payload."""
        return self._unsealed(self.context + key.encode(), record, 0)

    def _seal(self, context: bytes, fingerprint: int, data: bytes) -> tuple[bytes, bytes]:
        """What stands in front of the serialized value, and that value."""
        written_by = _CHECKSUM.pack(fingerprint)
        return _CHECKSUM.pack(self._crc32(data, crc32(written_by, crc32(context)))) + written_by, data

    def _unsealed(self, context: bytes, record: Record, fingerprint: int) -> bytes:
        payload: bytes = record.value
        if payload is None or len(payload) < _PAYLOAD.size:
            raise Unreadable("the payload is cut", record.version)
        checksum, written_by = _PAYLOAD.unpack_from(payload)
        if checksum != self._crc32(memoryview(payload)[_CHECKSUM.size :], crc32(context)):
            raise Unreadable("the payload is damaged, or belongs to another key", record.version)
        if written_by != fingerprint:
            raise Unreadable(f"it was written by another serializer than {self.name}", record.version)
        return payload[_PAYLOAD.size :]


def _failure(serializer: str, value: Any, error: Exception) -> CacheSerializationError:
    """What a serializer should have raised that raised something else, or made something else than bytes."""
    return CacheSerializationError(
        f"the serializer {serializer} failed on a value of type {type(value).__name__}: {type(error).__name__}"
    )


def _assemble(context: bytes, record: Record, *payload: bytes) -> bytes:
    annex = _pack_annex(context, record.tags, record.token) if record.tags or record.token else b""
    fields = (
        FORMAT,
        PENDING * record.pending | FAILED * record.failed | EXTENDED * record.extended,
        0,
        len(annex),
        record.version,
        record.fresh_until,
        record.kept_until,
        record.ttl,
        record.lease or NO_LEASE,
        record.lease_until,
        min(record.cost, _COST_LIMIT),
    )
    header = HEADER.pack(*fields, 0)[: -_CHECKSUM.size]
    return b"".join((header, _CHECKSUM.pack(crc32(header, crc32(context))), annex, *payload))


def _parse(context: bytes, stored: bytes) -> Record:
    if len(stored) < HEADER_SIZE:
        raise Unreadable("the record is cut")
    version = stored[Field.VERSION.value]
    if stored[0] != FORMAT:
        raise Unreadable(f"format {stored[0]} is unknown to this version, which reads {FORMAT}", version)
    (_, flags, _, annex_length, _, fresh, kept, ttl, lease, lease_until, cost, checksum) = HEADER.unpack_from(stored)
    if checksum != crc32(stored[: HEADER_SIZE - _CHECKSUM.size], crc32(context)):
        raise Unreadable("the header is damaged, or belongs to another key", version)
    if math.isnan(fresh) or math.isnan(kept) or math.isnan(ttl):
        raise Unreadable("the header holds no valid times", version)
    end = HEADER_SIZE + annex_length
    tags, token = _parse_annex(context, stored[HEADER_SIZE:end], annex_length, version)
    return Record(
        value=stored[end:] or None,
        version=version,
        fresh_until=fresh,
        kept_until=kept,
        ttl=ttl,
        lease=None if lease == NO_LEASE else lease,
        lease_until=lease_until,
        tags=tags,
        cost=cost,
        pending=bool(flags & PENDING),
        token=token,
        failed=bool(flags & FAILED),
        extended=bool(flags & EXTENDED),
    )


def _pack_annex(context: bytes, tags: Tags, token: bytes) -> bytes:
    parts = [_SHORT.pack(len(tags)), _SHORT.pack(len(token)), token]
    for tag, marker in tags:
        name = tag.encode()
        parts += (_SHORT.pack(len(name)), name, marker)
    body = b"".join(parts)
    return _CHECKSUM.pack(crc32(body, crc32(context))) + body


def _parse_annex(context: bytes, annex: bytes, length: int, version: Version) -> tuple[Tags, bytes]:
    if not length:
        return (), b""
    body = annex[_CHECKSUM.size :]
    if len(annex) != length or length < 8 or _CHECKSUM.unpack_from(annex)[0] != crc32(body, crc32(context)):
        raise Unreadable("the tags are damaged, or belong to another key", version)
    try:
        return _unpack_tags(body)
    except (struct.error, UnicodeDecodeError):
        raise Unreadable("the tags can't be read", version) from None


def _unpack_tags(body: bytes) -> tuple[Tags, bytes]:
    count, size = _SHORT.unpack_from(body)[0], _SHORT.unpack_from(body, 2)[0]
    token, at = body[4 : 4 + size], 4 + size
    tags: list[tuple[str, bytes]] = []
    for _ in range(count):
        end = at + 2 + _SHORT.unpack_from(body, at)[0]
        tags.append((body[at + 2 : end].decode(), body[end : end + _TOKEN_SIZE]))
        at = end + _TOKEN_SIZE
    return tuple(tags), token
