"""Compression of what a serializer wrote.

The first byte says what follows: 0 the bytes as they were, 1 one Zstandard frame that states the size it opens to.
Nothing is opened before that size was checked, and zstd itself stops at it: a frame that lies is an error, not memory.
"""

from __future__ import annotations

import threading

from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError, frame_content_size

from codomyrmex.cache import CacheSerializationError
from codomyrmex.cache.serializers import Transform

_PLAIN, _FRAME = b"\x00", b"\x01"
_SMALLEST_WINDOW, _LARGEST_WINDOW = 2**10, 2**27  # what any level needs


class ZstdTransform(Transform):
    """Compresses bytes above a threshold, if that makes them smaller.

    Args:
        threshold: Bytes below which nothing is compressed.
        level: From 1, fast, to 22, small.
        max_size: Most bytes that compressed ones may open to.
    """

    def __init__(self, *, threshold: int, level: int, max_size: int) -> None:
        self._threshold = threshold
        self._max_size = max_size
        self._own = _PerThread(level, max_size)

    def encode(self, data: bytes, context: bytes) -> bytes:
        """``data`` compressed, or as it is, behind a byte that says which."""
        if self._threshold <= len(data) <= self._max_size:
            try:
                packed = self._own.compressor.compress(data)
            except ZstdError as error:
                raise CacheSerializationError("zstd can't compress this value") from error
            if len(packed) < len(data):
                return _FRAME + packed
        return _PLAIN + data

    def decode(self, data: bytes, context: bytes) -> bytes:
        """What `encode` was given.

        Raises:
            CacheSerializationError: It would open to more than ``max_size``, or `encode` never gave it.
        """
        kind = data[:1]
        if kind == _PLAIN:
            return data[1:]
        if kind != _FRAME:
            raise CacheSerializationError("the stored bytes are neither plain nor compressed by zstd")
        frame = data[1:]
        try:
            size = frame_content_size(frame)
            if not 0 < size <= self._max_size:
                raise CacheSerializationError(_oversized(size, self._max_size))
            return self._own.decompressor.decompress(frame, max_output_size=size, allow_extra_data=False)
        except (ZstdError, MemoryError) as error:
            raise CacheSerializationError("the stored bytes can't be opened by zstd") from error


class _PerThread(threading.local):
    """A compressor and a decompressor for each thread: neither may be used by two at a time, both are dear to make.

    A forked child goes on with those of the thread that forked: they are memory and nothing else.
    """

    def __init__(self, level: int, max_size: int) -> None:
        window = min(max(1 << (max_size - 1).bit_length(), _SMALLEST_WINDOW), _LARGEST_WINDOW)
        self.compressor = ZstdCompressor(level=level)
        self.decompressor = ZstdDecompressor(max_window_size=window)


def _oversized(size: int, max_size: int) -> str:
    if size <= 0:
        return "the stored bytes don't say what zstd opens them to"
    return f"the stored bytes would open to {size:,} bytes; max_size is {max_size:,}"
