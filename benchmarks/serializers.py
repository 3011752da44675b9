"""Serializers side by side, in one run: `python benchmarks/serializers.py [--quick]` prints the tables and writes them
to serializers.md.

Every round measures each contender once, in turn, on the same value, so that a machine that slows down slows all of
them. A figure is the median of the rounds; the multiple is to bare ormsgpack, or for what that can't keep to pickle, in
the same round. A contender that changes or refuses a value shows that in place of figures.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import pickle
import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
import ormsgpack
import report

from codomyrmex.cache._json import JsonSerializer
from codomyrmex.cache._pickle import PickleSerializer
from codomyrmex.cache.serializers import Serializer, register
from codomyrmex_cache_msgpack import MsgpackSerializer
from codomyrmex_cache_zstd import ZstdTransform

ONE_GO = 0.004
"""Seconds that one measurement should take at least."""


@dataclass
class User:
    """What programs of our own cache."""

    id: int
    name: str
    roles: tuple[str, ...]


register(User, "User")


@dataclass(frozen=True)
class Contender:
    """Two functions, each with a Python frame of its own, so that all pay for one."""

    name: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


def _ours(name: str, serializer: Serializer) -> Contender:
    return Contender(name, lambda value: serializer.dumps(value, b"key"), lambda data: serializer.loads(data, b"key"))


def _msgpack_strict() -> Contender:
    """The package msgpack, set as strictly as it can be: tuples are refused, equal keys are looked for."""

    def pairs(found: list[tuple[Any, Any]]) -> dict[Any, Any]:
        made = dict(found)
        if len(made) != len(found):
            raise ValueError
        return made

    def loads(data: bytes) -> Any:
        return msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=pairs)

    return Contender("msgpack, strict", lambda value: msgpack.packb(value, strict_types=True), loads)


CONTENDERS = [
    Contender("ormsgpack", lambda value: ormsgpack.packb(value), lambda data: ormsgpack.unpackb(data)),
    Contender("msgpack", lambda value: msgpack.packb(value), lambda data: msgpack.unpackb(data)),
    _msgpack_strict(),
    Contender("pickle 5", lambda value: pickle.dumps(value, 5), lambda data: pickle.loads(data)),
    Contender("json", lambda value: json.dumps(value).encode(), lambda data: json.loads(data)),
    _ours("**ours: msgpack**", MsgpackSerializer()),
    _ours("ours: json", JsonSerializer()),
    _ours("ours: pickle, signed", PickleSerializer(b"0123456789abcdef")),
]


def values() -> dict[str, Any]:
    """What is cached, by a name for the table."""
    chance = random.Random(1)
    plain = {
        "id": 12345,
        "name": "Ada Lovelace",
        "tags": ["a", "b", "c"],
        "score": 0.75,
        "active": True,
        "parent": None,
    }
    rows = [plain | {"id": number, "score": chance.random()} for number in range(1000)]
    when = dt.datetime(2024, 2, 29, 1, 2, 3, 4, dt.UTC)
    return {
        "small dict": plain,
        "1,000 dicts": rows,
        "text, 20 kB": "some text " * 2000,
        "bytes, 20 kB": chance.randbytes(20_000),
        "dict with bytes": plain | {"blob": chance.randbytes(100)},
        "dict with int keys": {number: str(number) for number in range(6)},
        "dict with tuple and datetime": plain | {"pair": (1, 2), "when": when},
        "1,000 dicts with datetime": [
            row | {"when": when + dt.timedelta(seconds=number)} for number, row in enumerate(rows)
        ],
        "Decimal, UUID, set": [decimal.Decimal("1.5"), uuid.UUID(int=5), {"a"}],
        "dataclass": User(1, "Ada", ("admin", "user")),
        "1,000 floats": [chance.random() for _ in range(1000)],
    }


def verdict(contender: Contender, value: Any) -> str | None:
    """None if the value comes back equal and of the same type; otherwise what happens to it."""
    try:
        found = contender.loads(contender.dumps(value))
    except Exception:
        return "refused"
    return None if found == value and repr(found) == repr(value) else "changed"


def seconds(call: Callable[[Any], Any], argument: Any, times: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(times):
        call(argument)
    return (time.perf_counter() - start) / times


def measure(value: Any, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of dumps and of loads in every round, by the names of those that keep the value."""
    able = [contender for contender in CONTENDERS if verdict(contender, value) is None]
    stored = {contender.name: contender.dumps(value) for contender in able}
    found: dict[str, tuple[list[float], list[float]]] = {contender.name: ([], []) for contender in able}
    times = {c.name: max(1, int(ONE_GO / seconds(c.dumps, value, 10))) for c in able}
    for number in range(rounds):
        shift = number % len(able)
        for contender in able[shift:] + able[:shift]:
            name = contender.name
            found[name][0].append(seconds(contender.dumps, value, times[name]))
            found[name][1].append(seconds(contender.loads, stored[name], times[name]))
    return found


