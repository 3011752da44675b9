"""Sessions of agents, shared by all machines that serve them: each ends when it has not been used for a while."""

from __future__ import annotations

import secrets
from typing import Any

from codomyrmex.cache import AsyncCache, CacheKeyError

Session = dict[str, Any]


class Sessions:
    """Sessions in a cache with ``sliding = true``: every use begins their time anew.

    Args:
        cache: An asynchronous cache, on Redis if several machines serve the agents.
    """

    def __init__(self, cache: AsyncCache[Session]) -> None:
        self._cache = cache

    async def start(self, user: str) -> str:
        """A new session; its id."""
        while True:
            session = secrets.token_urlsafe()
            if await self._cache.add(session, {"user": user, "messages": []}, tags=[f"user:{user}"]):
                return session

    async def get(self, session: str) -> Session:
        """What a session holds; raises `CacheKeyError` once it has ended."""
        return await self._cache[session]

    async def say(self, session: str, message: str) -> int:
        """Add a message; how many there are now. Two machines may do so at once: neither message is lost."""
        async with self._cache.lock(session, ttl=5, wait=5):
            content = await self.get(session)
            content["messages"].append(message)
            tags = [f"user:{content['user']}"]
            await self._cache.set(session, content, tags=tags)
            return len(content["messages"])

    async def end(self, session: str) -> None:
        """End a session; raises `CacheKeyError` if it has ended already."""
        if not await self._cache.delete(session):
            raise CacheKeyError("the session has ended", key=session)

    async def log_out(self, user: str) -> None:
        """End all sessions of a user, on every machine."""
        await self._cache.invalidate_tags(f"user:{user}")
