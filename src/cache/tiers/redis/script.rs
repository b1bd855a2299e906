//! The two scripts. Each is one round trip and atomic; the keys it touches share one slot.
//!
//! The index is a sorted set of `strategy:data_hash` (strategy 0: none), scored by the time in
//! milliseconds at which the record expires by Redis' own clock, so that it never outgrows what lives.
//! A key of ours that holds another type is garbage and is replaced.

/// KEYS: record, index. ARGV: the record, its life in milliseconds, its member in the index.
/// Compares the fixed places at the records' starts (record.rs); 1 if it was stored.
pub(super) const PUT: &str = r"
local old = redis.pcall('GETRANGE', KEYS[1], 0, 25)
local new = string.sub(ARGV[1], 1, 26)
local same_layout_and_log = type(old) == 'string' and #old == 26
  and string.sub(old, 1, 5) == string.sub(new, 1, 5) and string.sub(old, 19) == string.sub(new, 19)
if same_layout_and_log then
  local was_complete, is_complete = string.byte(old, 10) % 2, string.byte(new, 10) % 2
  if struct.unpack('>i8', new, 11) < struct.unpack('>i8', old, 11) or is_complete < was_complete then
    return 0
  end
end
-- Order: the record first. A Redis without memory refuses a script at its first write only, and only
-- if that write takes memory.
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local life = tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('TYPE', KEYS[2]).ok ~= 'zset' then
  redis.call('DEL', KEYS[2])
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], string.format('%.0f', now + life), ARGV[3])
if redis.call('PTTL', KEYS[2]) < life then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return 1
";

/// KEYS: index. ARGV: what the names of the user's records begin with, then the strategies meant; none: all.
/// The records' names are made here, which a cluster allows because they share the index's slot.
pub(super) const REMOVE: &str = r"
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
  return 0
end
local removed = 0
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local strategy, hash = string.match(member, '^(%d+):(%x+)$')
  if #ARGV == 1 or strategy == ARGV[2] or strategy == ARGV[3] then
    removed = removed + redis.call('UNLINK', ARGV[1] .. hash)
    redis.call('ZREM', KEYS[1], member)
  end
end
return removed
";
