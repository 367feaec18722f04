-- The hot path: what one batch loads and writes. Every statement touches rows by key.

-- name: add_attempt
INSERT INTO attempt(endpoint, key, n, tries, at, took, code, error, address, answer, detail)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: drain_lane
-- The last pending event is settled. That nothing else is pending is this guard's to say, nobody else's.
DELETE FROM lane WHERE key = ?1 AND endpoint = ?2 AND pending = ?3;

-- name: clear_bit
-- An event was told; whoever owns the lane now, it is not pending any more. The next one has tries of its own.
UPDATE lane SET pending = pending & ~?3, tries = CASE WHEN pending & (?3 - 1) THEN tries ELSE 0 END
WHERE key = ?1 AND endpoint = ?2 AND pending & ?3;

-- name: give_up_bit
-- An event is dead. Only the lane's owner may say so, and only from where it stood.
UPDATE lane SET pending = pending & ~?3, tries = 0
WHERE key = ?1 AND endpoint = ?2 AND pending & ?3 AND owner = ?4 AND due IS NULL AND tries = ?5;

-- name: drop_drained
-- Nothing is pending any more.
DELETE FROM lane WHERE key = ? AND endpoint = ? AND pending = 0;

-- name: lane_pending
SELECT pending, job FROM lane WHERE key = ? AND endpoint = ? AND owner = ? AND due IS NULL;

-- name: put_off
-- A try failed: the lane is let go until its next one. Only its owner may do so, and only from where it stood.
UPDATE lane SET tries = ?4 + 1, due = ?3, owner = 0
WHERE key = ?1 AND endpoint = ?2 AND owner = ?5 AND due IS NULL AND tries = ?4 AND pending & ?6;

-- name: let_wait
-- No try was spent: the endpoint rests or is paused. Only the lane's owner may let it go.
UPDATE lane SET due = ?3, owner = 0
WHERE key = ?1 AND endpoint = ?2 AND owner = ?5 AND due IS NULL AND tries = ?4 AND pending & ?6;

-- name: add_done
-- What was given up before a late success came stays so: an event is one of pending, done and dead.
INSERT INTO settled(key, endpoint, done, dead) VALUES (?, ?, ?, 0)
ON CONFLICT(key, endpoint) DO UPDATE SET done = done | (excluded.done & ~dead);

-- name: add_given_up
INSERT INTO settled(key, endpoint, done, dead) VALUES (?, ?, 0, ?)
ON CONFLICT(key, endpoint) DO UPDATE SET dead = dead | (excluded.dead & ~done);

-- name: add_dead
-- Not what was told before: a replay of it that came to nothing takes nothing back.
INSERT INTO dead(key, endpoint, n, at, reason) SELECT ?1, ?2, ?3, ?4, ?5
WHERE NOT EXISTS (SELECT 1 FROM settled WHERE key = ?1 AND endpoint = ?2 AND done & ?6) ON CONFLICT DO NOTHING;

-- name: endpoint_name
SELECT app, uid FROM endpoint WHERE id = ?;

-- name: drop_operation
-- Everyone who was to hear of it has, or never will.
DELETE FROM operation WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM lane WHERE key = ?2);

-- name: end_command
-- It was carried out, or nobody wants it any more: whoever owns it by now.
DELETE FROM command WHERE key = ? AND kind = ?;

-- name: give_up_command
-- Only its owner may say so, and only from where it stood.
DELETE FROM command WHERE key = ? AND kind = ? AND owner = ? AND due IS NULL AND tries = ?;

-- name: put_off_command
-- Likewise.
UPDATE command SET tries = ?4 + 1, due = ?5, owner = 0, detail = ?6
WHERE key = ?1 AND kind = ?2 AND owner = ?3 AND due IS NULL AND tries = ?4;

-- name: first_answer
SELECT digest, answer FROM idempotency WHERE scope = ? AND key = ? AND at > ?;

