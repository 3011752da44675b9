"""`CacheManager`, and the one that `get_cache` at module level uses."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _discovery
from ._assembly import Assembly
from ._cache import Cache
from ._clocks import Clock
from ._config import read_config
from ._plugins import PluginInfo, Plugins
from ._reaper import reaper
from ._stats import CacheStats
from .errors import CacheConfigError, CacheError, CacheInvalidationError

if TYPE_CHECKING:
    from ._async_cache import AsyncCache
    from ._exports import ExporterInfo, Exporters


class _Open:
    """One open cache: its parts and the views of it that were asked for."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.cache: Cache[Any] | None = None
        self.async_cache: AsyncCache[Any] | None = None


class CacheManager:
    """Makes caches by name and keeps them until it is closed.

    Args:
        config: A mapping, or the path of a TOML file (its own, or a pyproject.toml with ``[tool.codomyrmex.cache]``);
            None for the
            file that the environment variable ``CODOMYRMEX_CACHE_CONFIG`` names, or for no config at all.
        clock: Returns seconds; replaces the clocks of all drivers, for tests.
        environ: Replaces the process's environment.
        exporting: Whether exporters are called; a tool that looks into a program's caches has nothing to tell.

    Raises:
        CacheConfigError: The config is malformed. Options of a cache are checked when it is first asked for.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
        exporting: bool = True,
    ) -> None:
        self._config = read_config(config, os.environ if environ is None else environ)
        self._clock = clock
        self._plugins = Plugins(self._config.gate, self._config.enabled)
        self._open: dict[str, _Open] = {}
        self._lock = threading.RLock()
        self._closed = False
        self._exporters: Exporters | None = None
        self._chosen_exporters = self._config.exporters if exporting else ()

    def get_cache(self, name: str = "default", *, backend: str | None = None, **options: Any) -> Cache[Any]:
        """The cache called ``name``: the same object every time.

        Args:
            name: Letters, digits, dots, underscores and hyphens.
            backend: Name or URL of its backend, in place of the config's.
            options: Further settings, in place of the config's.

        Raises:
            CacheConfigError: A setting is unknown or malformed, or differs from those of the cache that is open; or an
                exporter's option is.
            CachePluginError: A plugin that it names, or an exporter of the config, is missing, blocked or broken.
        """
        with self._lock:
            opened = self._opened(name, backend, options)
            if opened.cache is None:
                opened.cache = Cache(opened.assembly.store, opened.assembly.for_sync())
            return opened.cache

    def get_async_cache(self, name: str = "default", *, backend: str | None = None, **options: Any) -> AsyncCache[Any]:
        """The asynchronous view of the cache called ``name``, on the same store and statistics; see `get_cache`."""
        from ._async_cache import AsyncCache  # brings asyncio

        with self._lock:
            opened = self._opened(name, backend, options)
            if opened.async_cache is None:
                opened.async_cache = AsyncCache(opened.assembly.store, opened.assembly.for_async())
            return opened.async_cache

    def has_cache(self, name: str) -> bool:
        """Whether ``name`` is open or has a table in the config."""
        return name in self._open or name in self._config.caches

    def list_caches(self) -> list[str]:
        """The names for which `has_cache` is true, sorted."""
        return sorted({*self._open, *self._config.caches})

    def remove_cache(self, name: str) -> bool:
        """Close the cache called ``name`` and forget it, but not what a persistent store keeps; False if not open."""
        with self._lock:
            opened = self._open.pop(name, None)
        if opened is None:
            return False
        opened.assembly.store.close()
        return True

    def clear_all(self) -> None:
        """Clear every open cache.

        Raises:
            CacheInvalidationError: Some could not be cleared; all others are.
        """
        failures: dict[str, CacheError] = {}
        for name, opened in list(self._open.items()):
            try:
                Cache[Any](opened.assembly.store, opened.assembly.for_sync()).clear()
            except CacheError as error:
                failures[name] = error
        if failures:
            reasons = "; ".join(f"{name!r}: {error.message}" for name, error in failures.items())
            raise CacheInvalidationError(f"not every cache is cleared: {reasons}") from next(iter(failures.values()))

    def plugins(self, *, refresh: bool = False) -> list[PluginInfo]:
        """Every plugin that is installed or registered, without importing any.

        Args:
            refresh: Read the metadata again: for programs that install plugins into themselves.
        """
        if refresh:
            _discovery.refresh()
        return self._plugins.info()

    def register(self, plugin: object, name: str) -> None:
        """Make ``plugin``, an object with ``hookimpl`` functions, available as ``name``: for frozen programs and tests.

        Raises:
            CachePluginError: The name is taken or blocked, or a hook doesn't fit.
        """
        self._plugins.register(plugin, name)

    def stats(self) -> dict[str, CacheStats]:
        """A snapshot of every open cache, by name."""
        found = {name: self._stats_of(name) for name in self._open_names()}
        return {name: stats for name, stats in found.items() if stats is not None}

    @property
    def snapshots(self) -> Mapping[str, CacheStats]:
        """The same as a mapping that may be kept: what it shows is taken anew at each look."""
        from ._exports import Snapshots

        held = weakref.ref(self)

        def take(name: str) -> CacheStats | None:
            manager = held()
            return None if manager is None else manager._stats_of(name)

        def names() -> list[str]:
            manager = held()
            return [] if manager is None else manager._open_names()

        return Snapshots(take, names)

    def export_stats(self) -> None:
        """Hand the statistics to the exporters of the config now; one that fails is logged, once per outage.

        Waits five seconds at most for each of them.

        Raises:
            CacheError: An exporter that the config names is missing, blocked or broken, or an option of it is wrong.
        """
        self._exporting().run()

    def exporters(self) -> list[ExporterInfo]:
        """How the exporters that the config names are doing."""
        return [one.info for one in self._exporting().all]

    def close(self) -> None:
        """Close every cache; the manager makes none afterwards, and a second call does nothing.

        Exporters with an interval get the statistics once more before; that takes a second at most.
        """
        if self._exporters is not None:
            self._exporters.finish()
        with self._lock:
            self._closed = True
            opened, self._open = self._open, {}
        for one in opened.values():
            one.assembly.store.close()

    def __enter__(self) -> CacheManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, name: str, backend: str | None, options: dict[str, Any]) -> _Open:
        if self._closed:
            raise CacheError("the manager is closed")
        given = options if backend is None else {"backend": backend, **options}
        opened = self._open.get(name)
        if opened is not None and not given:
            return opened
        settings = self._config.settings(name, given)
        if opened is not None:
            if different := opened.assembly.settings.differences(settings):
                raise CacheConfigError(
                    f"cache {name!r} is open with other settings (open and asked): {'; '.join(different)}", cache=name
                )
            return opened
        exporters = self._exporting() if self._chosen_exporters else None  # a mistake in their config shows here
        opened = _Open(Assembly(settings, self._plugins, self._clock))
        opened.assembly.store.when_closed = functools.partial(self._forget, name, opened)
        opened.assembly.store.async_view = functools.partial(self.get_async_cache, name)
        if opened.assembly.driver is not None:
            reaper.watch(opened.assembly.driver, opened.assembly.store.recorder)
        self._open[name] = opened
        if exporters is not None:
            exporters.start()
        return opened

    def _stats_of(self, name: str) -> CacheStats | None:
        """A snapshot of the cache called ``name``; None if it is not open."""
        opened = self._open.get(name)
        view = None if opened is None else opened.cache or opened.async_cache
        return None if view is None else view.stats

    def _open_names(self) -> list[str]:
        """The names of the caches that are open, sorted."""
        return sorted(name for name, opened in list(self._open.items()) if opened.cache or opened.async_cache)

    def _exporting(self) -> Exporters:
        from ._exports import Exporter, Exporters

        with self._lock:
            if self._exporters is None:
                snapshots, find, source = self.snapshots, self._plugins.exporter, self._config.source
                calls = [(one, find(one.name, one.options, source)) for one in self._chosen_exporters]
                self._exporters = Exporters(
                    [Exporter(one.name, one.interval, functools.partial(call, snapshots)) for one, call in calls]
                )
            return self._exporters

    def _forget(self, name: str, opened: _Open, in_loop: bool) -> None:
        """Release a cache that has been closed; it is made anew when it is asked for again."""
        if opened.assembly.driver is not None:
            reaper.forget(opened.assembly.driver)
        opened.assembly.release(in_loop=in_loop)
        with self._lock:
            if self._open.get(name) is opened:
                del self._open[name]


_default: CacheManager | None = None
_default_lock = threading.Lock()


def default_manager() -> CacheManager:
    """The manager behind `get_cache`, made when first needed."""
    global _default
    with _default_lock:
        if _default is None:
            _default = CacheManager()
        return _default


def configure(config: Mapping[str, Any] | str | os.PathLike[str] | None = None) -> CacheManager:
    """Give the default manager a config, before it makes its first cache.

    Args:
        config: See `CacheManager`.

    Returns:
        The new default manager.

    Raises:
        CacheConfigError: The config is malformed, or caches are open already.
    """
    global _default
    with _default_lock:
        if _default is not None and _default._open:
            names = ", ".join(map(repr, sorted(_default._open)))
            raise CacheConfigError(f"configure() must come before the first get_cache(); open are {names}")
        _default = CacheManager(config)
        return _default


def get_cache(name: str = "default", *, backend: str | None = None, **options: Any) -> Cache[Any]:
    """`CacheManager.get_cache` of the default manager."""
    return default_manager().get_cache(name, backend=backend, **options)


def get_async_cache(name: str = "default", *, backend: str | None = None, **options: Any) -> AsyncCache[Any]:
    """`CacheManager.get_async_cache` of the default manager."""
    return default_manager().get_async_cache(name, backend=backend, **options)
