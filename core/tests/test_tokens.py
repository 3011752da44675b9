"""Versions, leases and tags' tokens are drawn anew, whatever a program does to the common random numbers."""

from __future__ import annotations

import os
import random

from codomyrmex.cache import CacheManager


def test_a_seed_repeats_no_token(manager: CacheManager) -> None:
    """A program that seeds `random` at its start still draws other tokens in its next run."""
    store = manager.get_cache("app")._store
    tokens = []
    for _ in range(100):
        random.seed(0)
        tokens.append(store.token())
    assert len(set(tokens)) == len(tokens)


def test_a_child_draws_its_own(manager: CacheManager) -> None:
    """A forked child doesn't draw what its parent draws."""
    store = manager.get_cache("app")._store
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, store.token())
        os._exit(0)
    os.waitpid(child, 0)
    assert store.token() != os.read(reading, 8)
    os.close(reading)
    os.close(writing)


def test_no_token_is_nothing(manager: CacheManager) -> None:
    """Eight zeros mean that there is no lease, so they are never drawn."""
    store = manager.get_cache("app")._store
    store._random_bits = lambda: 0
    assert bytes(8) != store.token()