-- name: keep_answer
-- A row older than a day is as good as none.
INSERT INTO idempotency(scope, key, digest, answer, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT(scope, key) DO UPDATE SET digest = excluded.digest, answer = excluded.answer, at = excluded.at;

-- name: load_app
SELECT id, name, mode, ttl_s, fallback, app_key, created_at FROM app WHERE id = ?;

-- name: load_targets
-- Which endpoints hear of an application's events is read inside the transaction, never from a cache.
SELECT id, kind, statuses, options ->> 'ordered' IS NOT 0 FROM endpoint
WHERE app = ? AND state <> 'disabled' AND kind IN ('status', 'inbox') ORDER BY id;

-- name: load_recipient
SELECT id, identifier, mobile_number, seq, wakeable FROM recipient WHERE app = ? AND folded = ?;

-- name: load_recipients
-- Many at once, in the order they were named in; NULLs for those who are unknown.
SELECT r.id, r.identifier, r.mobile_number, r.seq, r.wakeable
FROM json_each(?2) AS j LEFT JOIN recipient AS r ON r.app = ?1 AND r.folded = j.value ORDER BY j.key;

-- name: load_dispatch
SELECT recipient, app, identifier, message_ref, recipient_ref, fallback_ref, notify, timer_at, notify_endpoint, message, fallback, emitted,
  events, last_at, expires_at, mode, undelivered_at, unread_ms, delivered_at, fallback_at, sms_submitted_at
FROM dispatch WHERE key = ?;

-- name: load_lanes
SELECT endpoint, due IS NULL AND owner = ?2 FROM lane WHERE key = ?1;

-- name: add_message
INSERT INTO message(id, app, ref, body, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?);

-- name: add_dispatch
INSERT INTO dispatch(key, app, recipient, seq, identifier, message_ref, recipient_ref, fallback_ref, text, timer_at,
  notify_endpoint, notify, message, fallback, emitted, events, last_at, expires_at, mode, undelivered_at, unread_ms,
  delivered_at, fallback_at, sms_submitted_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: set_state
UPDATE dispatch SET timer_at = ?2, message = ?3, fallback = ?4, emitted = ?5, events = ?6, last_at = ?7,
  expires_at = ?8, mode = ?9, undelivered_at = ?10, unread_ms = ?11, delivered_at = ?12, fallback_at = ?13,
  sms_submitted_at = ?14
WHERE key = ?1;

-- name: set_seq
UPDATE recipient SET seq = ?2 WHERE id = ?1;

-- name: add_event
INSERT INTO event(key, n, status, at, position) VALUES (?, ?, ?, ?, ?);

-- name: last_position
SELECT value FROM meta WHERE name = 'position';

-- name: set_position
INSERT INTO meta(name, value) VALUES ('position', ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value;

-- name: add_lane
INSERT INTO lane(key, endpoint, pending, due, owner) VALUES (?, ?, ?, ?, ?);

-- name: add_bits
UPDATE lane SET pending = pending | ?1 WHERE key = ?2 AND endpoint = ?3;

-- name: add_command
INSERT INTO command(key, kind, due, owner) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: add_timer
INSERT INTO timer(at, key) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: drop_timer
DELETE FROM timer WHERE at = ? AND key = ?;

-- name: add_history
INSERT INTO history(key, at, code, detail) VALUES (?, ?, ?, ?);

-- name: add_sms
INSERT INTO sms(carrier, carrier_id, key, at) VALUES (?, ?, ?, ?)
ON CONFLICT(carrier, carrier_id) DO UPDATE SET key = excluded.key, at = excluded.at;

-- name: add_incoming
INSERT INTO incoming(id, app, recipient, identifier, device, client_ref, text, channel, in_reply_to, at, position)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: same_incoming
SELECT id FROM incoming WHERE device = ? AND client_ref = ?;

-- name: drop_old_answers
-- A few at a time, as many as come: the table never grows beyond a day's keys, and no commit pays for a day at once.
DELETE FROM idempotency WHERE (scope, key) IN (SELECT scope, key FROM idempotency WHERE at < ? ORDER BY at LIMIT ?);
