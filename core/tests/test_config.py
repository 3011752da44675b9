"""Settings: where they come from, which of them wins, and what is said about those that are wrong (SPEC 4)."""

from __future__ import annotations

import datetime as dt
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dict_driver import JSON, DictPlugin, managed
from hypothesis import given
from hypothesis import strategies as st

from codomyrmex.cache import CacheConfigError, CacheManager, CachePluginError, _manager, configure, get_cache
from codomyrmex.cache._config import read_config
from codomyrmex.cache._discovery import CORE, Found
from codomyrmex.cache.options import duration, redact, size

TOML = '[caches.app]\nbackend = "null"\nttl = "5m"\n'
PYPROJECT = '[project]\nname = "x"\n[tool.codomyrmex.cache.caches.app]\nbackend = "null"\nttl = "5m"\n'


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def ttl_of(config: Any = None, cache: str = "app", environ: Mapping[str, str] | None = None, **given: Any) -> float:
    """The default ttl that a cache gets."""
    with managed(config, environ=environ or {}) as manager:
        return manager.get_cache(cache, **given).ttl_manager.default


# Where settings come from


@pytest.mark.parametrize(
    "config",
    [
        lambda at: {"caches": {"app": {"backend": "null", "ttl": "5m"}}},
        lambda at: str(written(at / "cache.toml", TOML)),
        lambda at: written(at / "cache.toml", TOML),
        lambda at: written(at / "pyproject.toml", PYPROJECT),
    ],
    ids=["mapping", "text", "path", "pyproject"],
)
def test_sources(tmp_path: Path, config: Callable[[Path], Any]) -> None:
    """A mapping, a TOML file of its own and the section of a pyproject.toml say the same."""
    assert 300 == ttl_of(config(tmp_path))


def test_file_named_by_the_environment(tmp_path: Path) -> None:
    """CODOMYRMEX_CACHE_CONFIG names a file, for a manager that is given no config."""
    environ = {"CODOMYRMEX_CACHE_CONFIG": str(written(tmp_path / "cache.toml", TOML))}
    with CacheManager(environ=environ) as manager:
        assert 300 == manager.get_cache("app").ttl_manager.default
    assert math.inf == ttl_of({"caches": {"app": {"backend": "null"}}}, environ=environ)


def test_no_file_that_nobody_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pyproject.toml that merely lies about is not read."""
    written(tmp_path / "pyproject.toml", PYPROJECT)
    monkeypatch.chdir(tmp_path)
    with CacheManager(environ={}) as manager:
        assert [] == manager.list_caches()


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may begin with ~."""
    written(tmp_path / "cache.toml", TOML)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert 300 == ttl_of("~/cache.toml")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("missing.toml", None, ["can't be read", "No such file"]),
        ("broken.toml", "[caches", ["is no TOML"]),
        ("bytes.toml", "\udcff", ["is no TOML"]),
        ("pyproject.toml", "[tool.other]\n", ["no section [tool.codomyrmex.cache]"]),
        ("pyproject.toml", "tool = 5\n", ["no section [tool.codomyrmex.cache]"]),
        ("pyproject.toml", "", ["no section [tool.codomyrmex.cache]"]),
    ],
)
def test_bad_files(tmp_path: Path, name: str, text: str | None, said: list[str]) -> None:
    """A file that can't be used is an error that names it and says why."""
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CacheConfigError) as caught:
        CacheManager(path, environ={})
    assert [part for part in [str(path), *said] if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"cache": {}}, ["'cache'", "allowed: caches, defaults, exporters, plugins", "mean 'caches'"]),
        ({"caches": []}, ["caches must be a table", "list"]),
        ({"caches": {"app": 5}}, ["caches", "app must be a table", "int"]),
        ({"defaults": "null"}, ["defaults must be a table", "str"]),
        ({"caches": {"a/b": {}}}, ["cache name", "'a/b'"]),
        ({"caches": {5: {}}}, ["cache name", "5"]),
        ({"exporters": "statsd"}, ["exporters must be a list of names"]),
        ({"plugins": {"block": [1]}}, ["block must be a list of names"]),
        ({"plugins": {"blokc": []}}, ["'blokc'", "allowed: allow, block, enable", "mean 'block'"]),
        (5, ["mapping or the path of a TOML file", "int"]),
    ],
    ids=str,
)
def test_bad_sections(config: Any, said: list[str]) -> None:
    """The structure is checked as a whole, at once, and the error says what is allowed."""
    with pytest.raises(CacheConfigError) as caught:
        CacheManager(config, environ={})
    assert [part for part in said if part not in str(caught.value)] == []