def table(rounds: int) -> Iterator[str]:
    """Microseconds of dumps / loads, and their sum as a multiple."""
    every = values()
    measured = {name: measure(value, rounds) for name, value in every.items()}
    yield "| dumps / loads, µs | " + " | ".join(every) + " |"
    yield "|---|" + "---|" * len(every)
    for contender in CONTENDERS:
        cells = []
        for name, value in every.items():
            rows = measured[name]
            if contender.name not in rows:
                cells.append(verdict(contender, value) or "")
                continue
            base = rows.get("ormsgpack") or rows["pickle 5"]
            sums = [a + b for a, b in zip(*rows[contender.name], strict=True)]
            bases = [a + b for a, b in zip(*base, strict=True)]
            ratio = statistics.median(one / other for one, other in zip(sums, bases, strict=True))
            dumps, loads = (statistics.median(part) * 1e6 for part in rows[contender.name])
            cells.append(f"{dumps:.3g} / {loads:.3g}, {ratio:.1f}×")
        yield f"| {contender.name} | " + " | ".join(cells) + " |"


def compression(rounds: int) -> Iterator[str]:
    """Size and microseconds of levels of zstd on what our serializer writes."""
    serializer = MsgpackSerializer()
    rows = values()["1,000 dicts with datetime"]
    sizes = {"1 value": rows[0], "8 values": rows[:8], "1,000 values": rows}
    stored = {name: serializer.dumps(value, b"") for name, value in sizes.items()}
    yield "| level | " + " | ".join(f"{name}: {len(data):,} bytes" for name, data in stored.items()) + " |"
    yield "|---|" + "---|" * len(stored)
    stages = {level: ZstdTransform(threshold=1, level=level, max_size=2**28) for level in (1, 2, 3, 6, 10, 19)}
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for level, stage in stages.items():
            for name, data in stored.items():
                packed = stage.encode(data, b"")
                times = max(1, 20_000 // len(data))
                pair = _encoded(stage, data, times), _decoded(stage, packed, times)
                found.setdefault((level, name), []).append(pair)
    for level, stage in stages.items():
        cells = []
        for name, data in stored.items():
            encode, decode = (statistics.median(part) * 1e6 for part in zip(*found[level, name], strict=True))
            cells.append(f"{len(stage.encode(data, b'')) / len(data):.0%}, {encode:.3g} / {decode:.3g}")
        yield f"| {level} | " + " | ".join(cells) + " |"


def _encoded(stage: ZstdTransform, data: bytes, times: int) -> float:
    return seconds(lambda one: stage.encode(one, b""), data, times)


def _decoded(stage: ZstdTransform, data: bytes, times: int) -> float:
    return seconds(lambda one: stage.decode(one, b""), data, times)


def figures(quick: bool) -> Iterator[str]:
    """The lines of the page."""
    rounds = 3 if quick else 25
    versions = f"ormsgpack {ormsgpack.__version__}, msgpack {'.'.join(map(str, msgpack.version))}"
    yield f"{report.machine()}, {versions}, medians of {rounds} interleaved rounds."
    yield "The multiple is of bare ormsgpack (of pickle for what that can't keep), dumps and loads together."
    yield ""
    yield from table(rounds)
    yield ""
    yield "What zstd makes of the same values: share of the size that is left, µs of encode / decode."
    yield ""
    yield from compression(rounds)
    yield ""


if __name__ == "__main__":
    report.write(__doc__, "Serializers", "serializers.md", figures)
