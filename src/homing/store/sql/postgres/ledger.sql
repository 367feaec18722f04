-- The hot path: what one batch loads, locks and writes; each statement once a batch, its rows as arrays.
-- Locks are taken in one order: idempotency, app, recipient, dispatch, endpoint, lane, command, each sorted by its key.
-- What is written when all is loaded goes as one statement (`homing.store.sql.joined`).
-- What is looked up by key is joined from the arrays, so that only the partition of each key is opened. The first column
-- of a key is asked for as `= ANY(ARRAY[…])`, which is `=` and no condition to merge by: else the planner, where it takes
-- a table for empty, walks its whole index beside the arrays, and goes on doing so when there are millions.

-- name: take_keys
-- First of all: whoever comes second with the same key waits here for the first. What is older than a day is as none.
INSERT INTO idempotency(scope, key, digest, answer, at)
SELECT scope, key, digest, ''::bytea, $4 FROM unnest($1::text[], $2::text[], $3::bytea[]) AS k(scope, key, digest)
ON CONFLICT(scope, key) DO UPDATE SET digest = excluded.digest, answer = ''::bytea, at = excluded.at
WHERE idempotency.at <= $5
RETURNING scope, key;

-- name: kept_answers
SELECT i.scope, i.key, i.digest, i.answer FROM unnest($1::text[], $2::text[]) AS k(scope, key)
JOIN idempotency AS i ON i.scope = ANY(ARRAY[k.scope]) AND i.key = k.key WHERE i.at > $3;

-- name: set_answers
UPDATE idempotency AS i SET answer = k.answer FROM unnest($1::text[], $2::text[], $3::bytea[]) AS k(scope, key, answer)
WHERE i.scope = ANY(ARRAY[k.scope]) AND i.key = k.key;

-- name: give_keys_back
DELETE FROM idempotency AS i USING unnest($1::text[], $2::text[]) AS k(scope, key)
WHERE i.scope = ANY(ARRAY[k.scope]) AND i.key = k.key;

-- name: drop_old_answers
-- A few at a time, as many as come; what another node is dropping is left to it.
WITH old AS (SELECT scope, key FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM idempotency AS i USING old WHERE i.scope = ANY(ARRAY[old.scope]) AND i.key = old.key;

-- name: load_apps
-- Kept from being deleted until this batch is stored. The parent of all weeks has no rows of its own: naming it here takes
-- its lock, before that of the dispatches, in the order in which a week is dropped; else neither would ever go first.
SELECT id, name, mode, ttl_s, fallback, app_key, created_at FROM app
WHERE id = ANY($1::bigint[]) AND NOT EXISTS (SELECT 1 FROM ONLY message) ORDER BY id FOR KEY SHARE OF app;

-- name: load_targets
-- Which endpoints hear of an application's events is read inside the transaction, never from a cache; and none of them
-- can be deleted, and its lanes with it, before the lanes of this batch are there to be deleted too.
SELECT app, id, kind, statuses, is_ordered FROM endpoint
WHERE app = ANY($1::bigint[]) AND state <> 'disabled' AND kind IN ('status', 'inbox') ORDER BY id FOR KEY SHARE;

-- name: number_messages
-- The recipients' counters move on under their locks: the order of these locks is the order of a recipient's messages.
-- The `+ 0` keeps an index of ids from being walked for their order.
WITH named AS (
  SELECT r.id, n.count FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS n(app, folded, count)
  JOIN recipient AS r ON r.app = ANY(ARRAY[n.app]) AND r.folded = n.folded
  ORDER BY r.id + 0 FOR NO KEY UPDATE OF r
)
UPDATE recipient AS r SET seq = r.seq + named.count FROM named WHERE r.id = ANY(ARRAY[named.id])
RETURNING r.app, r.folded, r.id, r.identifier, r.mobile_number, r.seq - named.count, r.wakeable,
  EXISTS (SELECT 1 FROM link WHERE link.recipient = r.id);

-- name: load_dispatches
SELECT d.key, d.recipient, d.app, d.identifier, d.message_ref, d.recipient_ref, d.fallback_ref, d.notify, d.timer_at,
  d.notify_endpoint, d.message, d.fallback, d.emitted, d.events, d.last_at, d.expires_at, d.mode, d.undelivered_at,
  d.unread_ms, d.delivered_at, d.fallback_at, d.sms_submitted_at
FROM unnest($1::bytea[]) AS k(key) JOIN dispatch AS d ON d.key = ANY(ARRAY[k.key])
ORDER BY k.key FOR NO KEY UPDATE OF d;

-- name: load_lanes
-- The newest of each row, under its lock: whether a lane holds more is decided from this and from nothing else. The two
-- parents are named for the order of their locks, as in load_apps: attempts are written before facts are looked up.
SELECT l.key, l.endpoint, l.pending, l.tries, l.due, l.owner, l.job
FROM unnest($1::bytea[]) AS k(key) JOIN lane AS l ON l.key = ANY(ARRAY[k.key])
WHERE (l.endpoint = ANY($2::bigint[]) OR l.key = ANY($3::bytea[]))
  AND NOT EXISTS (SELECT 1 FROM ONLY dispatch) AND NOT EXISTS (SELECT 1 FROM ONLY event) ORDER BY k.key, l.endpoint
FOR UPDATE OF l;

-- name: add_lanes
INSERT INTO lane(key, endpoint, pending, tries, due, owner, job)
SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]);

