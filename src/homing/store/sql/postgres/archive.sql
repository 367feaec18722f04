-- Questions about messages. A message's dispatches are a range of keys: its id, then 0000 to fffe (ffff: incoming).

-- name: messages_by_id
-- Newest first.
SELECT m.id, m.app, m.ref, m.body, m.created_at, m.expires_at
FROM unnest($1::bytea[]) AS i(id) JOIN message AS m ON m.id = i.id ORDER BY m.id DESC;

-- name: dispatches_of
-- In the order of their keys: by message, then as the sender gave them.
SELECT d.key, d.recipient, d.text, d.app, d.identifier, d.message_ref, d.recipient_ref, d.fallback_ref,
  d.message, d.fallback, d.emitted, d.events, d.last_at, d.expires_at, d.mode, d.undelivered_at, d.unread_ms,
  d.delivered_at, d.fallback_at, d.sms_submitted_at
FROM unnest($1::bytea[]) AS i(id) JOIN dispatch AS d ON d.key >= i.id || '\x0000' AND d.key <= i.id || '\xfffe' ORDER BY d.key;

-- name: events_of
-- Of the same dispatches, in order.
SELECT e.key, e.n, e.status, e.at
FROM unnest($1::bytea[]) AS i(id) JOIN event AS e ON e.key >= i.id || '\x0000' AND e.key <= i.id || '\xfffe' ORDER BY e.key, e.n;

-- name: histories_of
-- Of the same dispatches, oldest first.
SELECT h.key, h.at, h.code, h.detail
FROM unnest($1::bytea[]) AS i(id) JOIN history AS h ON h.key >= i.id || '\x0000' AND h.key <= i.id || '\xfffe' ORDER BY h.at, h.id;

-- name: history
-- One dispatch's, oldest first; its numbers are each session's own, so time goes before them.
SELECT at, code, detail FROM history WHERE key = $1 ORDER BY at, id;

-- name: recipients_named
-- A user may have the same name in several applications; each look-up is one of the unique index.
SELECT r.id FROM app AS a JOIN recipient AS r ON r.app = a.id AND r.folded = $1
WHERE $2::bigint[] IS NULL OR a.id = ANY($2);

-- name: find_by_recipient
-- Messages to known users, newest first; the status is that of their own dispatch.
SELECT DISTINCT substr(d.key, 1, 16) AS id FROM dispatch AS d
WHERE d.recipient = ANY($5::bigint[]) AND d.key >= $1 AND d.key < $2
  AND ($3::text IS NULL OR d.message_ref = $3)
  AND ($4::bigint IS NULL OR (SELECT e.status FROM event AS e WHERE e.key = d.key AND e.n = d.events) = $4)
ORDER BY id DESC LIMIT $6;

-- part: whose_dispatches_fit
-- One of them has the status $4, if that is asked for, and goes to $6, if that is: a recipient who is no user. Of these
-- messages the newest $7.
  AND ($4::bigint IS NULL AND $6::text IS NULL OR EXISTS (
    SELECT 1 FROM dispatch AS d
    WHERE d.key >= m.id AND d.key < m.id || '\xffff'
      AND ($6 IS NULL OR d.recipient IS NULL AND lower(d.identifier) = lower($6 COLLATE "C"))
      AND ($4 IS NULL OR (SELECT e.status FROM event AS e WHERE e.key = d.key AND e.n = d.events) = $4)))
ORDER BY m.id DESC LIMIT $7;

-- name: find_by_ref
-- Messages with a sender's own id, newest first; one look into the index for each of its stretches of time.
WITH RECURSIVE stretch(start) AS (
  SELECT (SELECT substr(id, 1, 3) FROM message WHERE id < $2 ORDER BY id DESC LIMIT 1)
  UNION ALL
  SELECT (SELECT substr(id, 1, 3) FROM message WHERE id < stretch.start ORDER BY id DESC LIMIT 1) FROM stretch
  WHERE start > substr($1::bytea, 1, 3)
)
SELECT m.id FROM stretch JOIN message AS m ON substr(m.id, 1, 3) = stretch.start AND m.ref = $3::text
  AND m.id >= stretch.start AND m.id <= stretch.start || '\xffffffffffffffffffffffffff'
WHERE m.id >= $1 AND m.id < $2
  AND ($5::bigint[] IS NULL OR m.app = ANY($5))
-- put: whose_dispatches_fit

-- name: slice_end
-- Where a walk back through all messages pauses, so that no question keeps the others waiting.
SELECT id FROM (SELECT id FROM message WHERE id >= $1 AND id < $2 ORDER BY id DESC LIMIT $3) AS slice ORDER BY id LIMIT 1;

