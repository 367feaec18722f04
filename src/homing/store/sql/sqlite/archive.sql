-- Questions about messages. A message's dispatches are a range of keys: its id, then 0000 to fffe (ffff: incoming).

-- name: messages_by_id
-- A list is given as JSON, keys in it as hexadecimal; newest first.
SELECT m.id, m.app, m.ref, m.body, m.created_at, m.expires_at
FROM json_each(?) AS ids CROSS JOIN message AS m ON m.id = unhex(ids.value) ORDER BY m.id DESC;

-- name: dispatches_of
-- In the order of their keys: by message, then as the sender gave them.
SELECT d.key, d.recipient, d.text, d.app, d.identifier, d.message_ref, d.recipient_ref, d.fallback_ref,
  d.message, d.fallback, d.emitted, d.events, d.last_at, d.expires_at, d.mode, d.undelivered_at, d.unread_ms,
  d.delivered_at, d.fallback_at, d.sms_submitted_at
FROM json_each(?) AS ids CROSS JOIN dispatch AS d
  ON d.key BETWEEN unhex(ids.value || '0000') AND unhex(ids.value || 'fffe') ORDER BY d.key;

-- name: events_of
-- Of the same dispatches, in order.
SELECT e.key, e.n, e.status, e.at
FROM json_each(?) AS ids CROSS JOIN event AS e
  ON e.key BETWEEN unhex(ids.value || '0000') AND unhex(ids.value || 'fffe') ORDER BY e.key, e.n;

-- name: histories_of
-- Of the same dispatches, oldest first.
SELECT h.key, h.at, h.code, h.detail
FROM json_each(?) AS ids CROSS JOIN history AS h
  ON h.key BETWEEN unhex(ids.value || '0000') AND unhex(ids.value || 'fffe') ORDER BY h.id;

-- name: history
-- One dispatch's, oldest first.
SELECT at, code, detail FROM history WHERE key = ? ORDER BY id;

-- name: recipients_named
-- A user may have the same name in several applications; each look-up is one of the unique index.
SELECT r.id FROM app AS a CROSS JOIN recipient AS r ON r.app = a.id AND r.folded = ?1
WHERE ?2 IS NULL OR a.id IN (SELECT value FROM json_each(?2));

-- name: find_by_recipient
-- Messages to known users, newest first; the status is that of their own dispatch.
SELECT DISTINCT substr(d.key, 1, 16) AS id
FROM json_each(?5) AS r CROSS JOIN dispatch AS d INDEXED BY dispatch_recipient ON d.recipient = r.value
WHERE d.key >= ?1 AND d.key < ?2
  AND (?3 IS NULL OR d.message_ref = ?3)
  AND (?4 IS NULL OR (SELECT e.status FROM event AS e WHERE e.key = d.key AND e.n = d.events) = ?4)
ORDER BY id DESC LIMIT ?6;

-- part: whose_dispatches_fit
-- One of them has the status ?4, if that is asked for, and goes to ?6, if that is: a recipient who is no user. Of these
-- messages the newest ?7.
  AND (?4 IS NULL AND ?6 IS NULL OR EXISTS (
    SELECT 1 FROM dispatch AS d
    WHERE d.key >= m.id AND d.key < CAST(m.id || x'ffff' AS BLOB)
      AND (?6 IS NULL OR d.recipient IS NULL AND d.identifier = ?6 COLLATE NOCASE)
      AND (?4 IS NULL OR (SELECT e.status FROM event AS e WHERE e.key = d.key AND e.n = d.events) = ?4)))
ORDER BY m.id DESC LIMIT ?7;

-- name: find_by_ref
-- Messages with a sender's own id, newest first; one look into the index for each of its stretches of time.
WITH RECURSIVE stretch(start) AS (
  SELECT (SELECT substr(id, 1, 3) FROM message WHERE id < ?2 ORDER BY id DESC LIMIT 1)
  UNION ALL
  SELECT (SELECT substr(id, 1, 3) FROM message WHERE id < start ORDER BY id DESC LIMIT 1) FROM stretch
  WHERE start > substr(?1, 1, 3)
)
SELECT m.id FROM stretch CROSS JOIN message AS m INDEXED BY message_stretch_ref
  ON substr(m.id, 1, 3) = stretch.start AND m.ref = ?3
WHERE m.id >= ?1 AND m.id < ?2
  AND (?5 IS NULL OR m.app IN (SELECT value FROM json_each(?5)))