-- name: set_lanes
UPDATE lane AS l SET pending = n.pending, tries = n.tries, due = n.due, owner = n.owner, job = n.job
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
  AS n(key, endpoint, pending, tries, due, owner, job)
WHERE l.key = ANY(ARRAY[n.key]) AND l.endpoint = n.endpoint;

-- name: drop_lanes
DELETE FROM lane AS l USING unnest($1::bytea[], $2::bigint[]) AS n(key, endpoint)
WHERE l.key = ANY(ARRAY[n.key]) AND l.endpoint = n.endpoint;

-- name: add_attempts
INSERT INTO attempt(endpoint, key, n, tries, at, took, code, error, address, answer, detail)
SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
  $8::text[], $9::text[], $10::bytea[], $11::bytea[]);

-- name: add_settled
-- An event is one of pending, done and dead: what was given up before a late success came stays so, and the other way.
INSERT INTO settled AS s (key, endpoint, done, dead)
SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[])
ON CONFLICT(key, endpoint) DO UPDATE SET done = s.done | (excluded.done & ~s.dead),
  dead = s.dead | (excluded.dead & ~s.done);

-- name: redeem
-- What was given up is told after all.
INSERT INTO settled AS s (key, endpoint, done, dead)
SELECT key, endpoint, done, 0 FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS n(key, endpoint, done)
ON CONFLICT(key, endpoint) DO UPDATE SET done = s.done | excluded.done, dead = s.dead & ~excluded.done;

-- name: drop_dead
-- With it.
DELETE FROM dead AS d USING unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS n(key, endpoint, n)
WHERE d.endpoint = ANY(ARRAY[n.endpoint]) AND d.key = ANY(ARRAY[n.key]) AND d.n = n.n;

-- name: add_dead
-- Not what was told before: a replay of it that came to nothing takes nothing back.
INSERT INTO dead(key, endpoint, n, at, reason)
SELECT g.key, g.endpoint, g.n, $5, g.reason
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[]) AS g(key, endpoint, n, reason)
WHERE NOT EXISTS (SELECT 1 FROM settled AS s
  WHERE s.key = ANY(ARRAY[g.key]) AND s.endpoint = g.endpoint AND s.done >> (g.n - 1)::integer & 1 = 1) ON CONFLICT DO NOTHING;

-- name: endpoint_names
SELECT id, app, uid FROM endpoint WHERE id = ANY($1::bigint[]);

-- name: drop_operations
-- Everyone who was to hear of it has, or never will.
DELETE FROM operation WHERE id = ANY($1::bytea[])
AND NOT EXISTS (SELECT 1 FROM lane WHERE lane.key = ANY(ARRAY[operation.id || '\xfffe']));

-- name: end_commands
-- They were carried out, or nobody wants them any more: whoever owns them by now.
DELETE FROM command AS c USING (
  SELECT c.key, c.kind FROM unnest($1::bytea[], $2::bigint[]) AS n(key, kind)
  JOIN command AS c ON c.key = ANY(ARRAY[n.key]) AND c.kind = n.kind
  ORDER BY n.key, n.kind FOR UPDATE OF c) AS n
WHERE c.key = ANY(ARRAY[n.key]) AND c.kind = n.kind;

