"""Backend ``file_based`` of codomyrmex-cache: persistent, shared by the processes of a machine, on LMDB."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from urllib.parse import unquote

from codomyrmex.cache import hookimpl
from codomyrmex.cache.backend import BackendRequest
from codomyrmex.cache.errors import CachePluginError

from ._backend import FileBackend
from ._options import FileOptions, default_path
from ._store import Store

__all__ = ["FileBackend", "FileOptions", "create_backend"]

codomyrmex_cache_api = 1


@hookimpl
def create_backend(request: BackendRequest) -> FileBackend:
    """Make a `FileBackend`; the directory is an option, or stands in the URL ``file:///var/cache/app``."""
    if sys.platform not in ("linux", "darwin"):
        raise CachePluginError(
            f"file_based works on Linux and macOS, this is {sys.platform}: it needs file locks and memory maps that "
            "several processes share. Choose another backend",
            cache=request.cache,
            backend=request.name,
        )
    if request.url is not None:
        if request.url.netloc:
            raise request.refuse("a URL of file_based has three slashes and a path: file:///var/cache/app")
        if request.url.path:
            request = replace(request, options={**request.options, "path": unquote(request.url.path)})
    options = request.parse(FileOptions)
    # A directory for each cache: limits and `clear` are its own. The ending keeps a cache called ".." inside.
    path = os.path.join(options.path or default_path(), f"{request.cache}.cache")
    policy = request.eviction_policy("sieve")
    return FileBackend(Store.at(path, options, policy), policy, request)
