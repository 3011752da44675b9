"""The one place where errors of the server, of redis-py and of sockets become the cache's.

No text of the server is passed on: it may quote what it was sent, values and passwords included.
"""

from __future__ import annotations

import re
import ssl
from typing import Final

import redis.exceptions as theirs

from codomyrmex.cache import CacheConnectionError, CacheError, CacheFullError

_IN_SCRIPT = re.compile(r"-([A-Z]{2,}) ")
_PERMANENT: Final = {
    "WRONGPASS": "refuses the user or the password",
    "NOAUTH": "wants a password",
    "NOPERM": "does not allow this user a command or a key that the cache needs",
    "DENIED": "is in protected mode: it serves its own machine only",
    "NOPROTO": "does not speak RESP3: Redis 6.2 or Valkey 7.2 is needed",
    "UNKNOWN": "does not know a command: Redis 6.2 or Valkey 7.2 is needed",
    "NODB": "has no database of this number",
    "MOVED": "is a node of a Cluster, which this backend does not serve",
    "CROSSSLOT": "is a node of a Cluster, which this backend does not serve",
}
_PASSING: Final = {
    "BUSY": "is busy with somebody's script",
    "CLUSTERDOWN": "belongs to a Cluster that is down",
    "LOADING": "is loading its data",
    "MASTERDOWN": "is a replica without its master",
    "MISCONF": "can't write to its disk, and so takes no writes",
    "NOREPLICAS": "has too few replicas, and so takes no writes",
    "READONLY": "is a read-only replica",
    "CLIENTS": "has as many clients as it may have",
    "WRONGTYPE": "holds something that is no string under this key",
}
_FULL: Final = {
    "OOM": "has used up its memory, and its policy evicts nothing",
    "BULK": "takes no value of this size",
}
_TEXTS: Final = {
    "max number of clients": "CLIENTS",
    "Protocol error: invalid bulk length": "BULK",
    "string exceeds maximum allowed size": "BULK",
    "unknown command": "UNKNOWN",
    "unknown subcommand": "UNKNOWN",
    "DB index is out of range": "NODB",
    "invalid DB index": "NODB",
    "can't run this command": "NOPERM",
    "ACL failure in script": "NOPERM",
    "without any password configured": "WRONGPASS",
    "instance has cluster support enabled": "MOVED",
}


class ReplyError(Exception):
    """An error reply, or rather its code: that is all that is kept of it.

    Args:
        text: The reply.
    """

    def __init__(self, text: str) -> None:
        code = text.partition(" ")[0]
        if not code.isupper() or code == "ERR":
            inner = _IN_SCRIPT.search(text)  # before Redis 7, errors of a script's commands stand inside the script's
            known = (meaning for start, meaning in _TEXTS.items() if start in text)
            code = inner[1] if inner else next(known, "ERR")
        self.code = code
        super().__init__(code)


class Lost(Exception):
    """A connection that had worked turned out dead before a byte of the reply came: nobody knows what was done.

    Attributes:
        error: What to raise if nothing better can be found out.
    """

    def __init__(self, error: CacheConnectionError) -> None:
        super().__init__(error.message)
        self.error = error


def refusal(reply: ReplyError, server: object) -> CacheError:
    """What an error reply means."""
    code = reply.code
    if code in _FULL:
        error: CacheError = CacheFullError(f"the server {server} {_FULL[code]}")
    elif code in _PERMANENT:
        error = CacheConnectionError(f"the server {server} {_PERMANENT[code]}", permanent=True)
    else:
        error = CacheConnectionError(f"the server {server} {_PASSING.get(code, f'answers with the error {code}')}")
    error.__cause__ = reply
    return error


def failure(cause: BaseException, server: object, timeout: float) -> CacheConnectionError:
    """What an error of a socket, of TLS, of the protocol or of redis-py's login means."""
    if isinstance(cause, theirs.RedisError):
        known = _login(cause)
        if known is not None:
            error = refusal(known, server)
            return error if isinstance(error, CacheConnectionError) else CacheConnectionError(error.message)
    tls = _below(cause, ssl.SSLError)
    if tls is not None and not isinstance(tls, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        why = getattr(tls, "verify_message", "") or getattr(tls, "reason", None) or "the handshake fails"
        text, permanent = f"no TLS with the server {server}: {str(why).replace('_', ' ').lower()}", True
    elif isinstance(cause, (TimeoutError, theirs.TimeoutError)):
        text, permanent = f"the server {server} did not answer within {timeout:g} s", False
    else:
        system = _below(cause, OSError)
        why = (system.strerror if system else None) or "the connection is closed or not understood"
        text, permanent = f"the server {server} can't be reached: {why}", False
    error = CacheConnectionError(text, permanent=permanent)
    error.__cause__ = cause
    return error


def _login(cause: theirs.RedisError) -> ReplyError | None:
    """The reply that refused a login, if it was one; redis-py keeps the code of some only as a class."""
    if isinstance(cause, theirs.NoPermissionError):
        return ReplyError("NOPERM")
    if isinstance(cause, (theirs.AuthenticationError, theirs.AuthenticationWrongNumberOfArgsError)):
        return ReplyError("NOAUTH" if "required" in str(cause) else "WRONGPASS")
    if isinstance(cause, theirs.BusyLoadingError):
        return ReplyError("LOADING")
    if isinstance(cause, theirs.MasterDownError):
        return ReplyError("MASTERDOWN")
    if isinstance(cause, theirs.ResponseError) or "max number of clients" in str(cause):
        return ReplyError(str(cause))
    return None


def _below(cause: BaseException, kind: type[OSError]) -> OSError | None:
    seen: BaseException | None = cause
    while seen is not None:
        if isinstance(seen, kind):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
