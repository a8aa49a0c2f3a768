"""What Redis does in one step for circuits that many processes share.

A circuit's state is a hash: `era` and `number`, which together are its version, `state` (OPEN or CLOSED),
`until`, when it may be tried again (empty: when somebody closes it by hand), and `turns`, how often the lead
has changed hands. There is none while it never opened. Beside it lie the moments of the last failures, the
counts of calls by steps of time for rates, and who leads: the one process that may send probes now. All
times are of the server's own clock. A change that was decided on an older version than the present one is
not made: its author is told how things are instead.

Each script answers {era, number, state, milliseconds left or -1, done, turns, wanted}.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CHANGE", "LEAD", "RELEASE", "REPORT"]

# KEYS: state, failures, counts, leader, who wants to lead.
# ARGV: the version that is known, an era for a new state, the process, the channel, the circuit's name.
_BEGIN: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = redis.call('HMGET', KEYS[1], 'era', 'number', 'state', 'until', 'turns')
local known = at[1] and ARGV[1] == at[1] .. ' ' .. at[2]

local function left()
  if at[4] == '' then return -1 end
  return math.max(0, (tonumber(at[4]) or 0) - now)
end

local function answer(done, wanted)
  return {at[1], tonumber(at[2] or 0), at[3], left(), done, tonumber(at[5] or 0), wanted or 0}
end

local function enter(state, ends)
  at = {at[1] or ARGV[2], tonumber(at[2] or 0) + 1, state, ends, 0}
  redis.call('HSET', KEYS[1], 'era', at[1], 'number', at[2], 'state', state, 'until', ends, 'turns', 0)
  if ends == '' then redis.call('PERSIST', KEYS[1])
  else redis.call('PEXPIRE', KEYS[1], 86400000 + left()) end
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  redis.call('PUBLISH', ARGV[4], cjson.encode({ARGV[5], at[1], at[2], state, left(), ARGV[3]}))
end
"""

# ARGV: the state, milliseconds until it may be tried again or -1, whether somebody did it by hand.
CHANGE: Final = (
    _BEGIN
    + """
local by_hand = ARGV[8] == '1'
if not at[1] and ARGV[6] == 'CLOSED' and not by_hand then return answer(1) end
if known and at[3] == 'CLOSED' and ARGV[6] == 'CLOSED' then return answer(1) end
if at[1] and not by_hand then
  local leader = redis.call('GET', KEYS[4])
  if not known or (leader and leader ~= ARGV[3]) then return answer(0) end
end
local ends = 0
if ARGV[6] == 'OPEN' then
  if ARGV[7] == '-1' then ends = '' else ends = now + ARGV[7] end
end
enter(ARGV[6], ends)
return answer(1)
"""
)

# ARGV: calls, failed calls, slow calls; the options: threshold (0: a rate decides), period in ms, failure
# rate, minimum of calls, slow rate (0: none), reset timeout in ms.
REPORT: Final = (
    _BEGIN
    + """
if at[1] and (not known or at[3] ~= 'CLOSED') then return answer(0) end
local threshold, period = tonumber(ARGV[9]), tonumber(ARGV[10])
local too_many = false
if threshold > 0 then
  for _ = 1, math.min(tonumber(ARGV[7]), threshold) do redis.call('RPUSH', KEYS[2], now) end
  redis.call('LTRIM', KEYS[2], -threshold, -1)
  redis.call('PEXPIRE', KEYS[2], period)
  if redis.call('LLEN', KEYS[2]) == threshold then
    too_many = now - redis.call('LINDEX', KEYS[2], 0) < period
  end
end
local failure_rate, slow_rate = tonumber(ARGV[11]), tonumber(ARGV[13])
if failure_rate > 0 or slow_rate > 0 then
  local step = math.floor(now * 20 / period)
  for index, kind in ipairs({'c', 'f', 's'}) do
    redis.call('HINCRBY', KEYS[3], kind .. step, ARGV[5 + index])
  end
  redis.call('PEXPIRE', KEYS[3], period * 2)
  local sums = {c = 0, f = 0, s = 0}
  local all = redis.call('HGETALL', KEYS[3])
  for index = 1, #all, 2 do
    local kind, moment = string.sub(all[index], 1, 1), tonumber(string.sub(all[index], 2))
    if moment > step - 20 then sums[kind] = sums[kind] + all[index + 1]
    else redis.call('HDEL', KEYS[3], all[index]) end
  end
  if sums.c >= tonumber(ARGV[12]) then
    too_many = too_many or (failure_rate > 0 and sums.f / sums.c >= failure_rate)
    too_many = too_many or (slow_rate > 0 and sums.s / sums.c >= slow_rate)
  end
end
if too_many then enter('OPEN', now + ARGV[14]) end
return answer(1)
"""
)

# ARGV: the lease in ms, whether calls were turned away here.
LEAD: Final = (
    _BEGIN
    + """
if not at[1] then enter('OPEN', now)
elseif not known or at[3] ~= 'OPEN' or at[4] == '' or now < tonumber(at[4]) then return answer(0) end
local leader = redis.call('GET', KEYS[4])
if leader == ARGV[3] then
  redis.call('PEXPIRE', KEYS[4], ARGV[6])
  return answer(1, redis.call('EXISTS', KEYS[5]))
end
if leader then
  if ARGV[7] == '1' then redis.call('SET', KEYS[5], ARGV[3], 'PX', ARGV[6]) end
  return answer(0)
end
redis.call('SET', KEYS[4], ARGV[3], 'PX', ARGV[6])
redis.call('DEL', KEYS[5])
at[5] = redis.call('HINCRBY', KEYS[1], 'turns', 1)
return answer(1)
"""
)

RELEASE: Final = (
    _BEGIN
    + """
if redis.call('GET', KEYS[4]) == ARGV[3] then redis.call('DEL', KEYS[4]) end
return answer(1)
"""
)
