"""Config: from what a user wrote (mapping, file, environment, URL, arguments) to checked settings of one cache."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from . import options as _options
from ._keys import check_cache_name
from ._plugins import Gate
from .errors import CacheConfigError
from .options import option

if TYPE_CHECKING:
    from urllib.parse import SplitResult

DEFAULT_BACKEND: Final = "in_memory"
DEFAULT_SERIALIZER: Final[tuple[Mapping[str, Any], ...]] = ({"name": "msgpack"},)
FILE_VARIABLE: Final = "CODOMYRMEX_CACHE_CONFIG"
_OPTION_VARIABLE = "CODOMYRMEX_CACHE__"
_ALLOW_VARIABLE = "CODOMYRMEX_CACHE_ALLOW"
_BLOCK_VARIABLE = "CODOMYRMEX_CACHE_BLOCK"
_SECTIONS = ("caches", "defaults", "exporters", "plugins")
_SECRET = re.compile("key|password|secret|token", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """The settings that every cache has, whatever its backend; the backend's own options stand beside them."""

    backend: str = option(DEFAULT_BACKEND, kind="text", help="Name, URL or 'package.module:attribute' of the backend.")
    ttl: float | None = option(None, kind="duration", optional=True, help="How long values live by default.")
    max_ttl: float | None = option(None, kind="duration", optional=True, help="Longer ttls are cut to this.")
    jitter: float = option(0.0, kind="fraction", help="Largest random fraction taken off every ttl.")
    sliding: bool = option(False, kind="flag", help="A hit renews the ttl once an eighth of it is used.")
    stale_for: float | None = option(
        None, kind="duration", optional=True, help="How long values are kept as a fallback after their ttl."
    )
    serializer: tuple[Mapping[str, Any], ...] = option(
        DEFAULT_SERIALIZER, kind="plugins", help="How a backend that stores bytes writes values: names of stages."
    )
    eviction: Mapping[str, Any] | None = option(
        None, kind="plugin", help="Eviction policy of a bounded backend, which chooses one itself if none is named."
    )
    on_error: Literal["raise", "degrade"] = option(
        "raise", kind="choice", choices=("raise", "degrade"), help="What reads and writes do when the backend fails."
    )
    lease: float = option(
        30.0, kind="duration", help="How long a load may take before another caller may begin one as well."
    )
    retry_after: float = option(
        10.0, kind="duration", help="How long a kept value is served after a failed load before the next one."
    )
    fence: Literal["store", "process"] = option(
        "store",
        kind="choice",
        choices=("store", "process"),
        help="Who must be kept from overwriting an invalidation: all who share the store, or this process only.",
    )