# Which of them wins


def test_defaults() -> None:
    """A name without a table of its own gets [defaults]; one with a table gets nothing of it."""
    config = {"defaults": {**JSON, "ttl": 60}, "caches": {"app": {"backend": "null"}}}
    assert 60 == ttl_of(config, "other")
    assert math.inf == ttl_of(config, "app")


def test_without_defaults() -> None:
    """If there is no [defaults] either, it is in_memory."""
    assert "in_memory" == read_config({}, {}).settings("app", {}).backend


def test_no_backend_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any backend `get_cache()` says which to install."""
    alone = {("backends", "null"): (Found("backends", "null", "codomyrmex.cache._builtins.null", CORE, "1"),)}
    monkeypatch.setattr("codomyrmex.cache._discovery.installed", lambda: alone)
    with CacheManager(environ={}) as manager, pytest.raises(CachePluginError) as caught:
        manager.get_cache()
    assert "'in_memory'" in str(caught.value)
    assert 'pip install "codomyrmex-cache[memory]"' in str(caught.value)


def test_precedence() -> None:
    """An argument wins over the environment, that over the table, and all of them over a URL's options."""
    table = {"caches": {"app": {"backend": "dict://host?ttl=1s", "serializer": "json"}}}
    assert 1 == ttl_of(table)
    table["caches"]["app"]["ttl"] = 2  # type: ignore[assignment]
    assert 2 == ttl_of(table)
    environ = {"CODOMYRMEX_CACHE__APP__TTL": "3s", "CODOMYRMEX_CACHE__OTHER__TTL": "9s"}
    assert 3 == ttl_of(table, environ=environ)
    assert 4 == ttl_of(table, environ=environ, ttl=4)


def test_an_argument_is_more_than_a_table_also_in_a_url() -> None:
    """What stands in the URL of an argument was asked for now, so it wins over the table."""
    config = {"caches": {"app": {"backend": "null", "ttl": 300}}}
    assert 60 == ttl_of(config, backend="null://?ttl=60s")


def test_another_backend_by_the_environment() -> None:
    """One variable is enough: options of the backend that the table names are left out, those of every cache stay."""
    config = {"caches": {"app": {"backend": "redis", "url": "redis://example.com", "ttl": 300}}}
    backend = "CODOMYRMEX_CACHE__APP__BACKEND"
    assert 300 == ttl_of(config, environ={backend: "null"})
    assert 60 == ttl_of(config, environ={backend: "null://?ttl=60s"})
    assert 9 == ttl_of(config, environ={backend: "null://?ttl=60s", "CODOMYRMEX_CACHE__APP__TTL": "9s"})
    with pytest.raises(CacheConfigError, match="unknown option 'url'"):
        ttl_of(config, environ={backend: "null", "CODOMYRMEX_CACHE__APP__URL": "redis://example.com"})


@pytest.mark.parametrize(
    ("cache", "variable"),
    [("app", "APP"), ("my-app", "MY_APP"), ("my.App_2", "MY_APP_2"), ("default", "DEFAULT")],
)
def test_environment(cache: str, variable: str) -> None:
    """CODOMYRMEX_CACHE__<CACHE>__<OPTION> overrides one option, of this cache only; what can't stand there is a _."""
    environ = {f"CODOMYRMEX_CACHE__{variable}__MAX_ENTRIES": "1_000", f"CODOMYRMEX_CACHE__{variable}__SLIDING": "yes"}
    plugin = DictPlugin()
    with CacheManager({"defaults": JSON}, environ=environ) as manager:
        manager.register(plugin, "dict")
        assert True is manager.get_cache(cache).ttl_manager.sliding
        assert False is manager.get_cache("another").ttl_manager.sliding
    assert [1000, None] == [options.max_entries for options in plugin.options]


