"""Responses of a language model, streamed to everybody who asks the same; documents, fetched only if changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from codomyrmex.cache import Cache, LoadContext

MODEL = "model-1"


class Assistant:
    """A client of a model's HTTP interface that asks each question once.

    Args:
        cache: Where responses and documents are kept.
        url: Of the interface, without a slash at its end.
    """

    def __init__(self, cache: Cache[Any], url: str) -> None:
        self._documents = cache.namespace("documents")
        self._url = url
        # Another model gives other answers: its name is part of the key.
        memoize = cache.memoize(ttl="30d", lease="5m", name="complete", version=MODEL)
        self.complete = memoize(self._complete)

    def _complete(self, prompt: str) -> Iterator[str]:
        """The tokens of the model's answer, as they come."""
        body = json.dumps({"model": MODEL, "prompt": prompt}).encode()
        with urlopen(Request(f"{self._url}/complete", data=body)) as response:
            for line in response:
                yield json.loads(line)["token"]

    def document(self, path: str) -> str:
        """A document for the prompt: asked for again after a minute, served for a week if its origin is down."""

        def fetch(context: LoadContext[str]) -> str:
            request = Request(self._url + path, headers={"If-None-Match": context.token})
            try:
                with urlopen(request) as response:
                    context.token = response.headers["ETag"]
                    return str(response.read().decode())
            except HTTPError as error:
                error.close()
                if error.code == 304:
                    return context.not_modified()
                raise

        return self._documents.get_or_set(path, fetch, ttl="1m", stale_for="7d", soft_timeout=0.5)
