"""Loading plugins and calling their hooks.

The plugin that is asked for by name is the only one that is imported and asked; a wrapper of an enabled plugin may
decorate what it returns. Find, import and register are one step under one lock.
"""

from __future__ import annotations

import difflib
import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pluggy

from . import _discovery, hookspecs
from ._discovery import CORE, KINDS, Found, Kind
from ._events import Removal
from ._hook_manager import HookManager
from .errors import CacheError, CachePluginError
from .observing import Observer, ObserverRequest
from .options import parse

_HOOK_OF: Final[dict[str, Kind]] = {
    "create_backend": "backends",
    "create_async_backend": "backends",
    "create_serializer": "serializers",
    "create_eviction_policy": "eviction",
    "create_observer": "plugins",
    "export_stats": "exporters",
    "on_evict": "plugins",
}
_NOUN: Final[dict[Kind, str]] = {
    "backends": "backend",
    "serializers": "serializer",
    "eviction": "eviction policy",
    "exporters": "exporter",
    "plugins": "plugin",
}
_PUBLISHED: Final[dict[tuple[str, str], str]] = {
    ("backends", "in_memory"): '"codomyrmex-cache[memory]"',
    ("backends", "memory"): '"codomyrmex-cache[memory]"',
    ("backends", "file_based"): '"codomyrmex-cache[file]"',
    ("backends", "file"): '"codomyrmex-cache[file]"',
    ("backends", "redis"): '"codomyrmex-cache[redis]"',
    ("serializers", "msgpack"): '"codomyrmex-cache[msgpack]"',
    ("serializers", "zstd"): '"codomyrmex-cache[zstd]"',
    ("exporters", "opentelemetry"): '"codomyrmex-cache[opentelemetry]"',
    ("exporters", "prometheus"): '"codomyrmex-cache[prometheus]"',
    ("exporters", "top"): '"codomyrmex-cache[cli]"',
    ("plugins", "opentelemetry"): '"codomyrmex-cache[opentelemetry]"',
    ("plugins", "prometheus"): '"codomyrmex-cache[prometheus]"',
}
"""What to install for the plugins that this project publishes."""

