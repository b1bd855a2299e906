-- Which notes may be deleted? Those that all consumers had read $1 seconds ago.
UPDATE invalidation_outbox_state
SET trimmed_below = max(trimmed_below, COALESCE(next_below, 0)),
    next_below = (SELECT min(c.highest) FROM invalidation_outbox_consumer c),
    next_since = strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'
WHERE next_since IS NULL OR julianday(next_since) <= julianday('now') - $1 / 86400.0
