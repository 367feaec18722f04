-- Telling again: which events a job is about, the lanes it opens for them, and what it counts.

-- name: job
-- The job at work, with where its walk stands; one node at a time moves it on.
SELECT id, app, state, spec, is_walked, cursor FROM job WHERE uid = $1 FOR UPDATE;

-- name: move_job
-- In the transaction that opened the lanes.
UPDATE job SET cursor = $2, opened = opened + $3, is_walked = $4 WHERE id = $1;

-- name: count_jobs
-- What became of callbacks, and what another job tells now.
UPDATE job SET done = job.done + n.done, failed = job.failed + n.failed, opened = job.opened - n.left_to_others
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS n(id, done, failed, left_to_others)
WHERE job.id = n.id;

-- name: end_jobs
-- Everything they opened has its answer, and there is nothing more to open.
UPDATE job SET state = 'done', total = opened, ended_at = $2
WHERE id = ANY($1::bigint[]) AND is_walked AND done + failed >= opened AND state IN ('running', 'paused');

-- name: endpoint
-- Whom to tell; a disabled one is told nothing.
SELECT id, kind, statuses FROM endpoint WHERE id = $1 AND app = $2 AND state <> 'disabled';

-- name: any_endpoint
-- For counting: what a disabled one would be told, were it enabled.
SELECT id, kind, statuses FROM endpoint WHERE id = $1 AND app = $2;

-- name: endpoints
-- Those of messages' own callbacks.
SELECT id, kind, statuses FROM endpoint WHERE id = ANY($1::bigint[]) AND app = $2 AND state <> 'disabled';

-- name: hearers
-- Whoever hears of an application's messages.
SELECT id, kind, statuses FROM endpoint
WHERE app = $1 AND state <> 'disabled' AND kind IN ('status', 'inbox') ORDER BY id;

-- name: keep_endpoints
-- None of them can be deleted before the lanes that are opened now.
SELECT id FROM endpoint WHERE id = ANY($1::bigint[]) ORDER BY id FOR KEY SHARE;

-- name: dead_keys
-- Along the table's own order.
SELECT DISTINCT key FROM dead WHERE endpoint = $1 AND key > $2 ORDER BY key LIMIT $3;

-- name: dead_events
-- What was given up there, of a run of keys.
SELECT d.key, d.n, e.status, d.at FROM dead AS d LEFT JOIN event AS e ON e.key = d.key AND e.n = d.n
WHERE d.endpoint = $1 AND d.key BETWEEN $2 AND $3 ORDER BY d.key, d.n;

-- name: messages
-- An application's messages of a time, in the order of their ids.
SELECT id FROM message WHERE app = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT $4;

-- name: dispatches
-- Of these messages, after a key; which endpoint is the message's own.
SELECT d.key, d.notify_endpoint FROM unnest($1::bytea[]) AS i(id)
JOIN dispatch AS d ON d.key >= i.id || '\x0000' AND d.key <= i.id || '\xfffd' WHERE d.key > $2 ORDER BY d.key LIMIT $3;

-- name: events
-- Of these dispatches.
SELECT e.key, e.n, e.status, e.at FROM unnest($1::bytea[]) AS k(key) JOIN event AS e ON e.key = k.key
ORDER BY e.key, e.n;

-- name: settled
-- What endpoints were told of these dispatches, and what was given up.
SELECT s.key, s.endpoint, s.done, s.dead FROM unnest($1::bytea[]) AS k(key) JOIN settled AS s ON s.key = k.key;

-- name: incomings
-- Messages from devices, whosever: there are few.
SELECT id, app, at FROM incoming WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3;

-- name: keep_dispatches
-- Nothing happens to them while it is decided what of them is told again.
SELECT d.key FROM unnest($1::bytea[]) AS k(key) JOIN dispatch AS d ON d.key = k.key ORDER BY d.key FOR NO KEY UPDATE OF d;

-- name: keep_incomings
-- None of them has its time over before the lanes that are opened now.
SELECT i.id FROM unnest($1::bytea[]) AS n(id) JOIN incoming AS i ON i.id = n.id ORDER BY i.id FOR KEY SHARE OF i;

-- name: own_lanes
-- What is still to be told for the first time (the dispatch's lane, those of single events), and what again.
SELECT l.key, l.endpoint, l.pending, l.job FROM unnest($1::bytea[]) AS k(key)
JOIN lane AS l ON l.key >= k.key AND l.key <= k.key || '\x0100'
WHERE l.endpoint = ANY($2::bigint[]) ORDER BY l.key, l.endpoint FOR NO KEY UPDATE OF l;

-- name: add_lanes
-- Owned by the node that opens them.
INSERT INTO lane(key, endpoint, pending, due, owner, job)
SELECT key, endpoint, pending, NULL, $4, $5 FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS n(key, endpoint, pending);

-- name: widen_lanes
-- More to tell again, for this job from now on.
UPDATE lane AS l SET pending = l.pending | n.pending, job = $4
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS n(key, endpoint, pending)
WHERE l.key = n.key AND l.endpoint = n.endpoint;
