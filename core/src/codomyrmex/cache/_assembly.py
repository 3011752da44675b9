"""Putting one cache together: from its settings to a driver and the store that its views share."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._backend_request import BackendRequest
from ._capabilities import Capabilities
from ._clocks import Clock
from ._codec import BytesCodec, Codec, ObjectCodec
from ._config import CORE_OPTIONS, DEFAULT_SERIALIZER, Settings
from ._discovery import Kind
from ._driver import AnyAsyncBackend, AnyBackend, AsyncBackend, Backend
from ._events import Emit, Removal, emitter
from ._keys import Keys
from ._plugins import Plugins
from ._policies import OWN_POLICIES
from ._request import PluginRequest
from ._stats import Recorder
from ._store import Store
from ._ttl import TTLManager
from .errors import CacheConfigError, CacheError, CachePluginError
from .eviction import EvictionPolicy
from .serializers import Serializer, Transform

if TYPE_CHECKING:
    from ._observed import Observers


class Assembly:
    """The parts of one cache, made when first needed.

    Args:
        settings: Its checked settings.
        plugins: Where its parts come from.
        clock: The caller's own clock, or None for the driver's.
    """

    def __init__(self, settings: Settings, plugins: Plugins, clock: Clock | None) -> None:
        self.settings = settings
        self._plugins = plugins
        self._clock = clock
        self._recorder = Recorder()
        self._policy_made = False
        self._observers = self._make_observers()
        self.driver: AnyBackend | None = self._make("create_backend", Backend)
        self.async_driver: AnyAsyncBackend | None = None
        if self.driver is None:
            self.async_driver = self._make_async()
        try:
            self.store = self._store(self.driver or self.async_driver)
        except BaseException:
            self.release(in_loop=False)
            raise

    def for_async(self) -> AnyBackend | AnyAsyncBackend:
        """The driver of the asynchronous view: its own if there is one, else the synchronous one."""
        if self.async_driver is None:
            self.async_driver = self._make_async()
        driver = self.async_driver or self.driver
        if driver is None:
            raise self._refuse("the plugin makes no backend")
        return driver

    def for_sync(self) -> AnyBackend:
        """The synchronous driver; raises `CachePluginError` if the backend has none."""
        if self.driver is None:
            raise CachePluginError(
                f"backend {self.settings.backend!r} is asynchronous only: use get_async_cache",
                cache=self.settings.name,
                backend=self.settings.backend,
            )
        return self.driver

    def release(self, *, in_loop: bool) -> None:
        """Close the drivers.

        Args:
            in_loop: The asynchronous one is closed by its user, in an event loop. Otherwise it gets a loop of its own
                here,
                in a thread of its own, since this thread may be running one.
        """
        if self.driver is not None:
            self.driver.close()
        if self.async_driver is not None and not in_loop:
            closing = threading.Thread(target=_close, args=(self.async_driver,))
            closing.start()
            closing.join()

    def _make_async(self) -> AnyAsyncBackend | None:
        made: AnyAsyncBackend | None = self._make("create_async_backend", AsyncBackend)
        return made

    def _make(self, hook: str, wanted: type) -> Any:
        settings = self.settings
        request = BackendRequest(
            name=settings.backend,
            cache=settings.name,
            options=settings.options,
            known=CORE_OPTIONS,
            url=settings.url,
            clock=self._clock,
            recorder=self._recorder,
            emit=self._emit(),
            make_policy=self._policy,
        )
        driver = self._create("backends", hook, settings.backend, request, wanted)
        problem = None if driver is None else self._misfit(driver.capabilities)
        if problem is not None:
            if isinstance(driver, Backend):
                driver.close()
            raise self._refuse(f"backend {settings.backend!r} {problem}")
        return driver if driver is None or self._observers is None else _observed(driver, self._observers)

    def _make_observers(self) -> Observers | None:
        settings = self.settings
        made = self._with_cache_name(lambda: self._plugins.observers(settings.name, settings.backend))
        if not made:
            return None
        from ._observed import Observers

        return Observers(made, self._recorder)

    def _misfit(self, capabilities: Capabilities) -> str | None:
        """Why a driver doesn't go together with the settings; None if it does."""
        core = self.settings.core
        if core.eviction is not None and not self._policy_made:
            return "evicts by no policy: remove the option 'eviction'"
        if core.serializer != DEFAULT_SERIALIZER and capabilities.stores == "objects":
            return "keeps objects as they are: remove the option 'serializer'"
        if capabilities.shared and not capabilities.swap and core.fence != "process":
            return (
                "is shared, but can't compare and swap: an invalidation of one process could be overwritten by a load "
                'of another. Write fence = "process" if only one process writes'
            )
        return None

    def _store(self, driver: AnyBackend | AnyAsyncBackend | None) -> Store:
        settings, core = self.settings, self.settings.core
        if driver is None:
            raise self._refuse(f"backend {settings.backend!r} makes neither a synchronous nor an asynchronous driver")
        keys = Keys(settings.name, driver.capabilities.isolated)
        if self._observers is not None:
            self._observers.prefix = keys.prefix
        return Store(
            backend=settings.backend,
            keys=keys,
            codec=self._codec(driver),
            ttl=TTLManager(
                core.ttl,
                maximum=core.max_ttl,
                jitter=core.jitter,
                sliding=core.sliding,
                stale_for=core.stale_for or 0,
                clock=driver.now,
            ),
            recorder=self._recorder,
            on_error=core.on_error,
            lease=core.lease,
            retry_after=core.retry_after,
            ready=driver.capabilities.clock != "server",
            observers=self._observers,
        )

    def _codec(self, driver: AnyBackend | AnyAsyncBackend) -> Codec:
        stages = self.settings.core.serializer
        if driver.capabilities.stores == "objects":
            return ObjectCodec()
        made = [self._stage(dict(stage)) for stage in stages]
        names = [stage["name"] for stage in stages]
        first, *rest = made
        if not isinstance(first, Serializer):
            raise self._refuse(f"option 'serializer': {names[0]!r} only changes bytes; put a serializer in front of it")
        transforms = [stage for stage in rest if isinstance(stage, Transform)]
        if len(transforms) != len(rest):
            raise self._refuse(f"option 'serializer': {', '.join(names)} has more than one serializer")
        return BytesCodec(self.settings.name, names, first, transforms, driver.crc32)

    def _stage(self, stage: dict[str, Any]) -> Serializer | Transform:
        name = stage.pop("name")
        request = PluginRequest(name=name, cache=self.settings.name, options=stage)
        made = self._create("serializers", "create_serializer", name, request, (Serializer, Transform))
        if made is None:
            raise CachePluginError(f"cache {self.settings.name!r}: plugin {name!r} makes no serializer")
        return made  # type: ignore[no-any-return]

    def _policy(self, default: str) -> EvictionPolicy:
        self._policy_made = True
        table = dict(self.settings.core.eviction or {"name": default})
        name = table.pop("name")
        request = PluginRequest(name=name, cache=self.settings.name, options=table)
        made = self._create("eviction", "create_eviction_policy", name, request, EvictionPolicy)
        if made is None:
            raise CachePluginError(f"cache {self.settings.name!r}: plugin {name!r} makes no eviction policy")
        if type(made) in OWN_POLICIES:
            return made  # type: ignore[no-any-return]
        from ._policy_guard import blamer, check, guarded

        self._with_cache_name(lambda: check(made))
        return guarded(made, blamer(self.settings.name, name, self._recorder))

    def _create(self, kind: Kind, hook: str, name: str, request: Any, wanted: type | tuple[type, ...]) -> Any:
        return self._with_cache_name(lambda: self._plugins.create(kind, hook, name, request, wanted))

    def _with_cache_name(self, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, its errors with the name of the cache that asked."""
        try:
            return make()
        except CachePluginError as error:
            cache = self.settings.name
            if error.cache is not None:
                raise
            raise CachePluginError(
                f"cache {cache!r}: {error.message}", cache=cache, backend=self.settings.backend
            ) from error.__cause__
        except CacheError as error:
            error.cache = error.cache or self.settings.name
            error.backend = error.backend or self.settings.backend
            raise

    def _emit(self) -> Emit | None:
        listeners = self._with_cache_name(self._plugins.listeners)
        if not listeners:
            return None
        safe = tuple(quiet(name, listener, self._recorder) for name, listener in listeners)
        # Where the prefix ends is known only once the driver is there, and nothing is emitted before.
        return lambda removals: emitter(self.settings.name, self.store.keys.prefix, safe)(removals)

    def _refuse(self, message: str) -> CacheConfigError:
        name = self.settings.name
        return CacheConfigError(f"cache {name!r}: {message}", cache=name, backend=self.settings.backend)


def _observed(driver: AnyBackend | AnyAsyncBackend, observers: Observers) -> AnyBackend | AnyAsyncBackend:
    from ._observed import ObservedAsyncBackend, ObservedBackend

    if isinstance(driver, Backend):
        return ObservedBackend(driver, observers)
    return ObservedAsyncBackend(driver, observers)


def _close(driver: AnyAsyncBackend) -> None:
    import asyncio

    try:
        asyncio.run(driver.close())
    except CacheError as error:
        import logging

        logging.getLogger("codomyrmex.cache").warning("closing a %s failed: %s", type(driver).__name__, error)


def quiet(name: str, call: Callable[[Any], None], recorder: Recorder) -> Callable[[Removal], None]:
    """``call``, its errors counted, and logged once until it works again."""
    failing = False

    @functools.wraps(call)
    def listener(event: Removal) -> None:
        nonlocal failing
        try:
            call(event)
        except Exception:
            recorder.errors.increment()
            if not failing:
                failing = True
                import logging

                logging.getLogger("codomyrmex.cache").exception("plugin %r failed on an eviction", name)
        else:
            failing = False

    return listener
