"""A span for each call of a backend and each load, and histograms of their times."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from opentelemetry import metrics, trace
from opentelemetry.trace import Status, StatusCode

from codomyrmex.cache import hookimpl
from codomyrmex.cache.observing import Observer, ObserverRequest, Outcome
from codomyrmex.cache.options import option

from ._metrics import NAME

_UNWATCHED = frozenset({"purge"})
"""What the cache does by itself, once a second, and nobody waits for."""


@dataclass(frozen=True)
class OpenTelemetryOptions:
    """Options of the plugin ``opentelemetry``."""

    keys: Literal["never", "hashed", "plain"] = option(
        "never", kind="choice", choices=("never", "hashed", "plain"), help="Whether and how spans name keys."
    )
    secret: str | bytes | None = option(
        None, kind="secret", optional=True, help="Keys the hash of keys, so that nobody can guess them."
    )


@hookimpl
def create_observer(request: ObserverRequest) -> Observer:
    """Make an observer that makes spans."""
    options = request.parse(OpenTelemetryOptions)
    if options.keys != "hashed" and options.secret is not None:
        raise request.refuse("option 'secret' is for keys = \"hashed\" only")
    return _Tracing(request.cache, request.backend, _naming(options))


def _naming(options: OpenTelemetryOptions) -> Callable[[str], str] | None:
    if options.keys == "never":
        return None
    if options.keys == "plain":
        return str
    secret = options.secret or b""
    key = hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).digest() if secret else b""
    return lambda text: hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()


class _Tracing(Observer):
    def __init__(self, cache: str, backend: str, name_of: Callable[[str], str] | None) -> None:
        self._attributes = {f"{NAME}.name": cache, f"{NAME}.backend": backend}
        self._name_of = name_of
        self._tracer = trace.get_tracer(NAME)
        meter = metrics.get_meter(NAME)
        self._calls = meter.create_histogram(
            f"{NAME}.operation.duration", unit="s", description="Time of calls of a backend"
        )
        self._loads = meter.create_histogram(f"{NAME}.load.duration", unit="s", description="Time of loads")

    @contextmanager
    def watch(self, operation: str, key: str | None, outcome: Outcome) -> Generator[None]:
        if operation in _UNWATCHED:
            yield
            return
        attributes: dict[str, Any] = {**self._attributes, f"{NAME}.operation": operation}
        named = attributes
        if key is not None and self._name_of is not None:
            named = {**attributes, f"{NAME}.key": self._name_of(key)}
        begin = time.perf_counter()
        # What an exception says may name the key: its class is all that is recorded.
        with self._tracer.start_as_current_span(
            f"cache {operation}", attributes=named, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR))
                span.set_attribute("error.type", type(error).__qualname__)
                attributes["error.type"] = type(error).__qualname__
                raise
            finally:
                if outcome.found is not None:
                    span.set_attribute(f"{NAME}.found", outcome.found)
                    attributes[f"{NAME}.found"] = outcome.found
                (self._loads if operation == "load" else self._calls).record(time.perf_counter() - begin, attributes)