CORE_OPTIONS: Final = _options.names(CacheOptions)


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked settings of one cache.

    Attributes:
        name: The cache's name.
        backend: Name of the backend, without its URL.
        url: The URL that named it, split.
        core: The settings that every cache has.
        options: The backend's own options, as written; its plugin checks them.
    """

    name: str
    backend: str
    url: SplitResult | None
    core: CacheOptions
    options: Mapping[str, Any]

    def target(self) -> str:
        """The backend as it was written: its URL without the query, or its name."""
        return self.backend if self.url is None else f"{self.backend}://{self.url.netloc}{self.url.path}"

    def differences(self, other: Settings) -> list[str]:
        """Options in which ``other`` differs, each with both values, for people."""
        here, there = self.target(), other.target()
        rows = [] if here == there else [_difference("backend", here, there)]
        rows += [
            _difference(one.name, getattr(self.core, one.name), getattr(other.core, one.name))
            for one in fields(CacheOptions)
            if one.name != "backend" and getattr(self.core, one.name) != getattr(other.core, one.name)
        ]
        return rows + [
            _difference(name, self.options.get(name), other.options.get(name))
            for name in sorted({*self.options, *other.options})
            if self.options.get(name) != other.options.get(name)
        ]


@dataclass(frozen=True)
class _ExporterOptions:
    interval: float | None = option(60.0, kind="duration", optional=True, help="How long between two exports.")


@dataclass(frozen=True, slots=True)
class ExporterSettings:
    """What a config says of one exporter.

    Attributes:
        name: Its name.
        interval: Seconds between two exports; None to be called on demand only.
        options: Its own options, as they were written.
    """

    name: str
    interval: float | None = 60.0
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole config, its structure checked.

    Attributes:
        caches: Options by cache name.
        defaults: Options of every cache without a table of its own.
        exporters: The exporters that are switched on.
        enabled: The plugins that are switched on: names, and their options.
        gate: Which plugins may be imported.
        source: Where it was read, for messages.
        environ: The environment that overrides it.
    """

    caches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    exporters: tuple[ExporterSettings, ...] = ()
    enabled: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    gate: Gate = field(default_factory=Gate)
    source: str = "the config"
    environ: Mapping[str, str] = field(default_factory=dict[str, str])

    def settings(self, name: str, given: Mapping[str, Any]) -> Settings:
        """Settings of the cache ``name``: its table or the defaults, then the environment, then ``given``.

        Raises:
            CacheConfigError: Naming the option, what was given and what is allowed.
        """
        check_cache_name(name)
        where = f"cache {name!r}"
        table, url = _with_url(self.caches.get(name, self.defaults), where, name)
        for layer in (self._overrides(name), given):
            own, own_url = _with_url(layer, where, name)
            if "backend" in layer:
                if (own["backend"], own_url) != (table.get("backend", DEFAULT_BACKEND), url):
                    # The other options below belong to the backend that was named there.
                    table = {option: value for option, value in table.items() if option in CORE_OPTIONS}
                url = own_url
            table |= own
        core_given = {option: value for option, value in table.items() if option in CORE_OPTIONS}
        own = {option: value for option, value in table.items() if option not in CORE_OPTIONS}
        core = _options.parse(CacheOptions, core_given, where=where, known=own, cache=name)
        return Settings(name, core.backend, url, core, own)

    def _overrides(self, name: str) -> dict[str, str]:
        prefix = _OPTION_VARIABLE + re.sub(r"[^A-Za-z0-9]", "_", name).upper() + "__"
        return {
            variable[len(prefix) :].lower(): value
            for variable, value in self.environ.items()
            if variable.startswith(prefix)
        }


