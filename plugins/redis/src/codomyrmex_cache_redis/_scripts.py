"""The Lua scripts, each atomic and, but for `TAGGED`, on one key.

They know of a record only where its compared fields, the length of its annex and the tags in that lie; the layout is
drawn in `codomyrmex.cache._record`, and the tests compare the two.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final


class Script:
    """A script and its name on the server.

    Args:
        source: Lua.
    """

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        # The server's name for it, no secret.
        self.digest = sha1(self.source, usedforsecurity=False).hexdigest().encode()


_HEAD = """
local function head(key)
  local size = redis.pcall('GETRANGE', key, 4, 7)
  -- Not a string: somebody else's, and so no record that can be read.
  if type(size) == 'table' then return '' end
  local last = 63
  if #size == 4 then
    local a, b, c, d = string.byte(size, 1, 4)
    last = last + a + b * 256 + c * 65536 + d * 16777216
  end
  return redis.call('GETRANGE', key, 0, last)
end
"""

HEAD: Final = Script(_HEAD + "return head(KEYS[1])")
"""The head of a record; empty if there is none."""

_WAKE = """
local function wake(key, lease)
  -- A user who may not publish, a hint that is lost: who waits looks now and then.
  if #lease == 8 and lease ~= string.rep(string.char(0), 8) then redis.pcall('PUBLISH', key, '') end
end
"""

REMOVE: Final = Script(
    _HEAD
    + _WAKE
    + """
local found = head(KEYS[1])
if redis.call('UNLINK', KEYS[1]) == 0 then return false end
wake(KEYS[1], string.sub(found, 41, 48))
return found
"""
)
"""Removes a record and tells who waits for its lease; its head, or nil if there was none."""

SWAP: Final = Script(
    _WAKE
    + """
local found = redis.pcall('GETRANGE', KEYS[1], ARGV[1], ARGV[2])
if found ~= ARGV[3] then return 0 end
local action, new, life = ARGV[4], ARGV[5], ARGV[6]
local lease = redis.call('GETRANGE', KEYS[1], 40, 47)
if action == 'remove' then
  redis.call('UNLINK', KEYS[1])
elseif action == 'header' then
  redis.call('SETRANGE', KEYS[1], 0, new)
  if life == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], life) end
elseif life == '' then
  redis.call('SET', KEYS[1], new)
else
  redis.call('SET', KEYS[1], new, 'PX', life)
end
if lease ~= string.sub(new, 41, 48) then wake(KEYS[1], lease) end
return 1
"""
)
"""If the bytes from ARGV[1] to ARGV[2] are ARGV[3], does ARGV[4] with ARGV[5] for ARGV[6] milliseconds; whether so.

Tells who waits for a lease that is gone by it.
"""

TAGGED: Final = Script(
    """
local function number(text, at, bytes)
  local total = 0
  for place = bytes - 1, 0, -1 do total = total * 256 + (string.byte(text, at + place) or 0) end
  return total
end
local function fetch(key)
  local found = redis.pcall('GET', key)
  if type(found) == 'table' then return '' end
  return found
end
local records, tags, asked = {}, {}, {}
for index, key in ipairs(KEYS) do
  local record = fetch(key)
  records[index] = record
  local last = 0
  if record then last = math.min(#record, 64 + number(record, 5, 4)) end
  if last >= 72 then
    local at = 73 + number(record, 71, 2)
    for _ = 1, number(record, 69, 2) do
      local after = at + 2 + number(record, at, 2)
      if after + 7 > last then break end
      local tag = string.sub(record, at + 2, after - 1)
      at = after + 8
      if not asked[tag] then
        asked[tag] = true
        tags[#tags + 1] = tag
        tags[#tags + 1] = fetch(ARGV[1] .. tag)
      end
    end
  end
end
return {records, tags}
"""
)
"""Records of all keys, and flat pairs of tag and marker for the tags they name; ARGV[1] stands before each tag."""

SCRIPTS: Final = (HEAD, REMOVE, SWAP, TAGGED)