-- put: whose_dispatches_fit

-- name: slice_end
-- Where a walk back through all messages pauses, so that no question keeps the others waiting.
SELECT min(id) FROM (SELECT id FROM message WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?);

-- name: slice_end_of_app
-- The same along one application's own index.
SELECT min(id) FROM (SELECT id FROM message WHERE app = ?4 AND id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3);

-- name: find_in_slice
-- Messages of one slice, newest first; ``unknown`` is the name of a recipient who is no user.
SELECT m.id FROM message AS m
WHERE m.id >= ?1 AND m.id < ?2
  AND (?5 IS NULL OR m.app IN (SELECT value FROM json_each(?5)))
-- put: whose_dispatches_fit

-- name: find_in_slice_of_app
-- The same along one application's own index: a quiet one's slice may span years of the others' messages.
SELECT m.id FROM message AS m INDEXED BY message_app
WHERE m.app = ?5 AND m.id >= ?1 AND m.id < ?2
-- put: whose_dispatches_fit

-- name: identifiers
-- Whose dispatches these are; an incoming message is its sender's.
SELECT key, identifier FROM dispatch WHERE key BETWEEN ?1 AND ?2
UNION ALL SELECT ?2, identifier FROM incoming WHERE id = ?3;

-- name: lanes
-- What must still be told, for the first time or again. A deleted endpoint has none.
SELECT l.key, l.endpoint, e.uid, l.pending, l.tries, l.due FROM lane AS l CROSS JOIN endpoint AS e ON e.id = l.endpoint
WHERE l.key BETWEEN ? AND ? ORDER BY l.key, l.endpoint;

-- name: settled
-- What was told, or given up. Endpoints that were deleted since are left out: nobody could name them.
SELECT s.key, s.endpoint, e.uid, s.done, s.dead FROM settled AS s CROSS JOIN endpoint AS e ON e.id = s.endpoint
WHERE s.key BETWEEN ? AND ? ORDER BY s.key, s.endpoint;

-- name: attempts
-- An endpoint's log, newest first.
SELECT a.id, a.key, a.n, e.status, a.tries, a.at, a.took, a.code, a.error, a.address, a.answer, a.detail
FROM attempt AS a LEFT JOIN event AS e ON e.key = a.key AND e.n = a.n
WHERE a.endpoint = ? AND a.id < ? ORDER BY a.id DESC LIMIT ?;

-- name: inbox
-- A recipient's messages in the order they were accepted.
SELECT d.seq, d.key, d.message, d.text, m.body, m.created_at, d.expires_at
FROM dispatch AS d INDEXED BY dispatch_recipient CROSS JOIN message AS m ON m.id = substr(d.key, 1, 16)
WHERE d.recipient = ? AND d.seq > ? ORDER BY d.seq LIMIT ?;

-- name: inbox_start
-- The state of a message whose time has run out may lag the clock.
SELECT coalesce(
  (SELECT seq - 1 FROM dispatch INDEXED BY dispatch_recipient
   WHERE recipient = ?1 AND message IN (1, 2) AND expires_at > ?2 ORDER BY seq LIMIT 1),
  (SELECT seq FROM recipient WHERE id = ?1), 0);

-- name: inbox_heads
-- For the heartbeat that finds lost hints.
SELECT id, seq FROM recipient WHERE id IN (SELECT value FROM json_each(?));

-- name: find_dispatches
-- By key, never along the recipient's index: a message has few dispatches, a person may have many messages.
SELECT d.key FROM json_each(?1) AS ids CROSS JOIN dispatch AS d
  ON d.key BETWEEN unhex(ids.value || '0000') AND unhex(ids.value || 'fffe')
WHERE +d.recipient = ?2;

-- name: endings
-- 3 is read, 4 expired.
SELECT d.key, d.message FROM json_each(?) AS keys CROSS JOIN dispatch AS d ON d.key = unhex(keys.value)
WHERE d.message IN (3, 4);

-- name: push_jobs
-- What a push says and to whom; a deleted application pushes nothing.
SELECT d.key, d.app, a.mode, d.recipient, d.message, d.text, m.body, d.expires_at
FROM json_each(?) AS keys CROSS JOIN dispatch AS d ON d.key = unhex(keys.value)
CROSS JOIN message AS m ON m.id = substr(d.key, 1, 16) CROSS JOIN app AS a ON a.id = d.app
WHERE d.recipient IS NOT NULL;

