"""Secrets, TLS and logins: rows 14 and 17. TLS is spoken by a proxy in front of the server."""

from __future__ import annotations

import logging
import ssl
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from proxy import Proxy
from servers import LiveServer

from codomyrmex.cache import CacheConfigError, CacheConnectionError, CacheManager

Open = Callable[..., Any]
SECRET = "s3cret-Pa55word"
VALUE = "a value of somebody"


class At(NamedTuple):
    """Stands for a server in ``open_cache``."""

    url: str


class Tls(NamedTuple):
    """A proxy that speaks TLS, and the file of the authority that its certificate comes from."""

    proxy: Proxy
    ca: str
    other_ca: str


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    """Of a server at 127.0.0.1."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def tls(shared_server: LiveServer, authority: trustme.CA, context: ssl.SSLContext, tmp_path: Path) -> Iterator[Tls]:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    with Proxy(shared_server.port, context) as proxy:
        yield Tls(proxy, str(tmp_path / "ca.pem"), str(tmp_path / "other.pem"))


def url(proxy: Proxy, host: str = "127.0.0.1") -> At:
    return At(f"rediss://{host}:{proxy.port}/0")


def refused(call: Callable[[], Any], *, permanent: bool = True) -> CacheConnectionError:
    """The error of a call that no repetition would mend."""
    with pytest.raises(CacheConnectionError) as caught:
        call()
    assert caught.value.permanent is permanent
    assert caught.value.__cause__ is not None
    return caught.value


def test_tls(tls: Tls, open_cache: Open) -> None:
    """A server with a certificate of a trusted authority is served, large values, threads and all."""
    cache = open_cache(url(tls.proxy), tls_ca=tls.ca, timeout="5s")
    cache.set("key", "x" * 3_000_000)
    assert cache.get("key") == "x" * 3_000_000
    assert cache.incr("n") == 1
    assert cache.delete("key") is True


def test_unknown_authority(tls: Tls, open_cache: Open) -> None:
    """Row 17: a certificate that nobody vouches for is refused for good, and no plain text is tried."""
    for options in ({}, {"tls_ca": tls.other_ca}):
        cache = open_cache(url(tls.proxy), timeout="5s", **options)
        before = tls.proxy.trips
        error = refused(lambda cache=cache: cache.get("key"))
        assert "certificate" in str(error)
        assert tls.proxy.trips == before


def test_wrong_host(tls: Tls, open_cache: Open) -> None:
    """Row 17: a certificate for another host is refused for good."""
    cache = open_cache(url(tls.proxy, "localhost"), tls_ca=tls.ca, timeout="5s")
    refused(lambda: cache.get("key"))


def test_plaintext_port(shared_server: LiveServer, tls: Tls, open_cache: Open) -> None:
    """Row 17: TLS with a server that doesn't speak it is an error, never a downgrade."""
    cache = open_cache(At(f"rediss://127.0.0.1:{shared_server.port}/0"), tls_ca=tls.ca, timeout="500ms")
    with pytest.raises(CacheConnectionError):
        cache.get("key")


def test_client_certificate(
    authority: trustme.CA, context: ssl.SSLContext, tls: Tls, open_cache: Open, tmp_path: Path
) -> None:
    """A server that wants a certificate of its clients gets the one of the options, and refuses those without."""
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    mine = authority.issue_cert("client@example.org")
    certificate, key = str(tmp_path / "client.pem"), str(tmp_path / "client.key")
    mine.private_key_pem.write_to_path(key)
    mine.cert_chain_pems[0].write_to_path(certificate)
    cache = open_cache(url(tls.proxy), tls_ca=tls.ca, tls_cert=certificate, tls_key=key, timeout="5s")
    assert cache.set("key", 1)
    with pytest.raises(CacheConnectionError):
        open_cache(url(tls.proxy), tls_ca=tls.ca, timeout="5s").get("key")


@pytest.fixture
def guarded(server: LiveServer) -> LiveServer:
    """A server with a password, and a user who may only read."""
    with server.client() as client:
        client.acl_setuser("reader", enabled=True, passwords=[f"+{SECRET}"], keys=["*"], commands=["+@read", "+hello"])
        client.acl_setuser(
            "cache",
            enabled=True,
            passwords=[f"+{SECRET}"],
            keys=["test-*"],
            commands=["+@read", "+@write", "+@scripting", "+@connection", "+@keyspace", "+time", "-@dangerous"],
        )
        client.config_set("requirepass", SECRET)
    return server