_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class Gate:
    """Which plugins may be imported.

    Attributes:
        allow: Names of plugins or distributions, each with where it was said; None allows all.
        block: The same; wins over ``allow``.
    """

    allow: Mapping[str, str] | None = None
    block: Mapping[str, str] | None = None

    def refusal(self, name: str, distribution: str | None) -> str | None:
        """Why a plugin may not be imported; None if it may. The core's own need no permission."""
        for said in (name, distribution or name):
            if self.block and said in self.block:
                return f"it is blocked in {self.block[said]}"
        if self.allow is None or distribution == CORE or name in self.allow or distribution in self.allow:
            return None
        where = ", ".join(dict.fromkeys(self.allow.values())) or "the allow list"
        return f"it is not among those allowed in {where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """Where a plugin comes from, and its state; found out without importing it.

    Attributes:
        kind: backends, serializers, eviction, exporters or plugins.
        name: Its name in config.
        distribution: Distribution that declares it; None for one that was registered in the program.
        version: Version of the distribution.
        target: What is imported.
        editable: Whether the distribution is installed in editable form; None if not known.
        state: installed, loaded, registered, blocked, conflict or failed.
        detail: Why, for the last three.
    """

    kind: Kind
    name: str
    distribution: str | None
    version: str | None
    target: str
    editable: bool | None
    state: str
    detail: str = ""


class Plugins:
    """The plugins of one manager.

    Args:
        gate: Which may be imported.
        enabled: Those of kind ``plugins`` that are switched on: names, and their options.
    """

    def __init__(self, gate: Gate, enabled: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        self._gate = gate
        self._enabling = tuple(enabled)
        self._enabled: list[object] | None = None
        self._manager = HookManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._loaded: dict[tuple[Kind, str], object] = {}
        self._registered: set[tuple[Kind, str]] = set()
        self._failed: dict[tuple[Kind, str], str] = {}

    def register(self, plugin: object, name: str) -> None:
        """Make ``plugin`` available as ``name``, for every kind whose hooks it implements."""
        with _lock:
            if (refusal := self._gate.refusal(name, None)) is not None:
                raise CachePluginError(f"plugin {name!r} can't be registered: {refusal}")
            kinds: set[Kind] = {kind for hook, kind in _HOOK_OF.items() if self._implements(plugin, hook)}
            if any(_marked(plugin, hook) for hook in _HOOK_OF):
                kinds.add("plugins")  # wrappers may be all it has
            if not kinds:
                raise CachePluginError(
                    f"plugin {name!r} implements no hook; mark one of {', '.join(_HOOK_OF)} with hookimpl"
                )
            if taken := [kind for kind in kinds if (kind, name) in self._loaded]:
                raise CachePluginError(f"the name {name!r} is already in use among the {taken[0]}")
            self._admit(plugin, name, f"plugin {name!r}")
            for kind in kinds:
                self._loaded[kind, name] = plugin
                self._registered.add((kind, name))

    def create(self, kind: Kind, hook: str, name: str, request: Any, wanted: type | tuple[type, ...]) -> Any:
        """What the plugin ``name`` returns from its ``create_*`` hook, decorated by the enabled plugins.

        Args:
            kind: Kind of plugin.
            hook: Name of the hook.
            name: Name in config, or ``package.module:attribute``.
            request: The hook's argument.
            wanted: What it has to be an instance of.

        Returns:
            The thing created, or None if the plugin doesn't implement the hook.

        Raises:
            CachePluginError: It can't be found, loaded or asked, or returns something else.
        """
        plugin = self.load(kind, name)
        if not self._implements(plugin, hook):
            return None
        others = self._others(plugin, hook)
        try:
            result = self._manager.subset_hook_caller(hook, others)(request=request)
        except CacheError:
            raise
        except Exception as error:
            raise CachePluginError(
                f"{_NOUN[kind]} {name!r} failed in {hook}: {type(error).__name__}", backend=name
            ) from error
        if not isinstance(result, wanted):
            classes = wanted if isinstance(wanted, tuple) else (wanted,)
            expected = " or ".join(cls.__name__ for cls in classes)
            raise CachePluginError(
                f"{_NOUN[kind]} {name!r}: {hook} returned a {type(result).__name__}, expected {expected}"
            )
        return result

    def load(self, kind: Kind, name: str) -> object:
        """The plugin called ``name``, imported and registered if it was not yet."""
        with _lock:
            if (kind, name) in self._loaded:
                return self._loaded[kind, name]
            found = self._find(kind, name)
            what = f"{_NOUN[kind]} {name!r} ({found.source})"
            # Who writes a target in place of a name needs leave for every name under which its module is installed.
            claims = [found] if found.name == name and ":" not in name else [*_of_module(name), found]
            if refusals := [said for one in claims if (said := self._gate.refusal(one.name, one.distribution))]:
                raise CachePluginError(f"{what} is not loaded: {refusals[0]}")
            try:
                plugin = _import(found.target)
                self._admit(plugin, name, what)
            except CachePluginError as error:
                self._failed[kind, name] = error.message
                raise
            except Exception as error:
                self._failed[kind, name] = f"{type(error).__name__}: {error}"
                raise CachePluginError(f"{what} can't be imported: {type(error).__name__}: {error}") from error
            self._failed.pop((kind, name), None)
            self._loaded[kind, name] = plugin
            return plugin

    def listeners(self) -> tuple[tuple[str, Callable[[Removal], None]], ...]:
        """The ``on_evict`` functions of the enabled plugins, with their plugins' names."""
        enabled = self._enabled_plugins()
        found: list[tuple[str, Callable[[Removal], None]]] = []
        for implementation in self._manager.hook.on_evict.get_hookimpls():
            if implementation.plugin in enabled and not (implementation.wrapper or implementation.hookwrapper):
                found.append((implementation.plugin_name, _taking_event(implementation)))
        return tuple(found)

    def observers(self, cache: str, backend: str) -> list[tuple[str, Observer]]:
        """What the enabled plugins' ``create_observer`` gives for a cache, with their names.

        Raises:
            CachePluginError: One of them fails, or gives something else.
        """
        made: list[tuple[str, Observer]] = []
        for (name, options), plugin in zip(self._enabling, self._enabled_plugins(), strict=True):
            if not self._implements(plugin, "create_observer"):
                continue
            request = ObserverRequest(name=name, cache=cache, options=options, backend=backend)
            observer = self.create("plugins", "create_observer", name, request, (Observer, type(None)))
            if observer is not None:
                made.append((name, observer))
        return made

    def exporter(self, name: str, options: Mapping[str, Any], source: str) -> Callable[[Mapping[str, Any]], None]:
        """What hands snapshots to the exporter called ``name``.

        Args:
            name: Its name in config.
            options: As the user wrote them; checked if the plugin says what they are.
            source: Where they were read, for messages.

        Raises:
            CachePluginError: It can't be found or loaded.
            CacheConfigError: An option is unknown or malformed.
        """
        plugin = self.load("exporters", name)
        schema = getattr(plugin, "exporter_options", None)
        where = f"{source}, exporter {name!r}"
        given = options if schema is None else parse(schema, options, where=where, known=("interval",))

        def export(snapshots: Mapping[str, Any]) -> None:
            # Made anew each time: it leaves out what is registered when it is made.
            caller = self._manager.subset_hook_caller("export_stats", self._others(plugin, "export_stats"))
            caller(snapshots=snapshots, options=given)

        return export

    def info(self) -> list[PluginInfo]:
        """Every plugin that is installed or registered."""
        rows: list[PluginInfo] = []
        with _lock:
            for (kind, name), several in sorted(_discovery.installed().items()):
                rows += [self._info(kind, name, found, several) for found in several]
            for kind, name in sorted(self._registered):
                target = type(self._loaded[kind, name]).__name__
                rows.append(
                    PluginInfo(
                        kind=kind,
                        name=name,
                        distribution=None,
                        version=None,
                        target=target,
                        editable=None,
                        state="registered",
                    )
                )
        return sorted(rows, key=lambda row: (KINDS.index(row.kind), row.name))

    def _info(self, kind: Kind, name: str, found: Found, several: Sequence[Found]) -> PluginInfo:
        state, detail = "installed", ""
        refusal = self._gate.refusal(name, found.distribution)
        if refusal is not None:
            state, detail = "blocked", refusal
        elif len(several) > 1:
            others = ", ".join(other.source for other in several if other is not found)
            state, detail = "conflict", f"also claimed by {others}"
        elif (kind, name) in self._failed:
            state, detail = "failed", self._failed[kind, name]
        elif (kind, name) in self._loaded and (kind, name) not in self._registered:
            state = "loaded"
        return PluginInfo(
            kind=kind,
            name=name,
            distribution=found.distribution,
            version=found.version,
            target=found.target,
            editable=_discovery.is_editable(found.distribution),
            state=state,
            detail=detail,
        )

    def _find(self, kind: Kind, name: str) -> Found:
        table = _discovery.installed()
        several = table.get((kind, name), ())
        if not several:
            exact = [one for one in _of_module(name) if one.kind == kind and _split(one.target) == _split(name)]
            if exact:
                return exact[0]
            if ":" in name:
                return Found(kind, name, name, "named by its target", "in config")
        if len(several) == 1:
            return several[0]
        noun = _NOUN[kind]
        if several:
            claims = "; ".join(found.source for found in several)
            raise CachePluginError(
                f"{noun} {name!r} is claimed by {len(several)} distributions: {claims}. "
                f"Uninstall one, or write the target of the other in place of the name, such as {several[0].target!r}"
            )
        names = sorted({other for other_kind, other in (*table, *self._loaded) if other_kind == kind})
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        package = _PUBLISHED.get((kind, name))
        install = f" To install it: pip install {package}" if package else ""
        raise CachePluginError(f"there is no {noun} {name!r}; installed: {', '.join(names) or 'none'}.{hint}{install}")

    def _admit(self, plugin: object, name: str, what: str) -> None:
        """Check the plugin's version and hooks, and register it with pluggy."""
        wants = getattr(plugin, "codomyrmex_cache_api", hookspecs.API_VERSION)
        if wants != hookspecs.API_VERSION:
            raise CachePluginError(
                f"{what} was written for version {wants} of the hooks, this is version {hookspecs.API_VERSION}: "
                "install a release of it that fits"
            )
        if self._manager.is_registered(plugin):  # an alias
            return
        free = name if not self._manager.has_plugin(name) else f"{name} ({id(plugin)})"
        try:
            self._manager.register(plugin, free)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            raise CachePluginError(f"{what} has a hook that doesn't fit: {error}") from error

    def _implements(self, plugin: object, hook: str) -> bool:
        marks = _marked(plugin, hook)
        return marks is not None and not (marks.get("wrapper") or marks.get("hookwrapper"))

    def _enabled_plugins(self) -> list[object]:
        if self._enabled is None:
            self._enabled = [self.load("plugins", name) for name, _ in self._enabling]
        return self._enabled

    def _others(self, plugin: object, hook: str) -> list[object]:
        """All plugins but the one asked and the enabled wrappers."""
        enabled = self._enabled_plugins()
        wrappers = [
            implementation.plugin
            for implementation in getattr(self._manager.hook, hook).get_hookimpls()
            if implementation.plugin in enabled and (implementation.wrapper or implementation.hookwrapper)
        ]
        return [other for other in self._manager.get_plugins() if other is not plugin and other not in wrappers]


def _marked(plugin: object, hook: str) -> dict[str, Any] | None:
    """What `hookimpl` left on the plugin's function of this name."""
    return getattr(getattr(plugin, hook, None), f"{hookspecs.PROJECT}_impl", None)


def _split(target: str) -> tuple[str, str]:
    """Module and attribute of a target."""
    module, _, attribute = target.partition(":")
    return module.strip(), attribute.strip()


def _of_module(target: str) -> list[Found]:
    """Installed plugins of the module that ``target`` names."""
    every = (one for several in _discovery.installed().values() for one in several)
    return [one for one in every if _split(one.target)[0] == _split(target)[0]]


def _import(target: str) -> object:
    module, attribute = _split(target)
    plugin: object = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        plugin = getattr(plugin, part)
    return plugin


def _taking_event(implementation: pluggy.HookImpl) -> Callable[[Removal], None]:
    """The hook's function, whether it takes the event or not: pluggy passes only the arguments that are named."""
    function: Callable[..., None] = implementation.function  # type: ignore[assignment]
    return function if implementation.argnames else lambda event: function()