-- name: push_devices
-- The devices of these users that a push can wake.
SELECT d.id, d.recipient, d.app, r.identifier, d.name, d.platform, d.token_digest, d.push_platform, d.push_token,
  d.push_environment, d.cursor, d.created_at, d.last_seen_at
FROM json_each(?) AS recipients CROSS JOIN device AS d ON d.recipient = recipients.value
CROSS JOIN recipient AS r ON r.id = d.recipient
WHERE d.push_token IS NOT NULL ORDER BY d.created_at, d.id;

-- name: sms_jobs
-- What an SMS says and to which number.
SELECT d.key, d.app, a.mode, a.fallback, d.fallback_ref, d.text, m.body,
  d.message, d.fallback, d.emitted, d.events, d.last_at, d.expires_at, d.mode, d.undelivered_at, d.unread_ms,
  d.delivered_at, d.fallback_at, d.sms_submitted_at
FROM json_each(?) AS keys CROSS JOIN dispatch AS d ON d.key = unhex(keys.value)
CROSS JOIN message AS m ON m.id = substr(d.key, 1, 16) CROSS JOIN app AS a ON a.id = d.app;

-- name: find_sms
-- By which dispatch an id at the carrier was used.
SELECT ids.value, s.key FROM json_each(?2) AS ids CROSS JOIN sms AS s ON s.carrier = ?1 AND s.carrier_id = ids.value;

-- name: feed
-- Events in the order of their commits, up to the last (?2 is no bound: nothing comes behind); the application is the dispatch's.
SELECT e.position, e.key, d.app, e.n, e.status, e.at, d.identifier, d.message_ref, d.recipient_ref, d.fallback_ref
FROM event AS e INDEXED BY event_position CROSS JOIN dispatch AS d ON d.key = e.key
WHERE e.position > ?1 ORDER BY e.position LIMIT ?3;

-- name: feed_incoming
-- Messages from devices among them, up to where the events were read.
SELECT position, id, app, at, identifier, text, channel, in_reply_to FROM incoming INDEXED BY incoming_position
WHERE position > ? AND position <= ? ORDER BY position LIMIT ?;

-- name: feed_head
-- The last position of either kind up to there.
SELECT max(coalesce((SELECT max(position) FROM event WHERE position <= ?1), 0), coalesce((SELECT max(position) FROM incoming WHERE position <= ?1), 0));

-- name: first_accept_from
-- When the first dispatch at or behind a position began, up to another; for finding an instant in the feed by halves.
SELECT position, at FROM event INDEXED BY event_position WHERE position >= ? AND position <= ? AND n = 1
ORDER BY position LIMIT 1;

-- name: first_from
-- The first position behind one, up to another, at which something of an instant or later stands, of either kind.
SELECT min(position) FROM (
  SELECT * FROM (SELECT position FROM event INDEXED BY event_position
    WHERE position > ?1 AND position <= ?2 AND at >= ?3 ORDER BY position LIMIT 1)
  UNION ALL
  SELECT * FROM (SELECT position FROM incoming INDEXED BY incoming_position
    WHERE position > ?1 AND position <= ?2 AND at >= ?3 ORDER BY position LIMIT 1));

-- name: dead
-- What was given up at an endpoint, the newest message first.
SELECT d.key, coalesce(p.identifier, i.identifier, ''), d.n, e.status, d.at, d.reason
FROM dead AS d LEFT JOIN event AS e ON e.key = d.key AND e.n = d.n
LEFT JOIN dispatch AS p ON p.key = d.key LEFT JOIN incoming AS i ON i.id = substr(d.key, 1, 16)
WHERE d.endpoint = ?1 AND (d.key, d.n) < (?2, ?3) ORDER BY d.key DESC, d.n DESC LIMIT ?4;

-- name: dead_groups
-- Counted along the table's own order.
SELECT d.reason, e.status, count(*), min(d.at), max(d.at)
FROM dead AS d LEFT JOIN event AS e ON e.key = d.key AND e.n = d.n
WHERE d.endpoint = ? GROUP BY d.reason, e.status ORDER BY 3 DESC, 1, 2;

-- name: app_of
-- Whose a message is, sent or received.
SELECT app FROM message WHERE id = ?1 UNION ALL SELECT app FROM incoming WHERE id = ?1 LIMIT 1;
