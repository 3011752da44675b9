"""One load: plant a lease, note what the tags are, call the factory, store if the lease is still there.

Who leads a load and who waits for it is in `_loads.py`; why it is safe, in docs/decisions/0008-loads.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from ._codec import Unreadable
from ._fences import UNSETTLED, Captured, Fences
from ._flights import Flight
from ._keys import show
from ._load_context import Kept, LoadContext, LoadOptions, positionals
from ._lookup import Found, Lookup, Seen
from ._record import Record, Times
from ._shells import Shell
from ._steps import Steps
from .errors import CacheConnectionError, CacheError, CacheFullError


class Loaded(NamedTuple):
    """A load has a value; ``private`` if only who led it may have it."""

    value: Any
    private: bool = False


class Failed(NamedTuple):
    """A load has failed; ``kept`` is what is served in place of the error, if anything is."""

    error: Exception
    kept: Kept | None = None


AGAIN = None
"""A load came to an end that says nothing to those who waited for it: they look again."""
Outcome = Loaded | Failed | None


class Job(NamedTuple):
    """What one caller wants loaded.

    Attributes:
        key: The user's key.
        storage: Where it is kept.
        factory: Computes the value; takes a `LoadContext` or nothing.
        options: How.
        prepare: Called with the flight of the load if this caller leads it, which then runs by itself.
    """

    key: str
    storage: str
    factory: Callable[..., Any]
    options: LoadOptions
    prepare: Callable[[Flight], None] | None = None


class Loader:
    """Steps of a load.

    Args:
        lookup: Finds, judges and replaces entries.
        shell: How this view computes.
    """

    def __init__(self, lookup: Lookup, shell: Shell) -> None:
        self.store = lookup.store
        self.fences = Fences(lookup)
        self._shell = shell

    def load(self, flight: Flight, job: Job, seen: Seen) -> Steps[Outcome]:
        """Plant, capture, compute, store; ``seen`` is what was there before."""
        try:
            return (yield from self._performed(flight, job, seen))
        except BaseException:
            yield from self.release(job.storage, flight.lease)
            raise

    def _performed(self, flight: Flight, job: Job, seen: Seen) -> Steps[Outcome]:
        options, lease = job.options, flight.lease
        takes_context = positionals(job.factory) > 0
        captured: Captured | None = None
        try:
            if not (yield from self.fences.plant(job.storage, seen, lease, options.lease)):
                return AGAIN
            until = self.store.ttl.times(options.ttl, options.stale_for).kept_until + options.lease
            captured = yield from self.fences.capture(options.tags, until, late=takes_context)
            flight.stamp = captured.tags
        except (CacheConnectionError, CacheFullError) as error:
            self.failing(error, job.key)
        kept = self.kept(job.storage, seen)
        if captured is None:
            return (yield from self.compute(flight, job, kept))
        context = LoadContext[Any](job.key, kept, options.tags)
        begin = time.perf_counter()
        try:
            value = yield from self.call(flight, job, context, takes_context)
        except Exception as error:
            return (yield from self.failed(job, lease, error))
        if context.skipped:
            yield from self.release(job.storage, lease)
            return Loaded(value, context.private or context.chose_tags)
        cost = time.perf_counter() - begin
        return (yield from self._stored(flight, job, captured, context, kept, value, cost))

    def compute(self, flight: Flight, job: Job, kept: Kept | None = None) -> Steps[Outcome]:
        """Call the factory where nothing can be stored; ``kept`` is what was seen before the backend failed."""
        context = LoadContext[Any](job.key, kept, job.options.tags)
        try:
            value = yield from self.call(flight, job, context, positionals(job.factory) > 0)
        except Exception as error:
            return Failed(error, kept if kept is not None and kept.stale else None)
        return Loaded(value)

    def call(self, flight: Flight | None, job: Job, context: LoadContext[Any], takes_context: bool) -> Steps[Any]:
        """Call the factory; counted and timed.

        Raises:
            CacheError: The factory declares a failure.
            BaseException: What the factory raises.
        """
        recorder = self.store.recorder
        recorder.loads.increment()
        if flight is not None:
            flight.start()
        arguments = (context,) if takes_context else ()
        factory, observers = job.factory, self.store.observers
        if observers is not None:
            factory = observers.factory(job.storage, factory, awaited=not self._shell.inline)
        begin = time.perf_counter_ns()
        try:
            value = yield self._shell.call, (() if flight is None else (flight,), factory, *arguments)
            if context.failure is not None:
                raise self._error(job, f"loading {show(job.key)} failed: {context.failure}")
            if context.unchanged and not context.has_value:
                raise self._error(job, f"{show(job.key)} can't be unchanged: there is no kept value")
        except BaseException:
            recorder.load_failures.increment()
            raise
        finally:
            recorder.load_nanoseconds.add(time.perf_counter_ns() - begin)
        return context.value if context.unchanged else value

    def kept(self, storage: str, seen: Seen) -> Kept | None:
        """The value of an entry that has one."""
        record = seen.record
        if record is None or seen.found not in (Found.FRESH, Found.STALE):
            return None
        try:
            value = self.store.codec.value(storage, record)
        except Unreadable:
            self.store.recorder.unreadable.increment()
            return None
        return Kept(value, self.store.ttl.age(record), seen.found is Found.STALE, record)

    def times(self, options: LoadOptions, context: LoadContext[Any], value: Any) -> Times:
        """The lifetime of a value, as the caller and the factory have chosen it."""
        ttl = context.ttl
        if ttl is None and options.ttl_for is not None:
            ttl = options.ttl_for(value)
        stale_for = options.stale_for if context.stale_for is None else context.stale_for
        return self.store.ttl.times(options.ttl if ttl is None else ttl, stale_for)

    def failing(self, error: CacheError, key: str) -> None:
        """Count a failure of the backend that costs no caller their value; raises what is none."""
        self.store.locate(error, key)
        if not isinstance(error, (CacheConnectionError, CacheFullError)):
            raise error
        self.store.failed(error)

    def _stored(
        self,
        flight: Flight,
        job: Job,
        captured: Captured,
        context: LoadContext[Any],
        kept: Kept | None,
        value: Any,
        cost: float,
    ) -> Steps[Outcome]:
        """Store what the factory gave, if nothing has happened meanwhile."""
        store, options, fences, lease = self.store, job.options, self.fences, flight.lease
        times = self.times(options, context, value)
        token = context.token_bytes()
        # A value that stays keeps the tags that it has, with the tokens of its own time.
        held = kept.record.tags if context.unchanged and kept is not None else ()
        added = set(context.tags).difference(tag for tag, _ in held)
        try:
            if held:
                yield from fences.prolonged(captured, held, times.kept_until)
            if context.unchanged and kept is not None and kept.record.token == token and not added:
                done = yield from fences.renew(job.storage, lease, kept.record, times)
            else:
                if not captured.has_all(added):
                    flight.stamp = UNSETTLED
                tokens = yield from fences.tokens(captured, added, times.kept_until)
                if tokens is None:
                    yield from self.release(job.storage, lease)
                    return Loaded(value, private=True)
                flight.stamp = held + tokens
                record = Record(value, store.token(), *times, tags=flight.stamp, cost=cost, token=token)
                done = yield from fences.store(job.key, job.storage, lease, record)
        except (CacheConnectionError, CacheFullError) as error:
            self.failing(error, job.key)
            return Loaded(value, private=context.chose_tags)
        if done:
            store.recorder.sets.increment()
        return Loaded(value)

    def failed(self, job: Job, lease: bytes, error: Exception) -> Steps[Outcome]:
        """What a load leaves behind that brought nothing."""
        try:
            left = yield from self.fences.give_up(job.storage, lease, job.options.retry_after)
        except CacheError as lost:
            self.failing(lost, job.key)
            return Failed(error)
        return Failed(error, self.kept(job.storage, left) if left.found is Found.STALE else None)

    def release(self, storage: str, lease: bytes) -> Steps[None]:
        """Take a lease out of a load that brings nothing."""
        # On the way out of a load that was broken off: what broke it off is what counts.
        with suppress(Exception):
            yield from self.fences.give_up(storage, lease)

    def _error(self, job: Job, message: str) -> CacheError:
        store = self.store
        return CacheError(f"cache {store.name!r}: {message}", cache=store.name, backend=store.backend, key=job.key)
