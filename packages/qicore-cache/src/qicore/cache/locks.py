"""One computation at a time for a key among all processes: a lock by token, and a write that is fenced by it.

The lock is a key beside the value's, holding a random token, that expires with its lease; the holder extends
the lease while it computes, and whoever waits takes over when it runs out. A holder may lose its lease
unnoticed (a stalled process, a lost Redis): so its value is only written while the lock still has its token
and nobody wrote another value in the meantime, which Redis checks and does in one step.

What https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/ says of a single instance holds:
a failover may lose the lock, and then two processes compute. The fence keeps the later write.
"""

from __future__ import annotations

import math
import secrets
from typing import Final, cast

from qicore.base import ErrorCategory, Failure, Result, Success
from qicore.cache.wire import Wire

__all__ = ["KeyLock"]

# KEYS: the value, the lock. The first `width` bytes of a value, its header, tell whether it is another one:
# they hold a checksum and a time. A key of another type, a list say, counts as no value.

# ARGV: token, lease in ms, header seen, its width. Answers {value, 0} for a value that was not there before,
# {false, 1} with the lock, {false, 0} while somebody else holds it.
_BEGIN: Final = """
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'table' then value = false end
if value and string.sub(value, 1, tonumber(ARGV[4])) ~= ARGV[3] then return {value, 0} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {false, 1} end
return {false, 0}
"""

# ARGV: token, lease in ms.
_EXTEND: Final = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
return 0
"""

# ARGV: token, header seen, its width, value, time to live in ms or '0'. Gives the lock back. A value that is
# no more there has expired: who removes one takes the lock away, too.
_STORE: Final = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
local header = redis.pcall('GETRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1)
if type(header) == 'string' and header ~= '' and header ~= ARGV[2] then return 0 end
if ARGV[5] == '0' then redis.call('SET', KEYS[1], ARGV[4])
else redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end
return 1
"""

# ARGV: token.
_RELEASE: Final = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return redis.call('DEL', KEYS[2]) end
return 0
"""


class KeyLock:
    """The right to compute one key's value, held by a token of its own.

    Attributes:
        lease: seconds that the lock outlives its holder's last sign of life.
        width: bytes of a stored value that tell it from another.
    """

    __slots__ = ("_keys", "_token", "_wire", "lease", "width")

    def __init__(self, wire: Wire, value_key: str, lock_key: str, *, lease: float, width: int) -> None:
        self.lease = lease
        self.width = width
        self._wire = wire
        self._keys = (value_key, lock_key)
        self._token = secrets.token_bytes(16)

    async def begin(self, seen: bytes) -> Result[bytes | bool]:
        """Try to take the lock once, unless there is a value other than the one whose header was `seen`.

        Answers that value, or whether the lock is taken.
        """
        answer = await self._run(_BEGIN, self._token, self._milliseconds, seen, self.width)
        match answer.variant:
            case Success(told):
                value, taken = cast("tuple[bytes | None, int]", told)
                return Success(taken == 1 if value is None else value)
            case Failure(error):
                if error.category in (ErrorCategory.TIMEOUT, ErrorCategory.NETWORK) and await self.held():
                    # It was done, and only the answer is lost: the lock has our token.
                    return Success(True)
                return Failure(error)

    async def held(self) -> bool:
        """Whether the lock has this token."""
        return (await self._wire.ask("GET", self._keys[1])).data == self._token

    async def extend(self) -> Result[bool]:
        """Begin the lease anew; False when the lock is somebody else's by now."""
        return (await self._run(_EXTEND, self._token, self._milliseconds)).map(bool)

    async def store(self, seen: bytes, value: bytes, milliseconds: int) -> Result[bool]:
        """Write the value and give the lock back; False when the lock, or the value, is another by now."""
        return (await self._run(_STORE, self._token, seen, self.width, value, milliseconds)).map(bool)

    async def release(self) -> Result[bool]:
        """Give the lock back, if it still is ours."""
        return (await self._run(_RELEASE, self._token)).map(bool)

    @property
    def _milliseconds(self) -> int:
        return max(1, math.ceil(self.lease * 1000))

    async def _run(self, script: str, *arguments: bytes | int) -> Result[object]:
        # EVAL, not EVALSHA: Redis compiles a text once, and nothing has to be loaded again after a restart.
        return await self._wire.tell("EVAL", script, 2, *self._keys, *arguments)
