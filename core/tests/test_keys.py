"""Keys, cache names, namespaces and globs (SPEC 1, 5)."""

from __future__ import annotations

import enum
import fnmatch
import threading
from typing import Any

import pytest
from dict_driver import managed
from hypothesis import given
from hypothesis import strategies as st

from codomyrmex.cache import CacheKeyError, CacheManager, NamespacedCache
from codomyrmex.cache._keys import Keys, check_namespace, glob_pattern, glob_prefix, key_problem

texts = st.text(max_size=10)


@given(texts)
def test_what_is_a_key(text: str) -> None:
    """Any text is a key, but the empty one and what the cache keeps for itself."""
    assert (not text or text.startswith("\0")) is (key_problem(text) is not None)


@pytest.mark.parametrize("key", ["", "\0", "\0a", "lone\ud800", None, 5, True, b"a", ("a",), ["a"]], ids=repr)
def test_what_is_none(key: Any) -> None:
    """The error says what is wrong, and holds nothing but a text."""
    with pytest.raises(CacheKeyError, match="cache 'app': a key must") as caught:
        Keys("app", isolated=False).check(key)
    assert (key if isinstance(key, str) else None) == caught.value.key


names = st.from_regex(r"[A-Za-z0-9._-]{1,8}", fullmatch=True)
keys = texts.filter(lambda text: key_problem(text) is None)


@given(names, names, keys, keys)
def test_two_caches_never_meet(one: str, two: str, first: str, second: str) -> None:
    """The storage keys of two caches in one store differ, and neither is under the other's prefix."""
    if one != two:
        a, b = Keys(one, isolated=False), Keys(two, isolated=False)
        assert a.prefix + a.check(first) != b.prefix + b.check(second)
        assert not (b.prefix + second).startswith(a.prefix)
        assert not b.own("t", second).startswith(a.own("t"))


@given(names, keys, st.sampled_from("tsl"), texts)
def test_own_records_are_out_of_reach(name: str, key: str, kind: str, what: str) -> None:
    """No key of a user is a record of the cache's own, in a store of one's own neither."""
    for isolated in (True, False):
        mine = Keys(name, isolated)
        assert mine.prefix + mine.check(key) != mine.own(kind, what)
        assert not mine.own(kind, what).startswith(mine.prefix + key)


@given(keys, keys)
def test_namespaces(namespace: str, key: str) -> None:
    """A namespace gets its separator, once, and is what stands in front of the key."""
    with managed({"defaults": {"backend": "dict", "serializer": "json"}}) as manager:
        base = manager.get_cache("app")
        space = NamespacedCache(base, namespace)
        prefix = namespace if namespace.endswith(":") else namespace + ":"
        assert prefix == check_namespace(namespace) == check_namespace(prefix)
        space.set(key, "value")
        assert "value" == base.get(prefix + key) == NamespacedCache(base, prefix).get(key)
        assert [key] == space.keys()
        assert [prefix + key] == base.keys()


def test_nested_namespaces(manager: CacheManager) -> None:
    """``a:`` and ``b:c`` are ``a:b:`` and ``c``."""
    base = manager.get_cache("app")
    base.namespace("a").set("b:c", 1)
    assert 1 == base.namespace("a").namespace("b").get("c") == base.namespace("a:b").get("c") == base.get("a:b:c")
    assert "<NamespacedCache 'app' on dict, namespace='a:b:'>" == repr(base.namespace("a").namespace("b"))


class Name(str, enum.Enum):  # noqa: UP042 - the common form, whose format is not its value
    USER = "user"


class Loud(str):
    def __format__(self, spec: str) -> str:
        return self.upper()

    __str__ = __repr__ = lambda self: "LOUD"


@pytest.mark.parametrize("key", [Name.USER, Loud("user")], ids=["enum", "subclass"])
def test_keys_of_a_subclass(manager: CacheManager, key: str) -> None:
    """A key of a subclass of str is its text, in a namespace as well."""
    base = manager.get_cache("app")
    base.set(key, 1)
    base.namespace("ns").set(key, 2)
    assert [1, 2] == [base.get("user"), base.get("ns:user")]
    assert ["ns:user", "user"] == sorted(base.keys())
    assert {"user": 1} == base.get_many([key])
    assert 2 == base.namespace(Name.USER).add("x", 1) + 1
    assert 1 == base.get("user:x")


@given(st.text("ab*?[]!-^\\", max_size=6), st.lists(st.text("ab[]-!^\\", max_size=4), max_size=8))
def test_globs(glob: str, keys: list[str]) -> None:
    """A glob matches as in a shell without regard to the platform, and where its scan begins loses no match."""
    matching = [key for key in keys if fnmatch.fnmatchcase(key, glob)]
    assert matching == [key for key in keys if glob_pattern(glob).match(key)]
    assert all(key.startswith(glob_prefix(glob)) for key in matching)


def test_a_glob_that_takes_long() -> None:
    """Many stars cost no exponential time."""
    done = threading.Event()

    def work() -> None:
        glob_pattern("*a" * 30 + "b").match("a" * 200)
        done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(timeout=10)


@pytest.mark.parametrize("glob", ["", "\0*", None, 5, b"*"])
def test_bad_globs(manager: CacheManager, glob: Any) -> None:
    """What matches no key is no pattern."""
    with pytest.raises(CacheKeyError):
        manager.get_cache("app").delete_pattern(glob)


def test_globs_stay_inside() -> None:
    """A pattern reaches this cache or namespace only, and none of the cache's own records."""
    with managed() as manager:
        one, two = manager.get_cache("one"), manager.get_cache("two")
        for cache in (one, two):
            cache.set("a", 1, tags=["tag"])
            cache.set("ns:a", 1, tags=["tag"])
        own = [key for key in one._driver.store.data if key.startswith("\0")]
        assert 1 == one.namespace("ns").delete_pattern("*")
        assert 1 == one.delete_pattern("*")
        assert {"a": 1, "ns:a": 1} == two.get_many(["a", "ns:a"])
        assert own == list(one._driver.store.data)
