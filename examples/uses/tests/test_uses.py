"""The examples do what their texts say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_sessions import Sessions
from build_artifacts import Builder
from llm_responses import Assistant
from origin import Origin
from static_analysis import analyse_files

from codomyrmex.cache import CacheKeyError, CacheManager
from codomyrmex.cache.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def manager(tmp_path: Path, clock: ManualClock) -> Iterator[CacheManager]:
    caches = {
        "memory": {"backend": "in_memory"},
        "file": {"backend": "file_based", "path": str(tmp_path / "cache")},
    }
    with CacheManager({"caches": caches}, clock=clock, environ={}) as manager:
        yield manager


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture(params=["memory", "file"])
def cache(request: pytest.FixtureRequest, manager: CacheManager) -> Any:
    return manager.get_cache(request.param)


def test_one_response_for_all(cache: Any, origin: Origin) -> None:
    """Ten who ask the same at once share one stream; who asks later gets what is stored."""
    origin.pause = 0.02
    assistant = Assistant(cache, origin.url)
    answers: list[list[str]] = []
    together = threading.Barrier(10)

    def ask() -> None:
        together.wait()
        answers.append(list(assistant.complete("what is a cache")))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [["WHAT", "IS", "A", "CACHE"]] * 10
    assert list(assistant.complete("what is a cache")) == ["WHAT", "IS", "A", "CACHE"]
    assert [request[:2] for request in origin.requests] == [("POST", "/complete")]


def test_first_token_comes_first(cache: Any, origin: Origin) -> None:
    """A token is handed on before the next one is there."""
    origin.pause = 0.05
    tokens = Assistant(cache, origin.url).complete("one two three")
    assert next(tokens) == "ONE"
    assert list(tokens) == ["TWO", "THREE"]


def test_broken_off(cache: Any, origin: Origin) -> None:
    """A stream that nobody reads to its end is not stored."""
    origin.pause = 0.05
    assistant = Assistant(cache, origin.url)
    tokens = assistant.complete("one two three")
    assert next(tokens) == "ONE"
    tokens.close()
    assert list(assistant.complete("one two three")) == ["ONE", "TWO", "THREE"]
    assert len(origin.requests) == 2


def test_conditional_refresh(cache: Any, origin: Origin, clock: ManualClock) -> None:
    """After its ttl a document is asked for by its ETag, and sent again only if it has changed."""
    assistant = Assistant(cache, origin.url)
    origin.documents["/a"] = "first"
    assert [assistant.document("/a") for _ in range(3)] == ["first"] * 3
    clock.advance(61)
    assert [assistant.document("/a") for _ in range(2)] == ["first"] * 2
    origin.documents["/a"] = "second"
    clock.advance(61)
    assert assistant.document("/a") == "second"
    assert [status for _, _, status in origin.requests] == [200, 304, 200]


def test_origin_down(cache: Any, origin: Origin, clock: ManualClock) -> None:
    """A document is served while its origin is down, which is asked no more than every ten seconds."""
    assistant = Assistant(cache, origin.url)
    origin.documents["/a"] = "first"
    assistant.document("/a")
    origin.down = True
    clock.advance(3600)
    assert [assistant.document("/a") for _ in range(3)] == ["first"] * 3
    clock.advance(11)
    assert assistant.document("/a") == "first"
    assert [status for _, _, status in origin.requests] == [200, 503, 503]


def test_analysis_by_content(cache: Any, tmp_path: Path) -> None:
    """Only files with a new content are analysed, in one call, equal ones once."""
    paths = [tmp_path / name for name in ("a.py", "b.py", "c.py")]
    for path in paths:
        path.write_text("def f():\n    pass\n")
    paths[2].write_text("class C:\n    pass\n")
    first = analyse_files(cache, paths)
    assert first[paths[0]] == {"functions": 1, "classes": 0, "longest": 2}
    assert first[paths[2]] == {"functions": 0, "classes": 1, "longest": 0}
    assert (cache.stats.loads, cache.stats.sets) == (1, 2)
    paths[1].write_text("def f():\n    pass\n\n\ndef g(): pass\n")
    assert analyse_files(cache, paths)[paths[1]]["functions"] == 2
    assert (cache.stats.loads, cache.stats.sets, cache.stats.hits) == (2, 3, 2)


def test_artifacts(manager: CacheManager, tmp_path: Path) -> None:
    """Large artifacts come back as they were; a changed input or a forgotten target is built anew."""
    cache = manager.get_cache("file")
    source = tmp_path / "main.c"
    source.write_text("int main;")
    built: list[str] = []

    def compile_(files: list[Path]) -> bytes:
        built.append(files[0].read_text())
        return built[-1].encode() * 1_000_000

    builder = Builder(cache, "cc 13")
    assert builder.build("app", [source], compile_) == b"int main;" * 1_000_000
    assert builder.build("app", [source], compile_) == b"int main;" * 1_000_000
    assert Builder(cache, "cc 14").build("app", [source], compile_)
    source.write_text("int main, x;")
    assert builder.build("app", [source], compile_) == b"int main, x;" * 1_000_000
    builder.forget("app")
    builder.build("app", [source], compile_)
    assert len(built) == 4


def test_forgotten_while_it_is_built(manager: CacheManager, tmp_path: Path) -> None:
    """What is built while its target is being forgotten is not kept."""
    builder = Builder(manager.get_cache("file"), "cc")
    source = tmp_path / "main.c"
    source.write_text("x")

    def compile_(_: list[Path]) -> bytes:
        builder.forget("app")
        return b"old"

    assert builder.build("app", [source], compile_) == b"old"
    assert builder.build("app", [source], lambda _: b"new") == b"new"


def test_sessions(redis_url: str) -> None:
    """Sessions slide, are changed by two machines at once, and end with their user."""
    settings = {"backend": "redis", "url": redis_url, "ttl": "1h", "sliding": True}
    config = {"caches": {"sessions": settings}}

    async def main() -> None:
        with CacheManager(config, environ={}) as here, CacheManager(config, environ={}) as there:
            machines = [Sessions(manager.get_async_cache("sessions")) for manager in (here, there)]
            session = await machines[0].start("ada")
            await asyncio.gather(*(machines[number % 2].say(session, str(number)) for number in range(20)))
            content = await machines[1].get(session)
            assert sorted(map(int, content["messages"])) == list(range(20))
            other = await machines[0].start("grace")
            await machines[1].log_out("ada")
            with pytest.raises(CacheKeyError):
                await machines[0].get(session)
            assert (await machines[0].get(other))["user"] == "grace"
            await machines[1].end(other)
            with pytest.raises(CacheKeyError):
                await machines[0].end(other)

    asyncio.run(main())