def test_url() -> None:
    """A URL works wherever a backend does: its scheme is the backend, its query holds options."""
    plugin = DictPlugin()
    with CacheManager(environ={}) as manager:
        manager.register(plugin, "dict")
        url = "dict://user:secret@host:1/0?max_entries=7&ttl=5m&serializer=json"
        cache = manager.get_cache("app", backend=url, max_bytes="1KiB")
        assert 300 == cache.ttl_manager.default
        assert "dict" == cache.explain("key").backend
    (options,) = plugin.options
    assert (7, 1024) == (options.max_entries, options.max_bytes)
    request = plugin.made[0].request
    assert ("dict", "host", 1, "/0", "secret", "") == (
        request.url.scheme, request.url.hostname, request.url.port, request.url.path, request.url.password,
        request.url.query,
    )  # fmt: skip


def test_another_backend_than_the_table_s() -> None:
    """Options of the table's backend are not handed to another one; those that every cache has stay."""
    config = {"caches": {"app": {**JSON, "max_entries": 7, "ttl": 60}}}
    plugin = DictPlugin()
    with CacheManager(config, environ={}) as manager:
        manager.register(plugin, "dict")
        manager.register(other := DictPlugin(), "another")
        assert 60 == manager.get_cache("app", backend="another").ttl_manager.default
    assert [None] == [options.max_entries for options in other.options]


# What is said about wrong ones


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("tll", 5, ["allowed: ", "backend", "eviction", "fence", "jitter", "max_entries", "ttl", "mean 'ttl'"]),
        ("max_entry", 5, ["max_entries", "mean 'max_entries'"]),
        ("zzz", 5, ["allowed: "]),
        ("ttl", "5 parsecs", ["'5 parsecs'", "seconds as a number, a timedelta, or text like '90s'"]),
        ("ttl", 0, ["0", "above zero"]),
        ("ttl", -1, ["-1", "above zero"]),
        ("ttl", math.nan, ["nan", "above zero"]),
        ("ttl", True, ["True", "seconds as a number"]),
        ("ttl", "0s", ["'0s'", "above zero"]),
        ("max_ttl", [], ["a list", "seconds as a number"]),
        ("stale_for", "x", ["'x'", "seconds as a number"]),
        ("timeout", "fast", ["'fast'", "seconds as a number"]),
        ("jitter", 1.5, ["1.5", "a number from 0 to 1"]),
        ("jitter", "much", ["'much'", "a number from 0 to 1"]),
        ("sliding", "perhaps", ["'perhaps'", "true or false"]),
        ("sliding", 1, ["1", "true or false"]),
        ("on_error", "ignore", ["'ignore'", "'raise', 'degrade'"]),
        ("fence", "none", ["'none'", "'store', 'process'"]),
        ("backend", 5, ["5", "text"]),
        ("backend", "dict://?ttl=1&ttl=2", ["an option stands twice", "dict://"]),
        ("backend", "dict://?ttl", ["no URL", "dict://"]),
        ("backend", "dict://[", ["no URL", "dict://"]),
        ("serializer", [], ["a list", "a name, a table with a name and its options, or a list of these"]),
        ("serializer", [{"nam": "json"}], ["a list", "a name, a table with a name"]),
        ("eviction", 5, ["5", "a name, or a table with a name and its options"]),
        ("max_entries", 0, ["0", "a whole number above zero, or 'none'"]),
        ("max_entries", 1.0, ["1.0", "a whole number above zero"]),
        ("max_entries", "many", ["'many'", "a whole number above zero"]),
        ("max_bytes", "2 elephants", ["'2 elephants'", "a size in bytes, or text like '512MiB' or '2GB'"]),
        ("max_bytes", -1, ["-1", "a size in bytes"]),
        ("path", "", ["''", "a path as text"]),
        ("path", "a\0b", ["a path as text"]),
        ("sizer", "nowhere:f", ["'nowhere:f'", "can't be loaded"]),
        ("sizer", "os", ["'os'", "'package.module:attribute'"]),
    ],
    ids=lambda value: repr(value) if not isinstance(value, list) else "",
)
def test_bad_options(option: str, value: Any, said: list[str]) -> None:
    """The error names the cache, the option, what was given, what is allowed and what was probably meant."""
    settings = {**JSON, option: value}
    with managed({"caches": {"app": settings}}) as manager, pytest.raises(CacheConfigError) as caught:
        manager.get_cache("app")
    assert [part for part in ["'app'", f"'{option}'", *said] if part not in str(caught.value)] == []
    assert "app" == caught.value.cache


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ttl", -(10**400)),
        ("max_entries", "9" * 5000),
        ("max_entries", -(10**5000)),
        ("jitter", 10**400),
        ("sizer", ".relative:f"),
        ("sizer", "sys:version\0"),
        ("max_bytes", "9" * 400),
        ("max_bytes", -(10**5000)),
    ],
    ids=["ttl", "count text", "count", "fraction", "object", "object NUL", "size text", "size"],
)
def test_values_beyond_all_bounds(option: str, value: Any) -> None:
    """Numbers that no float holds and names that no module can have are refused like any other, by the same error."""
    with managed({"caches": {"app": {**JSON, option: value}}}) as manager, pytest.raises(CacheConfigError):
        manager.get_cache("app")


