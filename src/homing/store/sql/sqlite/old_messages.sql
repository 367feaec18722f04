-- Messages whose time is over, and what keeps them. A message's rows lie between its id and its id with ff behind it.

-- name: sent
-- The next few, along their ids, which ascend with time.
SELECT id FROM message WHERE id > ? AND id < ? ORDER BY id LIMIT ?;

-- name: from_devices
SELECT id FROM incoming WHERE id > ? AND id < ? ORDER BY id LIMIT ?;

-- name: lane
-- What must still be told of them.
SELECT DISTINCT substr(key, 1, 16) FROM lane WHERE key BETWEEN ? AND ?;

-- name: command
SELECT DISTINCT substr(key, 1, 16) FROM command WHERE key BETWEEN ? AND ?;

-- name: timer
-- A dispatch knows its own deadline; the other table is in the order of time.
SELECT DISTINCT substr(key, 1, 16) FROM dispatch WHERE key BETWEEN ? AND ? AND timer_at IS NOT NULL;

-- name: job
-- A replay that is not through walks upwards from its cursor, or from 30 days before the time it is about.
SELECT 1 FROM job WHERE state IN ('running', 'paused') AND NOT is_walked AND CASE
  WHEN cursor IS NOT NULL THEN cursor < :bound
  WHEN spec ->> 'message' IS NOT NULL THEN TRUE
  ELSE coalesce(spec ->> 'since_ms', 0) - 2592000000 < :before END LIMIT 1;

-- name: idempotency
-- Whoever repeats a key within its day is answered with what the first request made.
SELECT 1 FROM idempotency WHERE at > :since AND at < :before LIMIT 1;

-- name: dead
-- What was given up of them, by way of what was settled: dead letters lie in the order of their endpoints.
SELECT endpoint, key FROM settled WHERE key BETWEEN ? AND ? AND dead <> 0;

-- name: drop_dead
DELETE FROM dead WHERE endpoint = ? AND key = ?;

-- name: sms
-- The next few, in the table's own order.
SELECT carrier, carrier_id, key FROM sms WHERE (carrier, carrier_id) > (?, ?) ORDER BY carrier, carrier_id LIMIT ?;

-- name: is_there
SELECT 1 FROM message WHERE id = ?;

-- name: drop_sms
DELETE FROM sms WHERE carrier = ? AND carrier_id = ?;

-- name: drop_dispatches
DELETE FROM dispatch WHERE key BETWEEN ? AND ?;

-- name: drop_events
DELETE FROM event WHERE key BETWEEN ? AND ?;

-- name: drop_history
DELETE FROM history WHERE key BETWEEN ? AND ?;

-- name: drop_settled
DELETE FROM settled WHERE key BETWEEN ? AND ?;

-- name: drop_sent
DELETE FROM message WHERE id = ?;

-- name: drop_from_devices
DELETE FROM incoming WHERE id = ?;
