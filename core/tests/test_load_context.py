"""What a factory is told, and what it may decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from loading import Call, Source, until, waiting

from codomyrmex.cache import CacheConfigError, CacheError, CacheKeyError, CacheSerializationError
from codomyrmex.cache.testing import ManualClock


class TestWhatIsThere:
    """The kept value, its age and its token."""

    def test_nothing(self, loader: Any) -> None:
        """Of a key that is absent there is nothing to tell but the key."""

        def factory(context: Any) -> list[Any]:
            age = "inf" if context.age == math.inf else context.age
            return [context.key, context.value, context.has_value, age, context.token, sorted(context.tags)]

        assert loader.get_or_set("key", factory, tags=["b", "a"]) == ["key", None, False, "inf", "", ["a", "b"]]

    def test_a_kept_value(self, loader: Any, clock: ManualClock) -> None:
        """A kept None is one, too."""
        for value in ("kept", None):
            loader.set("key", value, ttl=10, stale_for=1000)
            clock.advance(25)
            told = loader.get_or_set("key", lambda context: [context.value, context.has_value, context.age])
            assert told == [value, True, pytest.approx(25, abs=0.01)]

    def test_a_value_that_was_invalidated(self, loader: Any, clock: ManualClock) -> None:
        """What may not be served is not shown either."""
        loader.set("key", "dead", tags=["tag"])
        loader.invalidate_tags("tag")
        assert loader.get_or_set("key", lambda context: context.has_value) is False

    def test_of_a_refresh_ahead(self, loader: Any, clock: ManualClock) -> None:
        """The value is there and fresh."""
        loader.set("key", "first", ttl=100)
        clock.advance(90)
        seen: list[Any] = []
        assert loader.get_or_set("key", lambda context: seen.append(context.value), refresh_ahead=0.5) == "first"
        until(lambda: seen == ["first"])

    @pytest.mark.parametrize("optional", [False, True])
    def test_a_factory_with_optional_arguments(self, loader: Any, optional: bool) -> None:
        """The context is given to who needs an argument, never in place of a default."""

        def needs(context: Any) -> str:
            return str(context.key)

        def has(name: str = "default") -> str:
            return name

        assert loader.get_or_set("key", has if optional else needs) == ("default" if optional else "key")


class TestLifetimes:
    """`ttl`, `ttl_for`, `stale_for`."""

    @pytest.mark.parametrize(
        ("chosen", "by_value", "given", "expected"),
        [
            (None, None, None, math.inf),
            (None, None, 7, 7),
            (None, 5, 7, 5),
            (None, None, "1m", 60),
            (3, 5, 7, 3),
            ("2s", 5, 7, 2),
            (math.inf, 5, 7, math.inf),
        ],
    )
    def test_who_decides(self, loader: Any, chosen: Any, by_value: Any, given: Any, expected: float) -> None:
        """The factory, then `ttl_for`, then the caller, then the cache."""

        def factory(context: Any) -> str:
            context.ttl = chosen
            return "value"

        seen: list[Any] = []
        loader.get_or_set("key", factory, given, ttl_for=lambda value: seen.append(value) or by_value)
        assert loader.ttl("key") == pytest.approx(expected, abs=0.01)
        assert seen == ([] if chosen is not None else ["value"])

    def test_negative_results(self, loader: Any, clock: ManualClock) -> None:
        """A stored None is a hit, for as long as `ttl_for` says."""
        source = Source(None, "found")
        options = {"ttl": 100, "ttl_for": lambda value: 5 if value is None else None}
        assert [None, None] == [loader.get_or_set("key", source, **options) for _ in range(2)]
        assert source.calls == 1
        clock.advance(6)
        assert loader.get_or_set("key", source, **options) == "found"
        assert loader.ttl("key") == pytest.approx(100, abs=0.01)

    def test_stale_for(self, loader: Any, clock: ManualClock) -> None:
        """The factory's word counts before the caller's."""

        def factory(context: Any) -> str:
            context.stale_for = 50
            return "value"

        loader.get_or_set("key", factory, 10, stale_for=1000)
        clock.advance(59)
        assert loader.get_or_set("key", Source(ZeroDivisionError()), retry_after=0) == "value"
        clock.advance(2)
        with pytest.raises(ZeroDivisionError):
            loader.get_or_set("key", Source(ZeroDivisionError()))

    @pytest.mark.parametrize(
        ("decide", "error"),
        [
            (lambda context: setattr(context, "ttl", 0), CacheConfigError),
            (lambda context: setattr(context, "stale_for", -1), CacheConfigError),
            (lambda context: context.tags.add(5), CacheKeyError),
            (lambda context: context.tags.add(""), CacheKeyError),
            (lambda context: setattr(context, "token", "x" * 1001), CacheKeyError),
            (lambda context: setattr(context, "token", b"bytes"), CacheKeyError),
        ],
    )
    def test_bad_decisions(self, loader: Any, decide: Callable[[Any], Any], error: type[CacheError]) -> None:
        """A clear error for all who wait, and nothing is stored or left planted."""
        with pytest.raises(error):
            loader.get_or_set("key", lambda context: (decide(context), "value")[1])
        assert loader.get("key") is None
        assert loader.explain("key").loading is False

    def test_a_value_that_can_not_be_stored(self, loader: Any, clock: ManualClock) -> None:
        """The error says of which key; nothing is left planted, and a kept value stays."""
        loader.set("key", "kept", ttl=10, stale_for=1000)
        clock.advance(11)
        with pytest.raises(CacheSerializationError) as caught:
            loader.get_or_set("key", lambda: object())
        assert caught.value.key == "key"
        explained = loader.explain("key")
        assert (explained.loading, explained.state) == (False, "stale")

    def test_a_failing_ttl_for(self, loader: Any) -> None:
        """Its error comes out, and nothing is left planted."""
        with pytest.raises(ZeroDivisionError):
            loader.get_or_set("key", Source("value"), ttl_for=lambda value: 1 // 0)
        assert loader.explain("key").loading is False


class TestOutcomes:
    """`skip`, `fail`, `not_modified`."""

    def test_skip(self, loader: Any, clock: ManualClock) -> None:
        """The callers get the value, nobody else; a kept one stays as it was."""
        assert loader.get_or_set("key", lambda context: context.skip("unstored")) == "unstored"
        assert loader.get("key") is None
        assert loader.explain("key").loading is False
        loader.set("key", "kept", ttl=10, stale_for=1000)
        clock.advance(11)
        assert loader.get_or_set("key", lambda context: context.skip("unstored")) == "unstored"
        assert loader.get_or_set("key", Source(ZeroDivisionError())) == "kept"

    def test_fail(self, loader: Any, clock: ManualClock) -> None:
        """Like an exception: what is kept is served, else `CacheError` with the reason."""
        with pytest.raises(CacheError, match="no such user") as caught:
            loader.get_or_set("key", lambda context: context.fail("no such user"))
        assert caught.value.key == "key"
        assert loader.stats.load_failures == 1
        loader.set("key", "kept", ttl=10, stale_for=1000)
        clock.advance(11)
        assert loader.get_or_set("key", lambda context: context.fail("no such user")) == "kept"
        source = Source("new")
        assert loader.get_or_set("key", source) == "kept"
        assert source.calls == 0, "retry_after counts for it"

    def test_not_modified(self, loader: Any, clock: ManualClock) -> None:
        """The value begins anew, its token and tags stay; an ETag makes a conditional request."""
        served, asked = "first", []

        def factory(context: Any) -> Any:
            asked.append(context.token)
            if context.token == served:
                return context.not_modified()
            context.token = served
            return f"body of {served}"

        options = {"ttl": 10, "stale_for": 1000, "tags": ["tag"]}
        for _ in range(3):
            assert loader.get_or_set("key", factory, **options) == "body of first"
            assert loader.get("key") == "body of first"
            assert loader.ttl("key") == pytest.approx(10, abs=0.01)
            clock.advance(11)
        served = "second"
        assert loader.get_or_set("key", factory, **options) == "body of second"
        assert ["", "first", "first", "first"] == asked
        clock.advance(11)
        loader.get_or_set("key", factory, **options)
        loader.invalidate_tags("tag")
        assert loader.get("key") is None

    def test_not_modified_with_a_new_token(self, loader: Any, clock: ManualClock) -> None:
        """A token that changes while the value stays is kept."""
        seen = []

        def factory(context: Any) -> Any:
            seen.append(context.token)
            context.token = f"{len(seen)}"
            return context.not_modified() if context.has_value else "value"

        for _ in range(3):
            assert loader.get_or_set("key", factory, 10, stale_for=100) == "value"
            clock.advance(11)
        assert ["", "1", "2"] == seen

    @pytest.mark.parametrize("changed", ["token", "nothing"])
    @pytest.mark.parametrize("tag", ["given", "late", "added", "later"])
    def test_not_modified_keeps_all_tags(self, loader: Any, clock: ManualClock, tag: str, changed: str) -> None:
        """The value has the tags that it had and those that were added: it dies with each of them."""

        def first(context: Any) -> str:
            context.tags.add("late")
            context.token = "1"
            return "value"

        def again(context: Any) -> Any:
            context.tags.add("later")
            context.token = "1" if changed == "nothing" else "2"
            return context.not_modified()

        loader.get_or_set("key", first, 10, stale_for=1000, tags=["given"])
        clock.advance(11)
        assert loader.get_or_set("key", again, 10, stale_for=1000, tags=["added"]) == "value"
        assert loader.get("key") == "value"
        loader.invalidate_tags(tag)
        assert loader.get("key") is None

    @pytest.mark.parametrize("tag", ["given", "late"])
    def test_not_modified_too_late(self, loader: Any, clock: ManualClock, tag: str) -> None:
        """A tag of the kept value that is invalidated while the origin is asked takes the value with it."""

        def first(context: Any) -> str:
            context.tags.add("late")
            return "value"

        loader.get_or_set("key", first, 10, stale_for=1000, tags=["given"])
        clock.advance(11)
        for token in ("", "changed"):

            def again(context: Any, token: str = token) -> Any:
                context.token = token
                loader.invalidate_tags(tag)
                return context.not_modified()

            assert loader.get_or_set("key", again, 10, tags=["given"]) == "value"
            assert loader.get("key") is None
            loader.get_or_set("key", first, 10, stale_for=1000, tags=["given"])
            clock.advance(11)

    def test_not_modified_after_a_delete(self, loader: Any, clock: ManualClock) -> None:
        """What was deleted meanwhile does not come back."""
        loader.set("key", "old", ttl=10, stale_for=1000)
        clock.advance(11)

        def factory(context: Any) -> Any:
            loader.delete("key")
            return context.not_modified()

        assert loader.get_or_set("key", factory) == "old"
        assert loader.get("key") is None

    def test_not_modified_of_nothing(self, loader: Any) -> None:
        """Without a kept value it is a failure."""
        with pytest.raises(CacheError, match="unchanged"):
            loader.get_or_set("key", lambda context: context.not_modified())
        assert loader.explain("key").loading is False

    def test_those_who_wait_for_a_skip(self, loader: Any) -> None:
        """They share the value that is not stored, if no tag of it was invalidated meanwhile."""
        go = Source("unstored", held=True)
        calls = [Call(loader.get_or_set, "key", lambda context: context.skip(go())) for _ in range(3)]
        until(lambda: waiting(loader) == 3)
        go.go.set()
        assert ["unstored"] * 3 == [call.result() for call in calls]
        assert go.calls == 1

    def test_who_comes_after_an_invalidation_shares_no_skip(self, loader: Any) -> None:
        """A late tag that was invalidated meanwhile sends those who came later to look for themselves."""
        go = Source("older", held=True)

        def factory(context: Any) -> Any:
            context.tags.add("late")
            return context.skip(go())

        first = Call(loader.get_or_set, "key", factory)
        assert go.begun.wait(30)
        loader.invalidate_tags("late")
        later = Call(loader.get_or_set, "key", lambda context: "newer")
        until(lambda: waiting(loader) == 2)
        go.go.set()
        assert first.result() == "older"
        assert later.result() == "newer"