def test_bad_variable() -> None:
    """A wrong option in the environment is an error as well."""
    with pytest.raises(CacheConfigError, match=r"'app'.*'tll'.*mean 'ttl'"):
        ttl_of(environ={"CODOMYRMEX_CACHE__APP__TLL": "5"})


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a b", "ä", "a\n", "a:b", None, 5, "a\0"])
def test_bad_names(manager: CacheManager, name: Any) -> None:
    """A cache's name is made of letters, digits, dots, underscores and hyphens."""
    with pytest.raises(CacheConfigError, match="cache name"):
        manager.get_cache(name)


# Secrets

SECRET = "s3cr3t-p@ss/w0rd"


@pytest.mark.parametrize(
    "provoke",
    [
        lambda manager: manager.get_cache("app", backend="dict://me:s3cr3t@host?ttl=1&ttl=2"),
        lambda manager: manager.get_cache("app", backend="dict://me:x@s3cr3t@host?ttl=1&ttl=2"),
        lambda manager: manager.get_cache("app", backend=f"dict://me:{'s3cr3t' * 20}@host?ttl=1&ttl=2"),
        lambda manager: manager.get_cache("app", backend="dict://host?password=s3cr3t&password=s3cr3t"),
        lambda manager: manager.get_cache("app", ttl="redis://me:s3cr3t@host"),
        lambda manager: manager.get_cache("app", ttl=f"redis://me:{'s3cr3t' * 20}@host"),
        lambda manager: manager.get_cache("redis://me:s3cr3t@host/0"),
        lambda manager: manager.get_cache("app", password=["s3cr3t"]),
        lambda manager: manager.get_cache("app", password={"s3cr3t": 1}),
        lambda manager: (manager.get_cache("app"), manager.get_cache("app", password="s3cr3t")),
        lambda manager: (manager.get_cache("app"), manager.get_cache("app", url="redis://me:s3cr3t@host")),
        lambda manager: (
            manager.get_cache("app"),
            manager.get_cache("app", url=f"redis://me:{'s3cr3t' * 20}@host"),
        ),
        lambda manager: (
            manager.get_cache("app"),
            manager.get_cache("app", serializer={"name": "pickle", "key": "s3cr3t-s3cr3t-s3cr3t"}),
        ),
        lambda manager: manager.get_cache("app", serializer={"name": "pickle", "key": "s3cr3t"}),
    ],
    ids=[
        "URL",
        "URL with @ in its password",
        "long URL",
        "password in a query",
        "URL as a wrong option",
        "long URL as a wrong option",
        "URL as a name",
        "secret of a wrong type",
        "secret in a dict",
        "other secret",
        "other URL",
        "other long URL",
        "other signing key",
        "short signing key",
    ],
)
def test_no_secret_in_an_error(manager: CacheManager, provoke: Callable[[CacheManager], Any]) -> None:
    """No message holds a password or a URL's credentials."""
    with pytest.raises(CacheConfigError) as caught:
        provoke(manager)
    assert "s3cr3t" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


