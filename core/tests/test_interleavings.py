"""Every interleaving of loads with what can happen meanwhile: nobody is served what an invalidation has ended."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from interleaving import LATER, Actor, Setup, Steps, World, Wrong, explore, get_or_set

from codomyrmex.cache import _load, _loads
from codomyrmex.cache._fences import Fences
from codomyrmex.cache._flights import Flight
from codomyrmex.cache._tags import TagOperations

CHANGES: dict[str, Callable[[World, int], Steps]] = {
    "set": lambda world, number: world.process(number).writes.set("key", world.begun),
    "set_many": lambda world, number: world.process(number).writes.set_many({"key": world.begun}),
    "add": lambda world, number: world.process(number).writes.add("key", world.begun),
    "delete": lambda world, number: world.process(number).removals.delete("key"),
    "delete_many": lambda world, number: world.process(number).removals.delete_many(["key"]),
    "delete_pattern": lambda world, number: world.process(number).removals.delete_pattern("k*"),
    "pop": lambda world, number: world.process(number).removals.pop("key"),
    "expire": lambda world, number: world.process(number).writes.expire("key"),
    "clear": lambda world, number: world.process(number).removals.clear(),
    "invalidate_tags": lambda world, number: world.process(number).removals.invalidate_tags("tag"),
}
BY_KEY = [name for name in CHANGES if name not in ("invalidate_tags", "add")]
QUICK = ["set", "delete"]
TAGS = ("tag",)
Mend = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def model_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patience of those who wait is measured by the clock of the world, where computing takes no time."""
    worlds: list[World] = []
    make = World.__init__

    def made(world: World, **options: Any) -> None:
        make(world, **options)
        worlds[:] = [world]

    monkeypatch.setattr(World, "__init__", made)
    monkeypatch.setattr(_load, "time", SimpleNamespace(perf_counter=lambda: 0.0, perf_counter_ns=lambda: 0))
    monkeypatch.setattr(_loads, "time", SimpleNamespace(monotonic=lambda: worlds[0].clock()))


def later(world: World) -> Steps:
    """Time passes, more than a lease."""
    world.clock.advance(LATER)
    yield from ()


def crash(world: World, victim: int) -> Steps:
    """A process is killed."""
    for actor in world.actors.values():
        if actor.process == victim:
            actor.done = True
    world.shelf.dead.add(bytes([victim + 1]))
    yield from ()


def before(world: World, state: str, tags: tuple[str, ...]) -> None:
    """What is there at first."""
    if state == "absent":
        return
    writes = world.process(8).writes
    world.alone("setup", lambda: writes.set("key", frozenset({"outdated"}), 100, tags=tags, stale_for=1000))
    world.clock.advance(90 if state == "old" else 110)
    del world.actors["setup"]
    world.path.clear()


def scene(
    *,
    change: str,
    state: str = "absent",
    loads: tuple[int, ...] = (0, 1),
    at: int = 2,
    tags: tuple[str, ...] = (),
    late: tuple[str, ...] = (),
    clock: bool = False,
    crashes: int | None = None,
    ahead: bool = False,
    reader: bool = True,
) -> Setup:
    """Loads in processes ``loads``, a change in process ``at``, a reader, and perhaps time and a crash."""

    def setup(world: World) -> None:
        before(world, state, (*tags, *late))
        for index, number in enumerate(loads):

            def load(number: int = number) -> Steps:
                if ahead:
                    own = world.process(number)
                    return own.loads.get_or_set(world.job(number, tags, late, ttl=100, refresh_ahead=0.5))
                return get_or_set(world, number, tags, late)

            world.actors[f"load {index}"] = Actor(load, number, reads=not ahead)
        world.actors[change] = Actor(lambda: CHANGES[change](world, at), at, change=True)
        if reader:
            world.actors["reader"] = Actor(lambda: world.process(3).reads.get("key"), 3, reads=True)
        if clock:
            world.actors["later"] = Actor(lambda: later(world), 4)
        if crashes is not None:
            world.actors["crash"] = Actor(lambda: crash(world, crashes), 5)

    return setup


@pytest.mark.parametrize(
    ("state", "change"),
    [("absent", change) for change in CHANGES]
    + [("stale", change) for change in QUICK]
    + [pytest.param("stale", change, marks=pytest.mark.slow) for change in CHANGES if change not in QUICK],
)
def test_two_processes(change: str, state: str) -> None:
    """Two loads, as if on two machines, each kind of change, and a reader."""
    tags = TAGS if change == "invalidate_tags" else ()
    explore(scene(change=change, state=state, tags=tags, reader=not tags))


@pytest.mark.parametrize("change", CHANGES)
def test_one_process(change: str) -> None:
    """Two callers of one process: who comes after the change doesn't join the older load."""
    tags = TAGS if change == "invalidate_tags" else ()
    explore(scene(change=change, loads=(0, 0), at=0, tags=tags, reader=False), fine=not tags)


