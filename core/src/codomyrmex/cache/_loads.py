"""Loads: one at a time per key, and an invalidation always wins (docs/decisions/0008-loads.md).

This is the story of a caller who found nothing: join the load that is under way, or lead one, wait as long as it makes
sense, and take what comes of it. What the load itself does is in `_load.py`. Both are steps, driven by threads and by
event loops alike; what differs between those is in their `Shell`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from . import _defaults
from ._fences import UNSETTLED, Plan, is_free, plan
from ._flights import Flight, Leading, Waiting
from ._keys import show
from ._load import AGAIN, Failed, Job, Loaded, Loader, Outcome
from ._load_context import Kept, LoadContext, LoadOptions, positionals
from ._lookup import NOTHING, Found, Lookup, Seen, Unserved
from ._reads import Reads
from ._record import Record
from ._shells import Shell
from ._steps import Steps
from .errors import CacheError

_LONGEST_WATCH = 1.0
"""Seconds between two looks at somebody else's lease, even if the driver says nothing."""
_MOMENT = 0.05
"""Seconds to wait for a load that is being cancelled, before looking again."""
_ROUNDING = 0.001


class Arrived(NamedTuple):
    """A caller at a load that has been joined.

    Attributes:
        flight: The load.
        leads: The caller has begun it.
        patience: Seconds after which somebody else may begin one as well.
    """

    flight: Flight
    leads: bool = False
    patience: float = math.inf


