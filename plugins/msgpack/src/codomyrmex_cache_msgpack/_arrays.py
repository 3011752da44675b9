"""Arrays and scalars of numpy: type of the elements, shape, order, bytes."""

from __future__ import annotations

import contextlib
import re
from typing import Any, cast

import numpy as np
from numpy.lib import format as npy

from codomyrmex.cache import CacheSerializationError

from ._marks import type_of
from ._registered import Writer

_KINDS = frozenset("biufcmMSUV")
_SIMPLE = re.compile(r"[<>|][biufcmMSUV][0-9]{1,9}(?:\[[0-9]{0,9}[A-Za-z]{1,2}\])?")


class _Array(Writer):
    def write(self, value: Any) -> list[Any]:
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        return [_write_dtype(value.dtype), list(value.shape), order, value.tobytes(order)]

    def read(self, state: Any) -> Any:
        described, shape, order, data = state
        if (
            type(data) is not bytes
            or order not in ("C", "F")
            or any(type(size) is not int or size < 0 for size in shape)
        ):
            raise TypeError
        dtype = _read_dtype(described)
        if _write_dtype(dtype) != described or (dtype.kind == "b" and data.strip(b"\0\1")):
            raise ValueError
        if not data:
            if 0 not in shape:
                raise ValueError
            return np.empty(shape, dtype, order)
        # The bytearray is what makes the array writable.
        return np.frombuffer(bytearray(data), dtype).reshape(shape, order=order)


class _Scalar(Writer):
    def write(self, value: Any) -> list[Any]:
        return [_write_dtype(value.dtype, type_of(value)), value.tobytes()]

    def read(self, state: Any) -> Any:
        described, data = state
        if type(data) is not bytes:
            raise TypeError
        (value,) = np.frombuffer(bytearray(data), _read_dtype(described))
        # A bool of another byte than 0 and 1, or foreign byte order, would be a second way to write a value.
        if not isinstance(value, self.cls) or self.write(value) != state:
            raise TypeError
        return value


def writer(name: str, cls: type[Any]) -> Writer:
    """The writer of ``numpy.ndarray`` or of a scalar type."""
    if cls is np.ndarray:
        return _Array(name, cls)
    if issubclass(cls, np.generic):
        return _Scalar(name, cast("type[Any]", cls))
    raise CacheSerializationError(f"{name!r} is neither an array nor a scalar: register it with encode and decode")


def _write_dtype(dtype: np.dtype[Any], scalar: type[Any] | None = None) -> Any:
    """What `_read_dtype` reads: text for a simple type, a list of fields for a structured one."""
    described = again = None
    if dtype.kind in _KINDS and not dtype.hasobject and not dtype.metadata:
        with contextlib.suppress(TypeError, ValueError):
            described = _listed(npy.dtype_to_descr(dtype))
            again = _read_dtype(described)
    # Equal types may still be different ones, such as long and long long.
    if again is None or not _identical(dtype, again) or scalar not in (None, again.type):
        raise CacheSerializationError(f"msgpack can't keep numpy's {dtype.name[:20]} as it is")
    return described


def _identical(one: np.dtype[Any], other: np.dtype[Any]) -> bool:
    same = one == other and (one.char, one.itemsize, one.isalignedstruct) == (
        other.char,
        other.itemsize,
        other.isalignedstruct,
    )
    return same and repr(one) == repr(other)


def _listed(described: Any) -> Any:
    """A description with lists in place of tuples."""
    return [_listed(part) for part in cast("list[Any]", described)] if type(described) in (list, tuple) else described


def _read_dtype(described: Any) -> np.dtype[Any]:
    """The type of elements; raises ValueError or TypeError."""
    dtype: np.dtype[Any] = npy.descr_to_dtype(_checked(described))
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError
    return dtype


def _checked(described: Any) -> Any:
    """The description with its tuples, every type in it one of numpy's own simple ones."""
    if type(described) is str:
        if not _SIMPLE.fullmatch(described):
            raise ValueError
        return described
    return [_field(*field) for field in described]


def _field(name: Any, kind: Any, shape: Any = None) -> tuple[Any, ...]:
    if type_of(name) is list and [*map(type_of, name)] == [str, str]:
        name = tuple(name)
    elif type_of(name) is not str:
        raise TypeError
    if shape is None:
        return name, _checked(kind)
    if {*map(type_of, shape)} - {int}:
        raise TypeError
    return name, _checked(kind), tuple(shape)