-- name: slice_end_of_app
-- The same along one application's own index.
SELECT id FROM (SELECT id FROM message WHERE app = $4 AND id >= $1 AND id < $2 ORDER BY id DESC LIMIT $3) AS slice
ORDER BY id LIMIT 1;

-- name: find_in_slice
-- Messages of one slice, newest first; the sixth value is the name of a recipient who is no user.
SELECT m.id FROM message AS m
WHERE m.id >= $1 AND m.id < $2 AND ($3::text IS NULL OR m.ref = $3)
  AND ($5::bigint[] IS NULL OR m.app = ANY($5))
-- put: whose_dispatches_fit

-- name: find_in_slice_of_app
-- The same along one application's own index: a quiet one's slice may span years of the others' messages.
SELECT m.id FROM message AS m
WHERE m.app = $5::bigint AND m.id >= $1 AND m.id < $2 AND ($3::text IS NULL OR m.ref = $3)
-- put: whose_dispatches_fit

-- name: identifiers
-- Whose dispatches these are; an incoming message is its sender's.
SELECT key, identifier FROM dispatch WHERE key BETWEEN $1 AND $2
UNION ALL SELECT $2, identifier FROM incoming WHERE id = $3;

-- name: lanes
-- What must still be told, for the first time or again. A deleted endpoint has none.
SELECT l.key, l.endpoint, e.uid, l.pending, l.tries, l.due FROM lane AS l JOIN endpoint AS e ON e.id = l.endpoint
WHERE l.key BETWEEN $1 AND $2 ORDER BY l.key, l.endpoint;

-- name: settled
-- What was told, or given up. Endpoints that were deleted since are left out: nobody could name them.
SELECT s.key, s.endpoint, e.uid, s.done, s.dead FROM settled AS s JOIN endpoint AS e ON e.id = s.endpoint
WHERE s.key BETWEEN $1 AND $2 ORDER BY s.key, s.endpoint;

-- name: attempts
-- An endpoint's log, newest first.
SELECT a.id, a.key, a.n, e.status, a.tries, a.at, a.took, a.code, a.error, a.address, a.answer, a.detail
FROM (SELECT * FROM attempt WHERE endpoint = $1 AND id < $2 ORDER BY id DESC LIMIT $3) AS a
LEFT JOIN event AS e ON e.key = a.key AND e.n = a.n ORDER BY a.id DESC;

-- name: inbox
-- A recipient's messages in the order they were accepted.
SELECT d.seq, d.key, d.message, d.text, m.body, m.created_at, d.expires_at
FROM (SELECT * FROM dispatch WHERE recipient = $1 AND seq > $2 ORDER BY seq LIMIT $3) AS d
JOIN message AS m ON m.id = substr(d.key, 1, 16) ORDER BY d.seq;

-- name: inbox_start
-- The state of a message whose time has run out may lag the clock.
SELECT coalesce(
  (SELECT seq - 1 FROM dispatch WHERE recipient = $1 AND message IN (1, 2) AND expires_at > $2 ORDER BY seq LIMIT 1),
  (SELECT seq FROM recipient WHERE id = $1), 0);

-- name: inbox_heads
-- For the heartbeat that finds lost hints.
SELECT id, seq FROM recipient WHERE id = ANY($1::bigint[]);

-- name: find_dispatches
-- By key, never along the recipient's index: a message has few dispatches, a person may have many messages.
SELECT d.key FROM unnest($1::bytea[]) AS i(id) JOIN dispatch AS d ON d.key >= i.id || '\x0000' AND d.key <= i.id || '\xfffe'
WHERE d.recipient + 0 = $2;

-- name: endings
-- 3 is read, 4 expired; by key, each in its own partition.
SELECT d.key, d.message FROM unnest($1::bytea[]) AS k(key) JOIN dispatch AS d ON d.key = k.key WHERE d.message IN (3, 4);

-- name: push_jobs
-- What a push says and to whom; a deleted application pushes nothing. OFFSET 0 has each looked up by its whole key.
SELECT d.key, d.app, a.mode, d.recipient, d.message, d.text, m.body, d.expires_at
FROM unnest($1::bytea[]) AS k(key)
CROSS JOIN LATERAL (SELECT * FROM dispatch WHERE dispatch.key = k.key OFFSET 0) AS d
CROSS JOIN LATERAL (SELECT body FROM message WHERE id = substr(k.key, 1, 16) AND message.app = d.app OFFSET 0) AS m
JOIN app AS a ON a.id = d.app WHERE d.recipient IS NOT NULL;

