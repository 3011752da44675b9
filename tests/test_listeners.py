"""Plugins that listen, export and wrap: switched on by name, and never in the way of a cache (SPEC 3)."""

from __future__ import annotations

import logging
import sys

import pytest
from installing import SHELF, Site, go_on

from codomyrmex.cache import CachePluginError

LISTENER = """
from codomyrmex.cache import hookimpl

events, fails = [], False


@hookimpl
def on_evict(event):
    if fails:
        raise OSError("s3cr3t")
    events.append((event.cache, event.key, event.cause.value))
"""


WRAPPER = """
from codomyrmex.cache import hookimpl

made = []


@hookimpl(wrapper=True)
def create_backend(request):
    backend = yield
    made.append((request.cache, request.name, type(backend).__name__))
    return backend
"""


def test_listeners_are_switched_on_by_name(site: Site) -> None:
    """Those that the config enables hear of every entry that leaves; those merely installed are not imported."""
    targets = {"audit": "acme_audit", "spy": "acme_spy"}
    site.add("acme-audit", {"plugins": targets}, acme_audit=LISTENER, acme_spy=LISTENER)
    with site.manager({"plugins": {"enable": ["audit"]}}) as manager:
        cache = manager.get_cache("app", max_entries=2, eviction="fifo")
        cache.set_many({"a": 1, "b": 2})
        cache.set("c", 3)
        cache.delete("b")
        assert [("app", "a", "capacity"), ("app", "b", "deleted")] == sys.modules["acme_audit"].events
        assert "acme_spy" not in sys.modules


def test_a_backend_does_not_listen(site: Site) -> None:
    """A backend's plugin that has `on_evict` as well hears nothing until it is enabled."""
    site.add("acme-both", {"backends": {"both": "acme_both"}}, acme_both=f"{SHELF}\n{LISTENER}")
    with site.manager() as manager:
        manager.get_cache("own", backend="both", serializer="json")
        cache = manager.get_cache("app")
        cache.set("key", 1)
        cache.delete("key")
        assert [] == sys.modules["acme_both"].events


def test_a_backend_does_not_wrap(site: Site) -> None:
    """Nor has it a part in what others make, even with a wrapper of its own."""
    wrapper = WRAPPER.replace("create_backend", "create_eviction_policy")
    site.add("acme-both", {"backends": {"both": "acme_both"}}, acme_both=f"{SHELF}\n{wrapper}")
    with site.manager() as manager:
        manager.get_cache("own", backend="both", serializer="json")
        manager.get_cache("app", eviction="lru")
        assert [] == sys.modules["acme_both"].made


def test_a_listener_that_raises(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Logged once per outage and counted every time; the operation and the other listeners go on."""
    targets = {"audit": "acme_audit", "bad": "acme_bad"}
    site.add("acme-audit", {"plugins": targets}, acme_audit=LISTENER, acme_bad=LISTENER)
    with site.manager({"plugins": {"enable": ["bad", "audit"]}}) as manager:
        cache = manager.get_cache("app")
        for fails in (True, False, True):
            sys.modules["acme_bad"].fails = fails  # type: ignore[attr-defined]
            for key in ("a", "b"):
                cache.set(key, 1)
                assert cache.delete(key) is True
        assert 6 == len(sys.modules["acme_audit"].events)
        assert 4 == cache.stats.errors
    records = [record for record in caplog.records if record.name == "codomyrmex.cache"]
    assert ["plugin 'bad' failed on an eviction"] * 2 == [record.getMessage() for record in records]
    assert [logging.ERROR] * 2 == [record.levelno for record in records]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "there is no plugin 'nobody'; installed: bad"),
        ("bad", "plugin 'bad' (acme-bad 1.0, acme_bad) can't be imported: ZeroDivisionError"),
    ],
)
def test_a_listener_that_can_not_be_loaded(site: Site, name: str, said: str) -> None:
    """It was asked for, so that a cache without it would be another one than configured: the error says all."""
    site.add("acme-bad", {"plugins": {"bad": "acme_bad"}}, acme_bad="1 / 0")
    with site.manager({"plugins": {"enable": [name]}}) as manager:
        with pytest.raises(CachePluginError) as caught:
            manager.get_cache("app")
        assert said in str(caught.value)
        assert ("app", "in_memory") == (caught.value.cache, caught.value.backend)
    with site.manager() as manager:
        go_on(manager)


EXPORTER = """
from codomyrmex.cache import hookimpl

seen, fails = [], False


@hookimpl
def export_stats(snapshots):
    if fails:
        raise OSError
    seen.append({name: stats.sets for name, stats in snapshots.items()})
"""


def test_an_exporter_that_raises(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Logged once per outage; the other exporters go on, and those merely installed are not imported."""
    targets = {name: f"acme_{name}" for name in ("bad", "good", "spy")}
    site.add("acme-export", {"exporters": targets}, acme_bad=EXPORTER, acme_good=EXPORTER, acme_spy=EXPORTER)
    asked = {"interval": "none"}
    with site.manager({"exporters": {"bad": asked, "good": asked}}) as manager:
        manager.get_cache("app").set("key", 1)
        manager.export_stats()
        for fails in (True, False, True):
            sys.modules["acme_bad"].fails = fails  # type: ignore[attr-defined]
            manager.export_stats()
            manager.export_stats()
    assert [{"app": 1}] * 7 == sys.modules["acme_good"].seen
    assert [{"app": 1}] * 3 == sys.modules["acme_bad"].seen
    assert ["exporter 'bad' failed"] * 2 == [record.getMessage() for record in caplog.records]
    assert "acme_spy" not in sys.modules


def test_a_wrapper_that_is_enabled(site: Site) -> None:
    """Only wrappers of enabled plugins see what others make, and every time."""
    targets = {"watch": "acme_watch", "spy": "acme_spy"}
    site.add("acme-watch", {"plugins": targets}, acme_watch=WRAPPER, acme_spy=WRAPPER)
    with site.manager({"plugins": {"enable": ["watch"]}}) as manager:
        go_on(manager)
        wanted = [("on-in_memory", "in_memory", "MemoryBackend"), ("on-works", "works", "SimpleBackend")]
        assert wanted == sys.modules["acme_watch"].made
        assert "acme_spy" not in sys.modules
