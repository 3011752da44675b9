"""What the tests of this directory share: a place to install small distributions, and a server."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import LiveServer, program_of

from codomyrmex.cache import CacheManager

# Test modules are imported one by one, by path: without this they could not import their helper.
sys.path.insert(0, str(Path(__file__).parent))

pytest.register_assert_rewrite("installing")

from installing import SHELF, Site  # noqa: E402 - its assertions are to be explained as well


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A directory on the import path for the length of one test; the backend ``works`` is installed in it."""
    site = Site(tmp_path / "site")
    site.add("acme-cache-works", {"backends": {"works": "acme_works"}}, acme_works=SHELF)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site.path))
        yield site
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(site.path)):
            del sys.modules[name]
    importlib.invalidate_caches()
    CacheManager(environ={}).plugins(refresh=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server for the backend ``redis``, that is there."""
    program = program_of("valkey")
    assert program is not None
    server = LiveServer(program, tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()
