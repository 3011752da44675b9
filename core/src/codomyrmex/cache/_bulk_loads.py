"""Loads of many keys by one call of the factory, which is given those that are missing.

Every key has a flight and a lease of its own, so that who wants one of them joins only that; all are part of one flight
for the call. What can be computed here is computed first, and others are waited for afterwards: two callers whose keys
overlap never wait in a circle.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

from ._fences import UNSETTLED, Captured, Plan, plan
from ._flights import Flight, Leading
from ._load import AGAIN, Failed, Job, Loaded, Outcome
from ._load_context import LoadContext, LoadOptions, positionals
from ._loads import Loads
from ._lookup import NOTHING, Lookup, Seen
from ._reads import Reads
from ._record import Record, Swap
from ._shells import is_awaitable
from ._steps import Steps
from .errors import CacheConnectionError, CacheError, CacheFullError

_LEFT_OUT: Any = object()
"""In place of a value: the factory gave none."""


class BulkJob(NamedTuple):
    """What one caller wants loaded.

    Attributes:
        wanted: The user's keys by storage key.
        factory: Takes a list of keys, perhaps a `LoadContext` as well, and returns a mapping of values.
        options: How.
    """

    wanted: Mapping[str, str]
    factory: Callable[..., Any]
    options: LoadOptions

    def arguments(self, keys: list[str], context: LoadContext[Any]) -> tuple[Any, ...]:
        """What the factory is called with."""
        return (keys, context) if positionals(self.factory) > 1 else (keys,)

    def of(self, storage: str) -> Job:
        """The same for one of the keys."""
        key = self.wanted[storage]

        def load(context: LoadContext[Any]) -> Any:
            result = self.factory(*self.arguments([key], context))
            return wait(context, result) if is_awaitable(result) else only(context, result)

        async def wait(context: LoadContext[Any], result: Awaitable[Any]) -> Any:
            return only(context, await result)

        def only(context: LoadContext[Any], result: Any) -> Any:
            value = _checked(result).get(key, _LEFT_OUT)
            if isinstance(value, Exception):
                raise value
            if value is _LEFT_OUT:
                context.skipped = context.private = True
            return value

        return Job(key, storage, load, self.options)


class BulkLoads:
    """Computing operations of one view for many keys.

    Args:
        lookup: Finds, judges and replaces entries.
        reads: The view's reading operations.
        loads: Its computing operations for one key.
    """

    def __init__(self, lookup: Lookup, reads: Reads, loads: Loads) -> None:
        self.store = lookup.store
        self._lookup = lookup
        self._reads = reads
        self._loads = loads
        self._loader = loads.loader
        self._flights = lookup.store.flights

    def job(self, keys: Iterable[str], factory: Callable[..., Any], options: LoadOptions) -> BulkJob:
        """Check what a caller wants; raises `CacheKeyError` and `TypeError`."""
        self.store.check_open()
        if not callable(factory):
            raise TypeError(f"a factory is a function, got a {type(factory).__name__}")
        return BulkJob(self._reads.storages(keys), factory, options)

    def get_or_set_many(self, job: BulkJob, *, errors: bool) -> Steps[dict[str, Any]]:
        """Values by key, in the order of the keys; what the factory leaves out is left out.

        Args:
            job: What is wanted.
            errors: An error stands in place of its value; otherwise the first one is raised.
        """
        outcomes: dict[str, Outcome] = {}
        mine: dict[str, tuple[Flight, Seen]] = {}
        whole: Flight | None = None
        try:
            seen = yield from self._loads.see_many(tuple(job.wanted))
        except CacheError as error:
            self._loader.failing(error, next(iter(job.wanted.values())))
            self.store.recorder.misses.add(len(job.wanted))
            outcomes |= yield from self._computed(job, list(job.wanted))
        else:
            outcomes |= yield from self._served(job, seen)
            missing = [storage for storage in job.wanted if storage not in outcomes]
            self.store.recorder.misses.add(len(missing))
            with self._flights.leading() as leading:
                mine = self._led(leading, seen, missing)
                if mine:
                    whole = yield from self._begun(job, mine)
        if whole is not None:
            yield from self._loads.outcome(job.of(next(iter(mine))), whole, leads=True)
            outcomes |= {storage: flight.outcome for storage, (flight, _) in mine.items()}
        first: Exception | None = None
        values: dict[str, Any] = {}
        for storage, key in job.wanted.items():
            try:
                outcome = outcomes.get(storage, AGAIN)
                value = yield from self._waited(job, storage, outcome)
            except Exception as error:
                first, value = first or error, error if errors else _LEFT_OUT
            if value is not _LEFT_OUT:
                values[key] = value
        if first is not None and not errors:
            raise first
        return values

    def _waited(self, job: BulkJob, storage: str, outcome: Outcome) -> Steps[Any]:
        if outcome is AGAIN:  # somebody else loads it, or was quicker
            return (yield from self._loads.settled(job.of(storage), None))
        return self._loads.given(outcome)

    def _served(self, job: BulkJob, seen: Mapping[str, Seen]) -> Steps[dict[str, Outcome]]:
        """What needs no load."""
        served: dict[str, Outcome] = {}
        now = self.store.ttl.clock()
        for storage, one in seen.items():
            what = plan(one, now)
            if what is not Plan.SERVE and what is not Plan.KEPT:
                continue
            kept = self._loader.kept(storage, one)
            if kept is None:
                continue
            served[storage] = Loaded(kept.value)
            (self.store.recorder.hits if what is Plan.SERVE else self.store.recorder.stale_hits).increment()
            if what is Plan.SERVE:
                yield from self._reads.slide(storage, one)
        return served

    def _led(
        self, leading: Leading, seen: Mapping[str, Seen], missing: Iterable[str]
    ) -> dict[str, tuple[Flight, Seen]]:
        """Flights for what nobody loads yet."""
        mine: dict[str, tuple[Flight, Seen]] = {}
        now = self.store.ttl.clock()
        for storage in missing:
            one = seen.get(storage, NOTHING)
            if plan(one, now) is Plan.WAIT or self._flights.newest(storage) is not None:
                continue
            flight = self._loads.enter(leading, storage)
            if flight is not None:
                mine[storage] = (flight, one)
        return mine

    def _begun(self, job: BulkJob, mine: Mapping[str, tuple[Flight, Seen]]) -> Steps[Flight]:
        """Begin to load what is led here, as one flight."""
        flights = [flight for flight, _ in mine.values()]
        whole = Flight(tuple(mine), loop=flights[0].loop)
        for flight in flights:
            flight.part_of = whole

        def finish() -> None:
            for flight in flights:
                self._flights.finish(flight, AGAIN)
            whole.finish(AGAIN)

        def steps() -> Steps[None]:
            try:
                yield from self._load(job, mine)
            finally:
                finish()

        yield from self._loads.begin(whole, steps(), finish, leaves=False)
        return whole

    def _load(self, job: BulkJob, mine: Mapping[str, tuple[Flight, Seen]]) -> Steps[None]:
        """Plant, capture, compute, store."""
        try:
            yield from self._performed(job, mine)
        except BaseException:
            for storage, (flight, _) in mine.items():
                yield from self._loader.release(storage, flight.lease)
            raise

    def _performed(self, job: BulkJob, mine: Mapping[str, tuple[Flight, Seen]]) -> Steps[None]:
        options, loader = job.options, self._loader
        captured: Captured | None = None
        planted: list[str] = list(mine)
        try:
            planted = yield from self._plant(mine, options.lease)
            until = self.store.ttl.times(options.ttl, options.stale_for).kept_until + options.lease
            captured = yield from loader.fences.capture(options.tags, until, late=positionals(job.factory) > 1)
        except (CacheConnectionError, CacheFullError) as error:
            loader.failing(error, job.wanted[planted[0]])
        flights = {storage: mine[storage][0] for storage in planted}
        for flight in flights.values():
            flight.stamp = () if captured is None else captured.tags
        context = LoadContext[Any]("", None, options.tags)
        begin = time.perf_counter()
        try:
            result = yield from self._called(job, planted, tuple(flights.values()), context)
        except Exception as error:
            result = dict.fromkeys((job.wanted[storage] for storage in planted), error)
        cost = (time.perf_counter() - begin) / max(1, len(planted))
        for storage in planted:
            value = result.get(job.wanted[storage], _LEFT_OUT)
            outcome: Outcome = Loaded(value, value is _LEFT_OUT)
            if isinstance(value, Exception):
                outcome = Failed(value)
                if captured is not None:
                    outcome = yield from loader.failed(job.of(storage), flights[storage].lease, value)
            flights[storage].outcome = outcome
        if captured is not None:
            yield from self._store(job, captured, context, flights, cost)
        for flight in flights.values():
            self._flights.finish(flight, flight.outcome)

    def _plant(self, mine: Mapping[str, tuple[Flight, Seen]], life: float) -> Steps[list[str]]:
        """Plant a lease under every key; those keys where nobody was quicker."""
        fences, driver = self._loader.fences, self._lookup.driver
        short = [storage for storage, (_, seen) in mine.items() if seen.stored and seen.version is None]
        if short:  # too short to have a version: no swap could compare it
            yield driver.remove_many, (short,)
        swaps = [fences.planting(storage, seen, flight.lease, life) for storage, (flight, seen) in mine.items()]
        done = yield driver.swap_many, (swaps,)
        for (flight, _), planted in zip(mine.values(), done, strict=True):
            if not planted:
                self._flights.finish(flight, AGAIN)
        return [storage for storage, planted in zip(mine, done, strict=True) if planted]

    def _called(
        self, job: BulkJob, storages: list[str], flights: tuple[Flight, ...], context: LoadContext[Any]
    ) -> Steps[Mapping[str, Any]]:
        """Call the factory with the keys; counted and timed."""
        recorder = self.store.recorder
        if not storages:
            return {}
        keys = [job.wanted[storage] for storage in storages]
        recorder.loads.increment()
        for flight in flights:
            flight.start()
        factory, observers = job.factory, self.store.observers
        if observers is not None:
            factory = observers.factory(None, factory, awaited=not self._loads.shell.inline)
        begin = time.perf_counter_ns()
        try:
            parts = (*(flight.part_of for flight in flights[:1] if flight.part_of is not None), *flights)
            result = yield self._loads.shell.call, (parts, factory, *job.arguments(keys, context))
            if context.failure is not None or context.unchanged:
                raise CacheError(f"cache {self.store.name!r}: loading {len(keys)} keys failed: {context.failure}")
            return _checked(result)
        except BaseException:
            recorder.load_failures.increment()
            raise
        finally:
            recorder.load_nanoseconds.add(time.perf_counter_ns() - begin)

    def _store(
        self,
        job: BulkJob,
        captured: Captured,
        context: LoadContext[Any],
        flights: Mapping[str, Flight],
        cost: float,
    ) -> Steps[None]:
        """Store what there is to store, and take the other leases out."""
        loader, options = self._loader, job.options
        swaps: dict[str, Swap] = {}
        for storage, flight in flights.items():
            outcome = flight.outcome
            if not isinstance(outcome, Loaded):
                continue
            try:
                if context.skipped or outcome.value is _LEFT_OUT:
                    flight.outcome = outcome._replace(private=outcome.private or context.chose_tags)
                    yield from loader.release(storage, flight.lease)
                    continue
                times = loader.times(options, context, outcome.value)
                if not captured.has_all(context.tags):
                    flight.stamp = UNSETTLED
                tokens = yield from loader.fences.tokens(captured, context.tags, times.kept_until)
                if tokens is None:
                    flight.outcome = outcome._replace(private=True)
                    yield from loader.release(storage, flight.lease)
                    continue
                flight.stamp = tokens
                record = Record(outcome.value, self.store.token(), *times, tags=tokens, cost=cost)
                swaps[storage] = loader.fences.storing(job.wanted[storage], storage, flight.lease, record)
            except (CacheConnectionError, CacheFullError) as error:
                loader.failing(error, job.wanted[storage])
                return
            except Exception as error:
                yield from loader.release(storage, flight.lease)
                flight.outcome = Failed(error)
        if not swaps:
            return
        try:
            done = yield self._lookup.driver.swap_many, (list(swaps.values()),)
        except (CacheConnectionError, CacheFullError) as error:
            loader.failing(error, job.wanted[next(iter(swaps))])
        else:
            self.store.recorder.sets.add(sum(done))

    def _computed(self, job: BulkJob, storages: list[str]) -> Steps[dict[str, Outcome]]:
        """What the factory gives while the backend fails; nothing is stored."""
        context = LoadContext[Any]("", None, job.options.tags)
        result = yield from self._called(job, storages, (), context)
        values = {storage: result.get(job.wanted[storage], _LEFT_OUT) for storage in storages}
        return {
            storage: Failed(value) if isinstance(value, Exception) else Loaded(value)
            for storage, value in values.items()
        }


def _checked(result: Any) -> Mapping[str, Any]:
    if not isinstance(result, Mapping):
        raise TypeError(f"the factory of several keys gives back a mapping of values, got a {type(result).__name__}")
    return cast("Mapping[str, Any]", result)
