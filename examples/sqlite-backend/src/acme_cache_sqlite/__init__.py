"""Backend ``sqlite`` of codomyrmex-cache: entries in one SQLite file, shared by the processes of a machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import unquote

from codomyrmex.cache import hookimpl
from codomyrmex.cache.backend import BackendRequest
from codomyrmex.cache.options import option

from ._backend import SqliteBackend
from ._connection import Connection

__all__ = ["SqliteBackend", "SqliteOptions", "create_backend"]

codomyrmex_cache_api = 1


@dataclass(frozen=True, slots=True)
class SqliteOptions:
    """Options of the backend ``sqlite``."""

    path: str = option(kind="path", help="File that holds the entries; its directory must exist.")
    timeout: float = option(5.0, kind="duration", help="Longest wait for another process that writes.")


@hookimpl
def create_backend(request: BackendRequest) -> SqliteBackend:
    """Make a `SqliteBackend`; the path is an option, or stands in the URL ``sqlite:///path/of/file.db``."""
    if request.url is not None and request.url.path:
        request = replace(request, options={**request.options, "path": unquote(request.url.path)})
    if request.url is not None and request.url.netloc:
        raise request.refuse("a URL of sqlite has three slashes and a path: sqlite:///var/cache/app.db")
    options = request.parse(SqliteOptions)
    return SqliteBackend(Connection(options.path, options.timeout), request)
