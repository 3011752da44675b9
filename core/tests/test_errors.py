"""The tree of errors (SPEC 9)."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from dict_driver import FailingDriver, managed

from codomyrmex.cache import CacheError, CacheManager, CacheSerializationError, errors
from codomyrmex.cache.backend import Record
from codomyrmex.cache.eviction import Cause, Removal

PARENTS = {
    "CacheError": {Exception},
    "CacheKeyError": {CacheError, KeyError},
    "CacheExpiredError": {errors.CacheKeyError},
    "CacheFullError": {CacheError},
    "CacheConnectionError": {CacheError, ConnectionError},
    "CacheSerializationError": {CacheError, ValueError},
    "CacheInvalidationError": {CacheError},
    "CacheConfigError": {CacheError, ValueError},
    "CachePluginError": {CacheError},
}

each = pytest.mark.parametrize("name", errors.__all__)


def test_all() -> None:
    """Every error is a promise, and there is no other."""
    assert sorted(PARENTS) == sorted(errors.__all__)
    assert set(PARENTS) == {name for name in vars(errors) if name.endswith("Error")}


@each
def test_parents(name: str) -> None:
    """Each stands where the tree draws it, so that `except` catches what people expect."""
    assert PARENTS[name] == set(getattr(errors, name).__bases__)


@each
def test_what_it_carries(name: str) -> None:
    """Message, cache, backend and key, where there are such; the text is the message, not its repr."""
    error = getattr(errors, name)("what 'happened'", cache="c", backend="b", key="k")
    assert ("what 'happened'", "c", "b", "k") == (error.message, error.cache, error.backend, error.key)
    assert "what 'happened'" == str(error)
    assert ("what 'happened'",) == error.args
    plain = getattr(errors, name)()
    assert ("", None, None, None) == (str(plain), plain.cache, plain.backend, plain.key)


@each
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling(name: str, protocol: int) -> None:
    """Errors travel between processes whole, with notes and whatever else was put on them."""
    error = getattr(errors, name)("what happened", cache="c", backend="b", key="k")
    error.add_note("a note")
    for other in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(error) is type(other)
        assert vars(error) == vars(other)
        assert (str(error), error.args) == (str(other), other.args)


def test_permanent() -> None:
    """A connection error says whether trying again can help, also after pickling."""
    assert False is errors.CacheConnectionError("refused").permanent
    error = errors.CacheConnectionError("bad password", permanent=True, backend="b")
    assert True is pickle.loads(pickle.dumps(error)).permanent


def test_a_subclass_with_arguments_of_its_own() -> None:
    """A driver's own error is pickled although its arguments differ."""
    assert 5 == pickle.loads(pickle.dumps(SomeDriversError(5))).code


class SomeDriversError(errors.CacheConnectionError):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


def test_the_text_of_a_missing_key(manager: CacheManager) -> None:
    """KeyError shows the repr of its argument; ours can be read, and a long key is shortened."""
    cache = manager.get_cache("app")
    with pytest.raises(KeyError) as caught:
        cache["it's"]
    assert """cache 'app' has no "it's\"""" == str(caught.value)
    assert "it's" == caught.value.key  # type: ignore[attr-defined]
    with pytest.raises(errors.CacheKeyError) as long:
        cache["x" * 10_000]
    assert len(str(long.value)) < 200
    assert 10_000 == len(str(long.value.key))


@pytest.mark.parametrize(
    "call",
    [
        lambda cache: cache.set("key", {"s3cr3t"}),
        lambda cache: cache.set("key", "s3cr3t\ud800"),
        lambda cache: cache.incr("text"),
        lambda cache: cache.incr("new", initial="s3cr3t"),
        lambda cache: cache.set_many({"key": b"s3cr3t"}),
        lambda cache: cache.add("key", ("s3cr3t",)),
        lambda cache: cache.set_many("s3cr3t"),
    ],
)
def test_no_value_in_a_message(manager: CacheManager, call: Any) -> None:
    """No message and no repr of an error or of what it is chained to holds a value."""
    cache = manager.get_cache("app")
    cache.set("text", "s3cr3t")
    with pytest.raises(CacheError) as caught:
        call(cache)
    link: BaseException | None = caught.value
    while link is not None:
        assert "s3cr3t" not in f"{link} {link!r} {vars(link)}"
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def test_no_value_in_a_repr(manager: CacheManager) -> None:
    """Nor does the repr of a cache, of what explains an entry, of a record or of a removal."""
    cache = manager.get_cache("app")
    cache.set("key", "s3cr3t")
    shown = [cache, cache.namespace("n"), cache.explain("key"), cache.stats, cache._lookup]
    shown += [Record("s3cr3t", b"VERSION1"), Removal("app", "key", Cause.DELETED, "s3cr3t")]
    assert "s3cr3t" not in f"{shown} {[str(one) for one in shown]}"


def test_errors_of_a_cache_say_where() -> None:
    """Cache, backend and key are on the error wherever there are such, whoever raised it below."""
    with managed(driver=FailingDriver) as manager:
        cache = manager.get_cache("app")
        cache._driver.down = True
        for call in (cache.get, cache.delete, cache.incr, cache.expire, lambda key: cache.set(key, 1)):
            with pytest.raises(CacheError) as caught:
                call("key")
            assert ("app", "dict", "key") == (caught.value.cache, caught.value.backend, caught.value.key)


def test_errors_of_a_value_say_where(manager: CacheManager) -> None:
    """The same for a value that can't be stored, and for one that is no number."""
    cache = manager.get_cache("app")
    cache.set("text", "1")
    for call, key in ((lambda: cache.set("key", {1}), "key"), (lambda: cache.incr("text"), "text")):
        with pytest.raises(CacheSerializationError) as caught:
            call()
        assert ("app", "dict", key) == (caught.value.cache, caught.value.backend, caught.value.key)


@pytest.mark.parametrize("delta", ["1", None, 1.0, True, [1]], ids=repr)
@pytest.mark.parametrize("call", ["incr", "decr"])
def test_incr_and_decr_by_no_int(manager: CacheManager, call: str, delta: Any) -> None:
    """Whatever is no int is the same error from both of them."""
    cache = manager.get_cache("app")
    with pytest.raises(CacheSerializationError):
        getattr(cache, call)("n", delta)
    assert False is cache.exists("n")
