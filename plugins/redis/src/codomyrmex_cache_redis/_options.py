"""Options of the backend ``redis``, and the server they come to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from codomyrmex.cache import CacheError
from codomyrmex.cache.backend import BackendRequest
from codomyrmex.cache.options import option

DEFAULT_URL: Final = "redis://127.0.0.1:6379/0"
_TLS: Final = {"redis": False, "valkey": False, "rediss": True, "valkeys": True, "unix": False}
_LONGEST: Final = 1e6
"""Seconds; sockets take no timeout much above that."""


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Options of the backend ``redis``."""

    url: str | None = option(
        None, kind="secret", optional=True, help="redis://, rediss:// (TLS) or unix:// URL; none for REDIS_URL."
    )
    db: int | None = option(None, kind="index", optional=True, help="Number of the database, if not in the URL.")
    username: str | None = option(None, kind="text", optional=True, help="ACL user, if not in the URL.")
    password: str | None = option(None, kind="secret", optional=True, help="Password, if not in the URL.")
    prefix: str = option("codomyrmex:", kind="text", help="Stands before every key in the database.")
    timeout: float = option(1.0, kind="duration", help="Longest wait for a connection, and for each reply.")
    tls_ca: str | None = option(
        None, kind="path", optional=True, help="File of certificates to trust; none for the system's."
    )
    tls_cert: str | None = option(None, kind="path", optional=True, help="File of this client's certificate.")
    tls_key: str | None = option(None, kind="path", optional=True, help="File of its key.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where and how to connect.

    Attributes:
        host: Name or address; empty for a Unix socket.
        port: TCP port.
        path: Unix socket; empty for TCP.
        db: Number of the database.
        username: ACL user, if any.
        password: Its password, if any.
        tls: Whether to speak TLS.
        tls_files: Certificates to trust, own certificate, its key.
        timeout: Seconds for connecting, and for each trip.
    """

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_files: tuple[str | None, str | None, str | None] = (None, None, None)
    timeout: float = 1.0

    def __str__(self) -> str:
        """For messages: where it is, without credentials."""
        return self.path or f"{self.host}:{self.port}"


def server_of(request: BackendRequest, options: RedisOptions) -> Server:
    """The server that a request names: its URL, the option ``url``, REDIS_URL or this machine's.

    Raises:
        CacheConfigError: A URL is malformed, or two contradict each other.
    """
    if request.url is not None and options.url is not None:
        raise request.refuse("the server is named twice, by the backend's URL and by the option 'url'")
    text = options.url or os.environ.get("REDIS_URL") or DEFAULT_URL
    try:
        url = request.url or urlsplit(text)
        port = url.port or 6379
    except ValueError:
        raise request.refuse("the URL of the server can't be read") from None
    if url.scheme not in _TLS:
        raise request.refuse(f"the URL of the server must begin with one of {', '.join(f'{one}://' for one in _TLS)}")
    tls = _TLS[url.scheme]
    if not tls and (options.tls_ca or options.tls_cert or options.tls_key):
        raise request.refuse("options of TLS need a URL that begins with rediss://")
    unix = url.scheme == "unix"
    if unix and not url.path:
        raise request.refuse("a unix:// URL needs the path of a socket: unix:///run/redis.sock")
    return Server(
        host="" if unix else url.hostname or "127.0.0.1",
        port=port,
        path=unquote(url.path) if unix else "",
        db=_database(url, options.db, request.refuse),
        username=options.username or unquote(url.username or "") or None,
        password=options.password or unquote(url.password or "") or None,
        tls=tls,
        tls_files=(options.tls_ca, options.tls_cert, options.tls_key),
        timeout=min(options.timeout, _LONGEST),
    )


def _database(url: SplitResult, given: int | None, refuse: Callable[[str], CacheError]) -> int:
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    text = query.pop("db", "") or ("" if url.scheme == "unix" else url.path.strip("/"))
    if query:
        raise refuse("the query of the server's URL may hold nothing but db; write other options beside it")
    if text and not (text.isascii() and text.isdecimal()):
        raise refuse("the path of the server's URL must be the number of a database, as in redis://host:6379/0")
    if text and given not in (None, int(text)):
        raise refuse(f"the database is {int(text)} in the URL and {given} as an option")
    return int(text) if text else given or 0