def read_config(config: Mapping[str, Any] | str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Config:
    """Check the structure of a config.

    Args:
        config: A mapping, the path of a TOML file, or None for the file that ``CODOMYRMEX_CACHE_CONFIG`` names, if any.
        environ: The environment.

    Raises:
        CacheConfigError: The file can't be read, or a section is unknown or malformed.
    """
    source = "the config"
    if config is None and environ.get(FILE_VARIABLE):
        config = environ[FILE_VARIABLE]
    if isinstance(config, (str, os.PathLike)):
        source = os.fspath(config)
        config = _read_file(os.path.expanduser(source))
    if config is None:
        config = {}
    if not isinstance(config, Mapping):
        raise CacheConfigError(f"a config is a mapping or the path of a TOML file, got a {type(config).__name__}")
    for section in config:
        if section not in _SECTIONS:
            raise CacheConfigError(f"{source}: {_options.unknown(section, _SECTIONS, 'section')}")
    caches = _table(config, "caches", source)
    for name in caches:
        check_cache_name(name)
        _table(caches, name, f"{source}, caches")
    plugins = _table(config, "plugins", source)
    if unknown := sorted(set(plugins) - {"allow", "block", "enable"}):
        raise CacheConfigError(f"{source}, plugins: {_options.unknown(unknown[0], ('allow', 'block', 'enable'))}")
    allow, block = _names(plugins, "allow", source), _names(plugins, "block", source)
    said_allow = _said(allow, source) | _said(_split(environ.get(_ALLOW_VARIABLE)), _ALLOW_VARIABLE)
    said_block = _said(block, source) | _said(_split(environ.get(_BLOCK_VARIABLE)), _BLOCK_VARIABLE)
    return Config(
        caches=caches,
        defaults=_table(config, "defaults", source),
        exporters=_exporters(config, source),
        enabled=_enabled(plugins, source),
        gate=Gate(said_allow if "allow" in plugins or _ALLOW_VARIABLE in environ else None, said_block),
        source=source,
        environ=environ,
    )


def _read_file(path: str) -> Mapping[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise CacheConfigError(f"the config {path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise CacheConfigError(f"the config {path} is no TOML: {error}") from error
    if os.path.basename(path) != "pyproject.toml":
        return content
    section: Mapping[str, Any] | None = content
    for part in ("tool", "codomyrmex", "cache"):
        section = _mapping(section.get(part)) if section is not None else None
    if section is None:
        raise CacheConfigError(f"the config {path} has no section [tool.codomyrmex.cache]")
    return section


def _with_url(options: Mapping[str, Any], where: str, cache: str) -> tuple[dict[str, Any], SplitResult | None]:
    """``options`` with a URL's backend and query in place of the URL, and the URL without its query.

    An option that is given beside the URL wins over the one in it.
    """
    text = options.get("backend")
    if not isinstance(text, str) or "://" not in text:
        return dict(options), None
    from urllib.parse import parse_qsl, urlsplit

    def problem(what: str) -> CacheConfigError:
        return CacheConfigError(f"{where}, option 'backend': {what} {_options.redact(text)!r}", cache=cache)

    try:
        # A plugin's name may hold an underscore, which urlsplit does not take for part of a scheme.
        name, _, rest = text.partition("://")
        url = urlsplit(f"backend://{rest}")._replace(scheme=name)
        pairs = parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query))
    except ValueError:
        raise problem("this is no URL:") from None
    query = dict(pairs)
    if len(query) != len(pairs):
        raise problem("an option stands twice in")
    return {**query, **options, "backend": url.scheme}, url._replace(query="", fragment="")


def _table(parent: Mapping[str, Any], name: str, source: str) -> Mapping[str, Any]:
    table = _mapping(parent.get(name, {}))
    if table is None:
        kind = type(parent[name]).__name__
        raise CacheConfigError(f"{source}: {name} must be a table of options, got a {kind}")
    return table


def _mapping(value: object) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None


def _names(parent: Mapping[str, Any], name: str, source: str) -> tuple[str, ...]:
    value: Any = parent.get(name, ())
    names: list[Any] = list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else [None]
    if not all(isinstance(one, str) for one in names):
        raise CacheConfigError(f"{source}: {name} must be a list of names")
    return tuple(names)


def _exporters(config: Mapping[str, Any], source: str) -> tuple[ExporterSettings, ...]:
    """The exporters of a list of names, or of a table of tables."""
    table = _mapping(config.get("exporters"))
    if table is None:
        return tuple(ExporterSettings(name) for name in _names(config, "exporters", source))
    made: list[ExporterSettings] = []
    for name in table:
        options = dict(_table(table, name, f"{source}, exporters"))
        given = {"interval": options.pop("interval")} if "interval" in options else {}
        where = f"{source}, exporter {name!r}"
        timing = _options.parse(_ExporterOptions, given, where=where)
        made.append(ExporterSettings(name, timing.interval, options))
    return tuple(made)


def _enabled(plugins: Mapping[str, Any], source: str) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """The plugins of a list of names and of tables with a ``name``."""
    value: Any = plugins.get("enable", ())
    entries: list[Any] = list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else [None]
    enabled: list[tuple[str, Mapping[str, Any]]] = []
    for entry in entries:
        table = {"name": entry} if isinstance(entry, str) else dict(_mapping(entry) or {})
        name = table.pop("name", None)
        if not isinstance(name, str):
            raise CacheConfigError(f"{source}, plugins: enable must be a list of names, or of tables with a name")
        enabled.append((name, table))
    return tuple(enabled)


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _said(names: tuple[str, ...], where: str) -> dict[str, str]:
    return dict.fromkeys(names, where)


def _difference(name: str, one: object, other: object) -> str:
    if _SECRET.search(name):
        return f"{name} (not shown)"
    return f"{name}: {_shown(one)} and {_shown(other)}"


def _shown(value: object) -> str:
    return _options.redact(repr(_without_secrets(value)))[:80]


def _without_secrets(value: object) -> object:
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {name: "***" if _SECRET.search(str(name)) else _without_secrets(one) for name, one in table.items()}
    if isinstance(value, (list, tuple)):
        return [_without_secrets(one) for one in cast("list[Any]", value)]
    return value
