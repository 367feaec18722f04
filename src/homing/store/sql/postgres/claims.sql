-- What is left over: retries that fell due, lanes born free, rows of a node that is no more.
-- Keys are asked for as in ledger.sql. $live are the epochs that live, $newest the highest one known: a greater owner has just started, and lives.

-- name: claim_lanes
WITH taken AS (
  SELECT key, endpoint, due FROM lane WHERE endpoint = $1 AND due <= $2 ORDER BY due, key LIMIT $3
  FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE lane AS l SET due = NULL, owner = $4 FROM taken
WHERE l.key = ANY(ARRAY[taken.key]) AND l.endpoint = taken.endpoint
RETURNING l.key, l.endpoint, l.pending, l.tries, l.job, taken.due;

-- name: walk_edge
-- How far one step of a walk looks, however little it finds: no statement looks at all there is.
SELECT key, endpoint FROM lane WHERE (key, endpoint) > ($1::bytea, $2::bigint) ORDER BY key, endpoint
OFFSET $3 LIMIT 1;

-- name: adopt_lanes
-- Held by an epoch that is dead. In no index: it is walked along the key.
WITH taken AS (
  SELECT key, endpoint FROM lane WHERE (key, endpoint) > ($1::bytea, $2::bigint)
    AND (key, endpoint) <= ($7::bytea, $8::bigint) AND due IS NULL AND owner <= $5 AND owner <> ALL($6::bigint[])
  ORDER BY key, endpoint LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE lane AS l SET owner = $4 FROM taken
WHERE l.key = ANY(ARRAY[taken.key]) AND l.endpoint = taken.endpoint
RETURNING l.key, l.endpoint, l.pending, l.tries, l.job;

-- name: held_lanes
SELECT key, endpoint, pending, tries, job FROM lane
WHERE (key, endpoint) > ($1::bytea, $2::bigint) AND (key, endpoint) <= ($5::bytea, $6::bigint)
  AND due IS NULL AND owner = $4 ORDER BY key, endpoint LIMIT $3;

-- name: first_due
-- Where the time begins in which a probe looks.
SELECT due FROM lane WHERE endpoint = $1 AND due <= $2 ORDER BY due LIMIT 1;

-- name: claim_some_lane
-- One due lane from an instant on, a few places further: chance decides, not age.
WITH taken AS (
  SELECT key, endpoint, due FROM lane WHERE endpoint = $1 AND due >= $2 AND due <= $3 ORDER BY due, key
  OFFSET $5 LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE lane AS l SET due = NULL, owner = $4 FROM taken
WHERE l.key = ANY(ARRAY[taken.key]) AND l.endpoint = taken.endpoint
RETURNING l.key, l.endpoint, l.pending, l.tries, l.job, taken.due;

-- name: job_uids
-- By which the callbacks of a replay say where they come from.
SELECT id, uid FROM job WHERE id = ANY($1::bigint[]);

-- name: operation_facts
SELECT id, app, type, endpoint_uid, reason, at FROM operation WHERE id = ANY($1::bytea[]);

-- name: lane_facts
SELECT d.key, d.app, d.identifier, d.message_ref, d.recipient_ref, d.fallback_ref, d.notify
FROM unnest($1::bytea[]) AS k(key) JOIN dispatch AS d ON d.key = ANY(ARRAY[k.key]);

-- name: incoming_facts
SELECT id, app, identifier, text, channel, in_reply_to, at FROM incoming WHERE id = ANY($1::bytea[]);

-- name: events_of
SELECT e.key, e.n, e.status, e.at FROM unnest($1::bytea[]) AS k(key) JOIN event AS e ON e.key = ANY(ARRAY[k.key])
ORDER BY k.key, e.n;

-- name: free_lanes
UPDATE lane AS l SET due = $3, owner = 0 FROM (
  SELECT l.key, l.endpoint FROM unnest($1::bytea[], $2::bigint[]) AS n(key, endpoint)
  JOIN lane AS l ON l.key = ANY(ARRAY[n.key]) AND l.endpoint = n.endpoint AND l.owner = $4
  ORDER BY n.key, n.endpoint FOR NO KEY UPDATE OF l) AS n
WHERE l.key = ANY(ARRAY[n.key]) AND l.endpoint = n.endpoint AND l.owner = $4;

-- name: claim_commands
WITH taken AS (
  SELECT key, kind, due FROM command WHERE due <= $1 ORDER BY due LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE command AS c SET due = NULL, owner = $3 FROM taken
WHERE c.key = ANY(ARRAY[taken.key]) AND c.kind = taken.kind
RETURNING c.key, c.kind, c.tries, c.detail, taken.due;

-- name: adopt_commands
WITH taken AS (
  SELECT key, kind FROM command WHERE due IS NULL AND owner <= $3 AND owner <> ALL($4::bigint[]) LIMIT $1
  FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE command AS c SET owner = $2 FROM taken
WHERE c.key = ANY(ARRAY[taken.key]) AND c.kind = taken.kind
RETURNING c.key, c.kind, c.tries, c.detail;

-- name: command_edge
-- As walk_edge.
SELECT key, kind FROM command WHERE (key, kind) > ($1::bytea, $2::bigint) ORDER BY key, kind OFFSET $3 LIMIT 1;

-- name: held_commands
SELECT key, kind, tries, detail FROM command
WHERE (key, kind) > ($1::bytea, $2::bigint) AND (key, kind) <= ($5::bytea, $6::bigint)
  AND due IS NULL AND owner = $4 ORDER BY key, kind LIMIT $3;

-- name: due_timers
-- Each of those that tell callbacks rings its share of the dispatches; what nobody rang for 5 s is everybody's.
-- $3 are they, $4 which of them asks: -1 for one that has no share.
SELECT key FROM timer WHERE at <= $1 AND (at <= $1 - 5000 OR get_byte(key, 15) % $3::integer = $4::integer)
ORDER BY at LIMIT $2;

-- name: next_timer
-- When the first one rings for this node; likewise $1 and $2. Who has no share looks for none: it would read them all.
SELECT least(
  (SELECT at FROM timer WHERE $2::integer >= 0 AND get_byte(key, 15) % $1::integer = $2::integer ORDER BY at LIMIT 1),
  (SELECT at + CASE WHEN $1::integer = 1 AND $2::integer = 0 THEN 0 ELSE 5000 END FROM timer ORDER BY at LIMIT 1));

-- name: next_command
SELECT min(due) FROM command WHERE due IS NOT NULL;

-- name: next_lane
SELECT due FROM lane WHERE endpoint = $1 AND due IS NOT NULL ORDER BY due LIMIT 1;

-- name: next_lanes
-- One look into the index for each endpoint, however many lanes wait.
SELECT e.id, l.due FROM endpoint AS e CROSS JOIN LATERAL
  (SELECT due FROM lane WHERE endpoint = e.id AND due IS NOT NULL ORDER BY due LIMIT 1) AS l;