-- name: push_devices
-- The devices of these users that a push can wake.
SELECT d.id, d.recipient, d.app, r.identifier, d.name, d.platform, d.token_digest, d.push_platform, d.push_token,
  d.push_environment, d.cursor, d.created_at, d.last_seen_at
FROM unnest($1::bigint[]) AS u(recipient)
CROSS JOIN LATERAL (SELECT * FROM device WHERE device.recipient = u.recipient OFFSET 0) AS d
JOIN recipient AS r ON r.id = ANY(ARRAY[u.recipient]) WHERE d.push_token IS NOT NULL ORDER BY d.created_at, d.id;

-- name: sms_jobs
-- What an SMS says and to which number.
SELECT d.key, d.app, a.mode, a.fallback, d.fallback_ref, d.text, m.body,
  d.message, d.fallback, d.emitted, d.events, d.last_at, d.expires_at, d.mode, d.undelivered_at, d.unread_ms,
  d.delivered_at, d.fallback_at, d.sms_submitted_at
FROM unnest($1::bytea[]) AS k(key)
CROSS JOIN LATERAL (SELECT * FROM dispatch WHERE dispatch.key = k.key OFFSET 0) AS d
CROSS JOIN LATERAL (SELECT body FROM message WHERE id = substr(k.key, 1, 16) AND message.app = d.app OFFSET 0) AS m
JOIN app AS a ON a.id = d.app;

-- name: find_sms
-- By which dispatch an id at the carrier was used.
SELECT carrier_id, key FROM sms WHERE carrier = $1 AND carrier_id = ANY($2::text[]);

-- name: feed
-- Events in the order of their positions, up to where no commit can come behind; the application is the dispatch's.
SELECT e.position, e.key, d.app, e.n, e.status, e.at, d.identifier, d.message_ref, d.recipient_ref, d.fallback_ref
FROM (SELECT * FROM event WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3) AS e
JOIN dispatch AS d ON d.key = e.key ORDER BY e.position;

-- name: feed_incoming
-- Messages from devices among them, up to where the events were read.
SELECT position, id, app, at, identifier, text, channel, in_reply_to FROM incoming
WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3;

-- name: feed_head
-- The last position of either kind up to there.
SELECT greatest((SELECT max(position) FROM event WHERE position <= $1),
  (SELECT max(position) FROM incoming WHERE position <= $1), 0);

-- name: first_accept_from
-- When the first dispatch at or behind a position began, up to another; for finding an instant by halves.
SELECT position, at FROM event WHERE position >= $1 AND position <= $2 AND n = 1 ORDER BY position LIMIT 1;

-- name: first_from
-- The first position behind one, up to another, at which something of an instant or later stands, of either kind.
SELECT least(
  (SELECT position FROM event WHERE position > $1 AND position <= $2 AND at >= $3 ORDER BY position LIMIT 1),
  (SELECT position FROM incoming WHERE position > $1 AND position <= $2 AND at >= $3 ORDER BY position LIMIT 1));

-- name: oldest_transaction
-- Since when the oldest transaction of a node of ours has been running, in ms; asked before the feed is read.
SELECT (extract(epoch FROM min(xact_start)) * 1000)::bigint FROM pg_stat_activity
WHERE application_name = 'homing' AND datname = current_database() AND pid <> pg_backend_pid();

-- name: dead
-- What was given up at an endpoint, the newest message first.
SELECT d.key, coalesce(p.identifier, i.identifier, ''), d.n, e.status, d.at, d.reason
FROM (SELECT * FROM dead WHERE endpoint = $1 AND (key, n) < ($2::bytea, $3::bigint) ORDER BY key DESC, n DESC LIMIT $4) AS d
LEFT JOIN event AS e ON e.key = d.key AND e.n = d.n
LEFT JOIN dispatch AS p ON p.key = d.key LEFT JOIN incoming AS i ON i.id = substr(d.key, 1, 16)
ORDER BY d.key DESC, d.n DESC;

-- name: dead_groups
-- Counted along the table's own order.
SELECT d.reason, e.status, count(*), min(d.at), max(d.at)
FROM dead AS d LEFT JOIN event AS e ON e.key = d.key AND e.n = d.n
WHERE d.endpoint = $1 GROUP BY d.reason, e.status ORDER BY 3 DESC, d.reason COLLATE "C", e.status NULLS FIRST;

-- name: app_of
-- Whose a message is, sent or received.
SELECT app FROM message WHERE id = $1 UNION ALL SELECT app FROM incoming WHERE id = $1 LIMIT 1;