@pytest.mark.parametrize("change", ["delete", "expire", "set", "pop"])
def test_takeover(change: str) -> None:
    """A lease that ends at any moment."""
    explore(scene(change=change, clock=True, reader=False))


@pytest.mark.slow
@pytest.mark.parametrize("change", BY_KEY)
@pytest.mark.parametrize("state", ["absent", "stale"])
def test_takeover_before_a_reader(change: str, state: str) -> None:
    """The same, and somebody who only reads."""
    explore(scene(change=change, state=state, clock=True))


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ("absent", "delete"),
        ("absent", "set"),
        ("stale", "set"),
        pytest.param("stale", "delete", marks=pytest.mark.slow),
    ],
)
def test_crash(change: str, state: str) -> None:
    """A process that is killed at any moment; the lease it leaves ends some time, or its death is noticed."""
    explore(scene(change=change, state=state, crashes=0, clock=True, reader=False))


@pytest.mark.parametrize("change", ["delete", "set", "expire"])
def test_ahead_of_time(change: str) -> None:
    """A load in the background, on a value that is still fresh."""
    explore(scene(change=change, state="old", loads=(0,), ahead=True))
    explore(scene(change=change, state="old", loads=(0,), ahead=True, clock=True, reader=False))


@pytest.mark.parametrize("state", ["absent", "stale"])
def test_late_tags(state: str) -> None:
    """A tag that the factory chooses, invalidated at any moment."""
    explore(scene(change="invalidate_tags", state=state, loads=(0,), late=TAGS))


def test_late_tags_in_one_process() -> None:
    """Who comes after the invalidation of a late tag doesn't share the older load."""
    explore(scene(change="invalidate_tags", loads=(0, 0), at=0, late=TAGS, reader=False))


@pytest.mark.slow
@pytest.mark.parametrize("change", ["set", "delete", "clear"])
def test_three_loads(change: str) -> None:
    """Two callers of one process and one of another."""
    explore(scene(change=change, loads=(0, 0, 1), reader=False))


@pytest.mark.slow
@pytest.mark.parametrize("change", ["set", "delete"])
def test_all_at_once(change: str) -> None:
    """Loads in two processes, a change, a reader, a crash and time."""
    explore(scene(change=change, crashes=0, clock=True))


def stores_by_put(patch: pytest.MonkeyPatch) -> None:
    """No fence: what a load brings is stored whatever has happened."""

    def store(self: Any, key: str, storage: str, lease: bytes, record: Any) -> Steps:
        yield self._lookup.driver.put, (storage, self._store.encode(key, storage, record))
        return True

    patch.setattr(Fences, "store", store)


def joins_by_key(patch: pytest.MonkeyPatch) -> None:
    """Whoever wants the key joins the load of the key."""
    join = Flight.join
    patch.setattr(Flight, "join", lambda self, *, early=False: join(self))


def joins_dead_tags(patch: pytest.MonkeyPatch) -> None:
    """Whoever sees the lease joins the load, whatever has become of its tags."""

    def still(self: Any, captured: Any) -> Steps:
        yield from ()
        return True

    patch.setattr(Fences, "still", still)


def stores_tokens_of_now(patch: pytest.MonkeyPatch) -> None:
    """The tokens that the tags have at the end of the load."""

    def tokens(self: Any, captured: Any, tags: Any, until: float) -> Steps:
        return (yield from self._lookup.tags.ensure(tags, until)) if tags else ()

    patch.setattr(Fences, "tokens", tokens)


def takes_late_tags_on_trust(patch: pytest.MonkeyPatch) -> None:
    """A late tag is not asked whether it was invalidated meanwhile."""
    patch.setattr(TagOperations, "not_after", lambda self, start, tags, until: self.ensure(tags, until))


MUTATIONS: list[tuple[Mend, Setup, bool]] = [
    (stores_by_put, scene(change="delete"), False),
    (stores_by_put, scene(change="set", state="stale"), False),
    (stores_by_put, scene(change="expire", state="old", loads=(0,), ahead=True), False),
    (joins_by_key, scene(change="delete", loads=(0, 0), at=0, reader=False), True),
    (joins_dead_tags, scene(change="invalidate_tags", loads=(0, 0), at=0, tags=TAGS, reader=False), False),
    (stores_tokens_of_now, scene(change="invalidate_tags", tags=TAGS, reader=False), False),
    (takes_late_tags_on_trust, scene(change="invalidate_tags", loads=(0,), late=TAGS), False),
]


@pytest.mark.parametrize(("mutation", "setup", "fine"), MUTATIONS)
def test_it_can_fail(mutation: Mend, setup: Setup, fine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without each part of the fence some interleaving serves what has been invalidated."""
    mutation(monkeypatch)
    with pytest.raises(Wrong, match=r"served what had been computed before|a fresh load stored"):
        explore(setup, fine=fine)