-- name: give_up_commands
-- Only their owner may say so, and only from where they stood.
DELETE FROM command AS c USING (
  SELECT c.key, c.kind, n.owner, n.tries
  FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[]) AS n(key, kind, owner, tries)
  JOIN command AS c ON c.key = ANY(ARRAY[n.key]) AND c.kind = n.kind
    AND c.owner = n.owner AND c.due IS NULL AND c.tries = n.tries
  ORDER BY n.key, n.kind FOR UPDATE OF c) AS n
WHERE c.key = ANY(ARRAY[n.key]) AND c.kind = n.kind AND c.owner = n.owner AND c.due IS NULL AND c.tries = n.tries;

-- name: put_off_commands
-- Likewise.
UPDATE command AS c SET tries = n.tries + 1, due = n.due, owner = 0, detail = n.detail FROM (
  SELECT c.key, c.kind, n.owner, n.tries, n.due, n.detail
  FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
    AS n(key, kind, owner, tries, due, detail)
  JOIN command AS c ON c.key = ANY(ARRAY[n.key]) AND c.kind = n.kind
    AND c.owner = n.owner AND c.due IS NULL AND c.tries = n.tries
  ORDER BY n.key, n.kind FOR UPDATE OF c) AS n
WHERE c.key = ANY(ARRAY[n.key]) AND c.kind = n.kind AND c.owner = n.owner AND c.due IS NULL AND c.tries = n.tries;

-- name: add_commands
INSERT INTO command(key, kind, due, owner) SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[])
ON CONFLICT DO NOTHING;

-- name: note_commit
-- A row that only this node writes: by it a node knows whether a server has all that it acknowledged (ADR 0010).
INSERT INTO meta(name, number) SELECT 'commits:' || epoch, number FROM unnest($1::bigint[], $2::bigint[]) AS c(epoch, number)
ON CONFLICT(name) DO UPDATE SET number = excluded.number;

-- name: add_messages
INSERT INTO message(id, app, ref, body, created_at, expires_at)
SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[]);

-- name: add_dispatches
INSERT INTO dispatch(key, app, recipient, seq, identifier, message_ref, recipient_ref, fallback_ref, text, timer_at,
  notify_endpoint, notify, message, fallback, emitted, events, last_at, expires_at, mode, undelivered_at, unread_ms,
  delivered_at, fallback_at, sms_submitted_at)
SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
  $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[],
  $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[],
  $23::bigint[], $24::bigint[]);

-- name: set_states
UPDATE dispatch AS d SET timer_at = n.timer_at, message = n.message, fallback = n.fallback, emitted = n.emitted,
  events = n.events, last_at = n.last_at, expires_at = n.expires_at, mode = n.mode, undelivered_at = n.undelivered_at,
  unread_ms = n.unread_ms, delivered_at = n.delivered_at, fallback_at = n.fallback_at,
  sms_submitted_at = n.sms_submitted_at
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
  $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[])
  AS n(key, timer_at, message, fallback, emitted, events, last_at, expires_at, mode, undelivered_at, unread_ms,
    delivered_at, fallback_at, sms_submitted_at)
WHERE d.key = ANY(ARRAY[n.key]);

-- name: add_events
INSERT INTO event(key, n, status, at, position)
SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]);

-- name: add_timers
INSERT INTO timer(at, key) SELECT * FROM unnest($1::bigint[], $2::bytea[]) ON CONFLICT DO NOTHING;

-- name: drop_timers
DELETE FROM timer AS t USING unnest($1::bigint[], $2::bytea[]) AS n(at, key)
WHERE t.at = ANY(ARRAY[n.at]) AND t.key = n.key;

-- name: add_history
INSERT INTO history(key, at, code, detail) SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::text[]);

-- name: add_sms
INSERT INTO sms(carrier, carrier_id, key, at) SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[])
ON CONFLICT(carrier, carrier_id) DO UPDATE SET key = excluded.key, at = excluded.at;

-- name: add_incoming
-- Two nodes may be told the same by one device: the first stays.
INSERT INTO incoming(id, app, recipient, identifier, device, client_ref, text, channel, in_reply_to, at, position)
SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
  $8::text[], $9::bytea[], $10::bigint[], $11::bigint[])
ON CONFLICT(device, client_ref) WHERE client_ref IS NOT NULL DO NOTHING RETURNING id;

-- name: same_incomings
SELECT n.device, n.client_ref, i.id FROM unnest($1::text[], $2::text[]) AS n(device, client_ref) CROSS JOIN LATERAL
  (SELECT id FROM incoming WHERE incoming.device = n.device AND incoming.client_ref = n.client_ref LIMIT 1) AS i;
