//! The scripts. Each is one round trip and atomic, and its keys share one slot.
//!
//! The index is a sorted set of `strategy:data_hash` (strategy 0: none). The score is the record's expiry in milliseconds
//! by Redis' own clock, so that expired members are removed. A key of ours with a value of another type is replaced.

/// KEYS: record, index. ARGV: the record, its TTL in milliseconds, its member in the index, the position of the key's last
/// invalidation. Compares the fixed-size heads of the records (record.rs). Returns 1 if it stored the record.
///
/// A record that an invalidation has outdated never stands in the way. Between valid ones the position in the log decides,
/// and the wall clock, which may step back, only between equal positions. Lua's numbers are exact up to 2^53.
pub(super) const PUT: &str = r"
local old = redis.pcall('GETRANGE', KEYS[1], 0, 33)
local new = string.sub(ARGV[1], 1, 34)
local same_layout_and_log = type(old) == 'string' and #old == 34
  and string.sub(old, 1, 5) == string.sub(new, 1, 5) and string.sub(old, 27) == string.sub(new, 27)
if same_layout_and_log then
  local was_at, is_at = struct.unpack('>i8', old, 19), struct.unpack('>i8', new, 19)
  local was_complete, is_complete = string.byte(old, 10) % 2, string.byte(new, 10) % 2
  local is_older = is_at < was_at
    or is_at == was_at and struct.unpack('>i8', new, 11) < struct.unpack('>i8', old, 11)
  if was_at >= tonumber(ARGV[4]) and (is_older or is_complete < was_complete) then
    return 0
  end
end
-- Order: the record first. A Redis without memory refuses a script only at its first write, and only
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

/// KEYS: index. ARGV: the common prefix of the user's keys, then the strategies to remove; without any, all.
/// The script computes the records' keys. A cluster allows that because they share the index's slot.
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

/// KEYS: the witness of an epoch. Returns position, nonce, and whether the epoch has ended. A value of another type is none.
pub(super) const WITNESS: &str = r"
local held = redis.pcall('HMGET', KEYS[1], 'position', 'nonce', 'ended')
if held.err then
  return {}
end
return held
";

/// KEYS: the witness of an epoch. ARGV: the position and the nonce of an entry, those of an entry that is known to be of
/// the same log, and the life in milliseconds. Raises the witness to the first entry and returns nothing, if it stands at
/// one of the two or nowhere. Otherwise it returns what stands there.
pub(super) const RAISE_WITNESS: &str = r"
local held = redis.pcall('HMGET', KEYS[1], 'position', 'nonce', 'ended')
if held.err then
  redis.call('UNLINK', KEYS[1])
  held = {}
end
local is = function (n) return held[1] == ARGV[n] and held[2] == ARGV[n + 1] end
if held[3] or held[1] and not is(1) and not is(3) then
  return held
end
redis.call('HSET', KEYS[1], 'position', ARGV[1], 'nonce', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return false
";

/// KEYS: the witness of an epoch. ARGV: its life in milliseconds.
pub(super) const END_WITNESS: &str = r"
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  redis.call('UNLINK', KEYS[1])
end
redis.call('HSET', KEYS[1], 'ended', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
";
