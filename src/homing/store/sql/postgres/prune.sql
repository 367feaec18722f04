-- What has had its time: deleted in small steps, so that nothing else waits.

-- name: lock_place
-- One node at a time walks; the others leave it to that one.
SELECT number, place FROM meta WHERE name = $1 FOR UPDATE SKIP LOCKED;

-- name: make_place
INSERT INTO meta(name, number, place) VALUES ($1, 0, ''::bytea) ON CONFLICT DO NOTHING;

-- name: old_attempts
-- The log's numbers ascend with time, nearly; one walk deletes what succeeded, a later one the rest.
SELECT id, at FROM attempt WHERE id > $1 ORDER BY id LIMIT $2;

-- name: drop_attempts
-- Those of a run of numbers that went well, or all.
DELETE FROM attempt WHERE id > $1 AND id <= $2 AND (error IS NULL OR $3);

-- name: old_dead
-- The longest given up, in the table's own order: a step looks at so many and remembers where it stopped.
SELECT endpoint, key, n, at FROM dead WHERE (endpoint, key, n) > ($1::bigint, $2::bytea, $3::bigint)
ORDER BY endpoint, key, n LIMIT $4;

-- name: drop_dead
-- Told or not, it is forgotten; that it was given up stays with the dispatch.
DELETE FROM dead AS d USING unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS o(endpoint, key, n)
WHERE d.endpoint = o.endpoint AND d.key = o.key AND d.n = o.n;

-- name: drop_operations
-- Facts about endpoints that nobody is owed any more: their endpoint was deleted.
DELETE FROM operation WHERE id IN (SELECT o.id FROM operation AS o WHERE o.at < $1
  AND NOT EXISTS (SELECT 1 FROM lane AS l WHERE l.key = o.id || '\xfffe') LIMIT $2 FOR UPDATE SKIP LOCKED);

-- name: floor
-- Below it there are no messages any more.
SELECT place FROM meta WHERE name = 'messages_floor';

-- name: drop_dead_below
WITH old AS (SELECT endpoint, key, n FROM dead WHERE key < $1 ORDER BY key LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM dead AS d USING old WHERE d.endpoint = ANY(ARRAY[old.endpoint]) AND d.key = ANY(ARRAY[old.key]) AND d.n = old.n;

-- name: drop_sms_below
-- No receipt comes so late.
WITH old AS (SELECT carrier, carrier_id FROM sms WHERE key < $1 ORDER BY key LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM sms AS s USING old WHERE s.carrier = ANY(ARRAY[old.carrier]) AND s.carrier_id = old.carrier_id;

-- name: lock_incoming_below
-- Whoever tells of one again has locked it before.
SELECT id FROM incoming WHERE id < $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED;

-- name: drop_incoming
-- A statement after those locks: it sees every lane that was opened under them. Plain, single and replay lanes alike.
DELETE FROM incoming AS i USING unnest($1::bytea[]) AS n(id)
WHERE i.id = n.id AND NOT EXISTS (SELECT 1 FROM lane AS l WHERE l.key >= i.id || '\xffff' AND l.key <= i.id || '\xffffffff');