class Loads:
    """Computing operations of one view.

    Args:
        lookup: Finds, judges and replaces entries.
        reads: The view's reading operations.
        shell: How this view waits and computes.
    """

    def __init__(self, lookup: Lookup, reads: Reads, shell: Shell) -> None:
        self.store = lookup.store
        self.shell = shell
        self._lookup = lookup
        self._reads = reads
        self.loader = Loader(lookup, shell)
        self._flights = lookup.store.flights

    def job(self, key: str, factory: Callable[..., Any], options: LoadOptions) -> Job:
        """Check what a caller wants; raises `CacheKeyError` and `TypeError`."""
        self.store.check_open()
        if not callable(factory):
            raise TypeError(f"a factory is a function, got a {type(factory).__name__}")
        return Job(key, self._reads.storage(key), factory, options)

    def get_or_set(self, job: Job) -> Steps[Any]:
        """The value, loaded ahead of time if it is due; counted."""
        recorder = self.store.recorder
        try:
            seen = yield from self._see(job.storage)
        except CacheError as error:
            self.loader.failing(error, job.key)
            recorder.misses.increment()
            return (yield from self.without_store(job))
        served, value = self._lookup.value(job.storage, seen)
        if not served:
            recorder.misses.increment()
            return (yield from self.settled(job, seen))
        recorder.hits.increment()
        yield from self._reads.slide(job.storage, seen)
        if seen.record is not None and self._is_due(seen.record, job.options):
            self._refresh(job, seen)
        return value

    def instead(self, error: Exception) -> Callable[[Job], Steps[Any]]:
        """What loads a value that `get` hasn't served, because it raised ``error``, one of `NOT_SERVED`.

        The steps are to be run once the error has been handled: it is no context of what the factory raises.
        """
        if isinstance(error, Unserved):
            return partial(self.missed, seen=error.seen)
        self.store.recorder.misses.increment()
        return self.without_store

    def missed(self, job: Job, seen: Seen | None = None) -> Steps[Any]:
        """The value, after `get` has just found none, or ``seen``."""
        if self.store.down:
            return (yield from self.without_store(job))
        if seen is not None:
            return (yield from self.settled(job, seen))
        # Nearly always there is nothing at all: then planting the lease is the first call of the driver. If that guess
        # was wrong the caller looks again, so one who may have left by then doesn't guess.
        guess = job.options.soft_timeout is None and self._flights.newest(job.storage) is None
        return (yield from self.settled(job, NOTHING if guess else None))

    def refresh(self, job: Job) -> Steps[Any]:
        """The value, loaded now whatever is there; those who wait for a load share it."""
        while True:
            self.store.check_open()
            try:
                seen = yield from self._see(job.storage)
            except CacheError as error:
                self.loader.failing(error, job.key)
                return (yield from self.without_store(job))
            with self._flights.leading() as leading:
                flight = self.enter(leading, job.storage)
                if flight is not None:
                    yield from self._begin(flight, partial(self.loader.load, flight, job, seen), job)
            if flight is not None:
                outcome = yield from self.outcome(job, flight, leads=True)
                if outcome is not AGAIN:
                    return self.given(outcome)
            elif (there := self._flights.newest(job.storage)) is not None and there.join(early=True):
                outcome = yield from self.outcome(job, there)
                if outcome is not AGAIN:
                    return self.given(outcome)

    def settled(self, job: Job, seen: Seen | None) -> Steps[Any]:
        """The value, after ``seen`` was found; None if that has to be looked up."""
        while True:
            try:
                arrived = yield from self.arrive(job, seen)
            except CacheError as error:
                self.loader.failing(error, job.key)
                return (yield from self.without_store(job))
            if isinstance(arrived, Loaded):
                return arrived.value
            if arrived is not None:
                outcome = yield from self.outcome(job, arrived.flight, leads=arrived.leads, patience=arrived.patience)
                if outcome is not AGAIN:
                    return self.given(outcome)
            seen = None

    def arrive(self, job: Job, seen: Seen | None) -> Steps[Loaded | Arrived | None]:
        """What can be served, or the load that has been joined or begun; None to look again.

        Raises:
            CacheError: The backend fails, or the cache has been closed.
        """
        self.store.check_open()
        there = self._flights.newest(job.storage)
        if there is not None and there.join(early=True):
            return Arrived(there, patience=job.options.lease)
        if seen is None:
            seen = yield from self._see(job.storage)
        what = plan(seen, self.store.ttl.clock())
        if what is Plan.SERVE:
            served, value = self._lookup.value(job.storage, seen)
            if served:
                return Loaded(value)
            seen = seen._replace(found=Found.UNREADABLE)
        elif what is Plan.KEPT and (kept := self.loader.kept(job.storage, seen)) is not None:
            self.store.recorder.stale_hits.increment()
            return Loaded(kept.value)
        elif what is Plan.WAIT and seen.record is not None:
            flight, again = yield from self._joined(job, seen.record)
            if flight is not None:
                return Arrived(flight, patience=seen.record.lease_until - self.store.ttl.clock() + _ROUNDING)
            if again:
                return None
        with self._flights.leading() as leading:
            flight = self.enter(leading, job.storage)
            if flight is None:
                return None
            if job.prepare is not None:
                job.prepare(flight)
            yield from self._begin(flight, partial(self.loader.load, flight, job, seen), job)
        return Arrived(flight, leads=True)

    def _joined(self, job: Job, record: Record) -> Steps[tuple[Flight | None, bool]]:
        """Join the load whose lease is in ``record``: its flight, or whether to look again; neither: take over."""
        lease = record.lease or b""
        flight = self._flights.with_lease(lease)
        if flight is not None:
            stamp = flight.stamp
            if stamp is not UNSETTLED:
                if not (yield from self.loader.fences.still(stamp or ())):
                    return None, False
                if flight.join():
                    return flight, False
            yield self.shell.wait, (flight, _MOMENT)
            return None, True
        if not self._lookup.driver.leader_alive(lease):
            return None, False
        with self._flights.leading() as leading:
            flight = self._flights.follow(leading, lease, self.shell.loop())
            if flight is None:
                return None, True
            yield from self._begin(flight, partial(self._watch, flight, job.storage, record.lease_until), job)
        return flight, False

    def without_store(self, job: Job) -> Steps[Any]:
        """The value, computed while the backend fails; callers of the same outage share it."""
        while True:
            self.store.check_open()
            key = (job.storage, self.store.outages)
            with self._flights.leading() as leading:
                token, loop = self.store.token(), self.shell.loop()
                flight = self._flights.enter(leading, key, token, loop, joins_started=True)
                if flight is not None:
                    yield from self._begin(flight, partial(self.loader.compute, flight, job), job)
            if flight is not None:
                outcome = yield from self.outcome(job, flight, leads=True)
            elif (there := self._flights.newest(key)) is not None and there.join():
                outcome = yield from self.outcome(job, there)
            else:
                continue
            if outcome is not AGAIN:
                return self.given(outcome)

    def _begin(self, flight: Flight, load: Callable[[], Steps[Outcome]], job: Job) -> Steps[None]:
        """Join ``flight`` and have its load run."""
        options = job.options
        leaves = job.prepare is not None or options.hard_timeout is not None or options.soft_timeout is not None
        yield from self.begin(flight, self._led(flight, load), partial(self._flights.finish, flight, AGAIN), leaves)

    def begin(self, flight: Flight, steps: Steps[None], abandon: Callable[[], object], leaves: bool) -> Steps[None]:
        """Join ``flight`` and have ``steps`` run: here, or by themselves if the caller may leave them behind."""
        flight.join()
        if (self.shell.inline and not leaves) or not self.shell.spawn(flight, steps, abandon):
            yield from steps

    def _led(self, flight: Flight, load: Callable[[], Steps[Outcome]]) -> Steps[None]:
        outcome: Outcome = AGAIN
        try:
            outcome = yield from load()
        except Exception as error:
            outcome = Failed(error)
        finally:
            self._flights.finish(flight, outcome)
            lost = outcome.error if isinstance(outcome, Failed) else flight.broken
            if lost is not None and not flight.awaited:
                self._log(lost)

    def outcome(self, job: Job, flight: Flight, *, leads: bool = False, patience: float = math.inf) -> Steps[Outcome]:
        """Wait for ``flight``, which has been joined, as long as the caller and the lease allow."""
        options, recorder = job.options, self.store.recorder
        start = time.monotonic()
        soft = math.inf if options.soft_timeout is None else start + options.soft_timeout
        hard = math.inf if options.hard_timeout is None else start + options.hard_timeout
        lease = start + patience
        detach = False
        try:
            with Waiting(flight, self.shell.blocks()) as may:
                while may and not flight.done:
                    end = min(soft, hard, lease)
                    timeout = None if end == math.inf else max(0.0, end - time.monotonic())
                    yield self.shell.wait, (flight, timeout)
                    now = time.monotonic()
                    if flight.done or now < end:
                        continue
                    detach = now >= min(soft, hard)
                    if now >= hard:
                        waited = f"{options.hard_timeout:g} s"
                        raise TimeoutError(f"cache {self.store.name!r}: {show(job.key)} was not loaded within {waited}")
                    if now >= soft:
                        soft = math.inf
                        kept = yield from self._kept_now(job)
                        if kept is not None:
                            recorder.stale_hits.add(kept.stale)
                            return Loaded(kept.value)
                    elif now >= lease:
                        return AGAIN
        finally:
            flight.leave(detach=detach)
        if not may:  # a wait would never end
            context = LoadContext[Any](job.key, None, options.tags)
            return Loaded((yield from self.loader.call(None, job, context, positionals(job.factory) > 0)))
        outcome: Outcome = flight.outcome
        if leads and flight.broken is not None:  # to try again would call what has raised it once more
            raise flight.broken
        if not leads and isinstance(outcome, Loaded) and outcome.private:
            return AGAIN
        recorder.waits_joined.add(not leads and outcome is not AGAIN)
        return outcome

    def given(self, outcome: Outcome) -> Any:
        """What a caller is given; raises what the load has failed with."""
        if isinstance(outcome, Loaded):
            return outcome.value
        if outcome is None:
            raise CacheError(f"cache {self.store.name!r}: a load came to nothing")
        if outcome.kept is None:
            raise outcome.error
        self.store.recorder.stale_hits.increment()
        return outcome.kept.value

    def _watch(self, flight: Flight, storage: str, until: float) -> Steps[Outcome]:
        """Wait for somebody else's load, for all callers of this process."""
        driver, clock = self._lookup.driver, self.store.ttl.clock
        while True:
            left = min(until - clock(), _LONGEST_WATCH)
            if left <= 0 or not driver.leader_alive(flight.lease):
                return AGAIN
            try:
                if driver.capabilities.waits:
                    yield driver.wait, (storage, flight.lease, left)
                else:
                    yield from _defaults.wait(left)
                seen = yield from self._lookup.see(storage)
            except CacheError:
                return AGAIN  # every caller meets it, and counts it
            if seen.record is None or seen.record.lease != flight.lease:
                served, value = self._lookup.value(storage, seen)
                return Loaded(value) if served else AGAIN

    def _is_due(self, record: Record, options: LoadOptions) -> bool:
        """Whether a fresh entry should be loaded now, ahead of its time.

        ``early_refresh`` is XFetch: A. Vattani, F. Chierichetti, K. Lowenstein, Optimal Probabilistic Cache Stampede
        Prevention, VLDB 2015.
        """
        if record.fresh_until == math.inf:
            return False
        now = self.store.ttl.clock()
        left = record.fresh_until - now
        due = options.refresh_ahead is not None and record.ttl - left >= record.ttl * options.refresh_ahead
        if not due and options.early_refresh is not None:
            due = record.cost * options.early_refresh * -math.log(1.0 - self.store.chance()) >= left
        return due and is_free(record, now)

    def _refresh(self, job: Job, seen: Seen) -> None:
        if self._flights.newest(job.storage) is not None or self.store.background.busy:
            return
        with self._flights.leading() as leading:
            flight = self.enter(leading, job.storage)
            if flight is None:
                return
            flight.detached = True
            steps = self._led(flight, partial(self.loader.load, flight, job, seen))
            abandon = partial(self._flights.finish, flight, AGAIN)
            if not self.shell.spawn(flight, steps, abandon):
                abandon()

    def enter(self, leading: Leading, storage: str) -> Flight | None:
        """A new flight; None if there is one to join."""
        return self._flights.enter(leading, storage, self.store.token(), self.shell.loop())

    def see_many(self, storages: tuple[str, ...]) -> Steps[dict[str, Seen]]:
        """What is under several keys."""
        if not self.store.ready:
            yield from self._lookup.open()
        seen = yield from self._lookup.see_many(storages)
        self.store.answered()
        return seen

    def _see(self, storage: str) -> Steps[Seen]:
        if not self.store.ready:
            yield from self._lookup.open()
        seen = yield from self._lookup.see(storage)
        self.store.answered()
        return seen

    def _kept_now(self, job: Job) -> Steps[Kept | None]:
        """What can be served in place of a load that takes its time."""
        try:
            seen = yield from self._see(job.storage)
        except CacheError as error:
            self.loader.failing(error, job.key)
            return None
        return self.loader.kept(job.storage, seen)

    def _log(self, lost: BaseException) -> None:
        import logging

        logging.getLogger("codomyrmex.cache").warning(
            "cache %r: a load in the background failed", self.store.name, exc_info=lost
        )