def at(server: LiveServer, credentials: str) -> At:
    return At(f"redis://{credentials}127.0.0.1:{server.port}/0")


def test_logins(guarded: LiveServer, open_cache: Open) -> None:
    """Password, user and password, in the URL or beside it: what is right works."""
    for cache in (
        open_cache(at(guarded, f":{SECRET}@")),
        open_cache(at(guarded, f"cache:{SECRET}@")),
        open_cache(guarded, password=SECRET),
        open_cache(guarded, username="cache", password=SECRET),
    ):
        cache.set_many({"key": 1, "n": 1}, tags=["tag"])
        assert cache.get("key") == 1
        assert cache.incr("n") == 2
        cache.invalidate_tags("tag")
        assert cache.keys() == []
        cache.clear()


def test_bad_logins(guarded: LiveServer, open_cache: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Rows 14 and 17: a wrong or missing password fails for good; no text, repr or log shows any secret."""
    caplog.set_level(logging.DEBUG)
    wrong = SECRET + "-wrong"
    for cache in (
        open_cache(guarded),
        open_cache(at(guarded, f":{wrong}@")),
        open_cache(at(guarded, f"nobody:{wrong}@")),
        open_cache(guarded, username="cache", password=wrong),
    ):
        error = refused(lambda cache=cache: cache.get("key"))
        shown = "".join(traceback.format_exception(error)) + caplog.text + repr(error) + repr(error.__dict__)
        assert SECRET not in shown
        assert SECRET not in repr(cache._driver) + str(cache._driver) + repr(vars(cache._driver))


def test_acl_without_the_command(guarded: LiveServer, open_cache: Open) -> None:
    """Row 17: a user who may read reads; what is not allowed fails for good, and shows no value."""
    cache = open_cache(guarded, username="cache", password=SECRET, prefix="test-acl:")
    cache.set("key", 1)
    with guarded.client(password=SECRET) as client:
        client.acl_setuser("cache", categories=["-@write"])
        assert cache.get("key") == 1
        error = refused(lambda: cache.set("key", VALUE))
        assert VALUE not in "".join(traceback.format_exception(error))
        refused(lambda: cache.incr("key"))
    foreign = open_cache(guarded, username="cache", password=SECRET, prefix="foreign:")
    refused(lambda: foreign.get("key"))


def test_secrets_in_texts(guarded: LiveServer, open_cache: Open) -> None:
    """Row 14: neither a config error nor an unreachable server shows the credentials of its URL."""
    wrong = f"redis://user:{SECRET}@127.0.0.1:1/0"
    error = refused(lambda: open_cache(At(wrong)).get("key"), permanent=False)
    assert SECRET not in "".join(traceback.format_exception(error))
    for bad in (f"http://user:{SECRET}@host", f"redis://user:{SECRET}@host:99999", f"redis://:{SECRET}@host/zero"):
        with pytest.raises(CacheConfigError) as caught:
            open_cache(At(bad))
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        with CacheManager(environ={}) as manager, pytest.raises(CacheConfigError) as caught:
            manager.get_cache("app", backend=bad.replace("http:", "redis:"), serializer="json", db=3, url="x")
        assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_planted_pickle(shared_server: LiveServer, open_cache: Open, view: str, tmp_path: Path) -> None:
    """Bytes that somebody else wrote under a cache's key are a miss with a reason; a foreign type is one, too."""
    prefix = f"test-planted-{view}:"
    cache = open_cache(shared_server, prefix=prefix)
    cache.set("key", 1)
    with shared_server.client() as client:
        client.set(prefix + "app:key", b"cos\nsystem\n(S'touch " + str(tmp_path / "x").encode() + b"'\ntR.")
        client.rpush(prefix + "app:list", "a")
    assert cache.get("key") is None
    assert cache.explain("key").state == "unreadable"
    assert not (tmp_path / "x").exists()
    assert cache.get("list") is None
    assert cache.get_many(["list", "key"]) == {}
    assert sorted(cache.keys()) == []
    assert cache.incr("list") == 1
    with shared_server.client() as client:
        client.delete(prefix + "app:list")
        client.rpush(prefix + "app:list", "a")
    assert cache.delete("list") is False
    assert cache.add("list", 5) is True
