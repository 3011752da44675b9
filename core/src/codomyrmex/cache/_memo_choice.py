"""What `memoize` makes of a function: which class takes its place, in which view."""

from __future__ import annotations

from typing import Any

from ._memo_setup import Setup, awaitable, streams, unwrapped
from ._memoize import Memoized


def memoized(setup: Setup, function: Any) -> Any:
    """``function`` memoized; a coroutine function by the asynchronous view of the same cache.

    Raises:
        CacheConfigError: An option makes no sense for it.
        TypeError: It is no function, or one that this view can't call.
    """
    original, kind = unwrapped(function)
    if streams(original):
        from ._memo_streams import stream_memoized

        return stream_memoized(setup, original, kind)
    if awaitable(original):
        from ._async_memoize import AsyncMemoized

        return AsyncMemoized(setup if setup.asynchronous else setup.for_coroutines(), original, kind)
    setup.check_plain(original)
    return Memoized(setup, original, kind)