def test_no_secret_in_a_repr() -> None:
    """Nor does the repr of anything that a plugin or a debugger gets to see."""
    plugin = DictPlugin()
    with CacheManager({"defaults": {**JSON, "password": "s3cr3t"}}, environ={"TOKEN": "s3cr3t"}) as manager:
        manager.register(plugin, "dict")
        manager.get_cache("a")
        cache = manager.get_cache("b", backend="dict://me:s3cr3t@host", serializer="json")
        assert "s3cr3t" not in repr([manager, cache, cache.explain("key")])
        assert "s3cr3t" not in repr(plugin.options)
        assert "s3cr3t" not in repr([driver.request for driver in plugin.made])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://host/0", "redis://host/0"),
        ("redis://me:pass@host/0", "redis://***@host/0"),
        ("redis://:p@ss@host/0", "redis://***@host/0"),
        ("at redis://a:b@c and redis://d:e@f", "at redis://***@c and redis://***@f"),
        ("someone@example.org", "someone@example.org"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    """Credentials are taken out of every URL in a text, and nothing else."""
    assert shown == redact(text)


# The same object every time


def test_the_same_object(manager: CacheManager) -> None:
    """`get_cache` returns the same object every time, also for the same settings in other words."""
    cache = manager.get_cache("app", ttl="5m", max_entries=5)
    assert cache is manager.get_cache("app")
    assert cache is manager.get_cache("app", ttl=300, max_entries=5)
    assert cache is manager.get_cache("app", backend="dict", serializer=["json"], max_entries=5, ttl=300.0)
    assert manager.get_async_cache("app") is manager.get_async_cache("app")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"ttl": 5}, {"ttl": 6}, ["ttl: 5.0 and 6.0"]),
        ({}, {"ttl": 6}, ["ttl: None and 6.0"]),
        ({"max_entries": 5}, {"max_entries": 6}, ["max_entries: 5 and 6"]),
        ({"max_entries": 5}, {"ttl": 5}, ["max_entries: 5 and None", "ttl: None and 5.0"]),
        ({}, {"backend": "null", "serializer": "msgpack"}, ["backend: 'dict' and 'null'"]),
        ({"backend": "dict://one"}, {"backend": "dict://two"}, ["one", "two"]),
        ({"backend": "dict://one"}, {"backend": "dict"}, ["one"]),
    ],
    ids=str,
)
def test_other_settings(manager: CacheManager, first: dict[str, Any], second: dict[str, Any], said: list[str]) -> None:
    """Asking for an open cache with other settings is an error that shows both."""
    cache = manager.get_cache("app", **first)
    with pytest.raises(CacheConfigError) as caught:
        manager.get_cache("app", **second)
    assert [part for part in ["'app'", *said] if part not in str(caught.value)] == []
    assert cache is manager.get_cache("app")


