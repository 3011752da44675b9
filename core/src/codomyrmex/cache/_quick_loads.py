"""`get_or_set` as bound on a view: one frame between the caller and `get` if the value is there, `Loads` if not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ._load import Job
from ._load_context import load_options
from ._loads import Loads
from ._lookup import ASK, NOT_SERVED
from ._steps import Steps, run


def quick_load(loads: Loads, get: Callable[..., Any]) -> Callable[..., Any]:
    """`Cache.get_or_set` over the view's ``get``."""
    store = loads.store

    def get_or_set(key: str, factory: Callable[..., Any], ttl: Any = None, **options: Any) -> Any:
        find: Callable[[Job], Steps[Any]]
        if not options or ("refresh_ahead" not in options and "early_refresh" not in options):
            try:
                value = get(key, ASK)
            except NOT_SERVED as error:
                find = loads.instead(error)
            else:
                if value is not ASK:
                    return value
                find = loads.missed
        else:
            find = loads.get_or_set
        return run(find(loads.job(key, factory, load_options(store.lease, store.retry_after, ttl, **options))))

    return get_or_set


def quick_async_load(
    loads: Loads, get: Callable[..., Awaitable[Any]], inline: Callable[..., Any] | None
) -> Callable[..., Awaitable[Any]]:
    """`AsyncCache.get_or_set` over the view's ``get``, or over what that calls ``inline``."""
    from ._async_shell import TaskShell
    from ._async_steps import arun

    store, shell = loads.store, loads.shell
    if not isinstance(shell, TaskShell):
        raise TypeError("an asynchronous view has a shell for tasks")
    perform = shell.perform

    async def get_or_set(key: str, factory: Callable[..., Any], ttl: Any = None, **options: Any) -> Any:
        find: Callable[[Job], Steps[Any]]
        if not options or ("refresh_ahead" not in options and "early_refresh" not in options):
            try:
                value = await get(key, ASK) if inline is None else inline(key, ASK)
            except NOT_SERVED as error:
                find = loads.instead(error)
            else:
                if value is not ASK:
                    return value
                find = loads.missed
        else:
            find = loads.get_or_set
        job = loads.job(key, factory, load_options(store.lease, store.retry_after, ttl, **options))
        return await arun(find(job), perform)

    return get_or_set