@pytest.fixture
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No default manager yet, as in a new process, and none left behind."""
    for name in [name for name in os.environ if name.startswith("CODOMYRMEX_CACHE")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(_manager, "_default", None)
    yield
    if _manager._default is not None:
        _manager._default.close()


@pytest.mark.usefixtures("fresh_process")
def test_configure() -> None:
    """`configure` comes before the first cache; afterwards it is an error, and changes nothing."""
    configure({"defaults": {"backend": "null", "ttl": 1}})
    manager = configure({"defaults": {"backend": "null", "ttl": 60}})
    cache = get_cache("app")
    assert 60 == cache.ttl_manager.default
    assert cache is manager.get_cache("app")
    with pytest.raises(CacheConfigError, match=r"before the first get_cache\(\); open are 'app'"):
        configure({})
    assert cache is get_cache("app")


@pytest.mark.usefixtures("fresh_process")
def test_configure_wrongly() -> None:
    """A config that is refused leaves the one of before."""
    configure({"defaults": {"backend": "null", "ttl": 60}})
    with pytest.raises(CacheConfigError):
        configure({"cachse": {}})
    assert 60 == get_cache("app").ttl_manager.default


def test_the_environment_of_a_process(tmp_path: Path) -> None:
    """A program that says nothing is configured by its environment alone."""
    program = "from codomyrmex.cache import get_cache; print(get_cache('app').ttl_manager.default)"
    environ = {
        **os.environ,
        "CODOMYRMEX_CACHE_CONFIG": str(written(tmp_path / "cache.toml", TOML)),
        "CODOMYRMEX_CACHE__APP__TTL": "7s",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert "7.0\n" == done.stdout, done.stderr


# Durations and sizes

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
parts = st.lists(st.tuples(st.integers(1, 10**6), st.sampled_from(sorted(UNITS))), min_size=1, max_size=4)


@given(parts)
def test_durations_as_text(several: list[tuple[int, str]]) -> None:
    """A text is the sum of its parts."""
    text = "".join(f"{number}{unit}" for number, unit in several)
    assert sum(number * UNITS[unit] for number, unit in several) == pytest.approx(duration(text))
    assert duration(text) == duration(f" {text.upper()} ")


@given(st.one_of(st.integers(1), st.floats(min_value=0, exclude_min=True)))
def test_durations_as_numbers(number: float) -> None:
    """A number above zero is that many seconds; one that no float holds never ends."""
    assert (number if number < 1e308 else duration(number)) == pytest.approx(duration(number))


@given(st.timedeltas(min_value=dt.timedelta(microseconds=1)))
def test_durations_as_timedeltas(value: dt.timedelta) -> None:
    """A timedelta is its seconds."""
    assert value.total_seconds() == duration(value)


@given(
    st.one_of(
        st.integers(max_value=0),
        st.floats(max_value=0),
        st.booleans(),
        st.binary(),
        st.timedeltas(max_value=dt.timedelta(0)),
        st.text(st.characters(exclude_characters="0123456789", exclude_categories=("Nd", "Cs"))).filter(
            lambda text: text.strip().lower() != "inf"
        ),
    )
)
def test_no_durations(value: Any) -> None:
    """Zero, less, bool and anything unreadable is an error, and no other error than this."""
    with pytest.raises(CacheConfigError):
        duration(value)


@given(st.text())
def test_any_text_as_a_duration(text: str) -> None:
    """A text is a duration above zero or a CacheConfigError."""
    with suppress(CacheConfigError):
        assert duration(text) > 0


@given(
    st.integers(1, 10**6), st.sampled_from([("", 1), ("B", 1), ("kB", 10**3), ("MB", 10**6), ("KiB", 2**10),
                                            ("GiB", 2**30), ("TiB", 2**40)])
)  # fmt: skip
def test_sizes(number: int, unit: tuple[str, int]) -> None:
    """A size is a number with a decimal or a binary unit, whatever its case."""
    name, factor = unit
    assert number * factor == size(f"{number}{name}") == size(f"{number} {name.lower()}")
    assert number == size(number)


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "", "0", "-1", "1 XB", "inf", "nan", "1e3", None, b"1", [1]])
def test_no_sizes(value: Any) -> None:
    """Nothing else is a size."""
    with pytest.raises(CacheConfigError):
        size(value)
