-- Telling again: which events a job is about, the lanes it opens for them, and what it counts.

-- name: job
-- The job at work, with where its walk stands.
SELECT id, app, state, spec, is_walked, cursor FROM job WHERE uid = ?;

-- name: move_job
-- In the transaction that opened the lanes.
UPDATE job SET cursor = ?2, opened = opened + ?3, is_walked = ?4 WHERE id = ?1;

-- name: count_jobs
-- What became of callbacks, and what another job tells now.
UPDATE job SET done = done + (n.value ->> 1), failed = failed + (n.value ->> 2), opened = opened - (n.value ->> 3)
FROM json_each(?) AS n WHERE job.id = n.value ->> 0;

-- name: end_jobs
-- Everything they opened has its answer, and there is nothing more to open.
UPDATE job SET state = 'done', total = opened, ended_at = ?2
WHERE id IN (SELECT value FROM json_each(?1)) AND is_walked AND done + failed >= opened AND state IN ('running', 'paused');

-- name: endpoint
-- Whom to tell; a disabled one is told nothing.
SELECT id, kind, statuses FROM endpoint WHERE id = ? AND app = ? AND state <> 'disabled';

-- name: any_endpoint
-- For counting: what a disabled one would be told, were it enabled.
SELECT id, kind, statuses FROM endpoint WHERE id = ? AND app = ?;

-- name: endpoints
-- Those of messages' own callbacks.
SELECT id, kind, statuses FROM endpoint
WHERE id IN (SELECT value FROM json_each(?1)) AND app = ?2 AND state <> 'disabled';

-- name: hearers
-- Whoever hears of an application's messages.
SELECT id, kind, statuses FROM endpoint
WHERE app = ? AND state <> 'disabled' AND kind IN ('status', 'inbox') ORDER BY id;

-- name: dead_keys
-- Along the table's own order.
SELECT DISTINCT key FROM dead WHERE endpoint = ?1 AND key > ?2 ORDER BY key LIMIT ?3;

-- name: dead_events
-- What was given up there, of a run of keys.
SELECT d.key, d.n, e.status, d.at FROM dead AS d LEFT JOIN event AS e ON e.key = d.key AND e.n = d.n
WHERE d.endpoint = ?1 AND d.key BETWEEN ?2 AND ?3 ORDER BY d.key, d.n;

-- name: messages
-- An application's messages of a time, in the order of their ids.
SELECT id FROM message INDEXED BY message_app WHERE app = ?1 AND id >= ?2 AND id < ?3 ORDER BY id LIMIT ?4;

-- name: dispatches
-- Of these messages, after a key; which endpoint is the message's own.
SELECT d.key, d.notify_endpoint FROM json_each(?1) AS ids CROSS JOIN dispatch AS d
  ON d.key BETWEEN unhex(ids.value || '0000') AND unhex(ids.value || 'fffd') WHERE d.key > ?2 ORDER BY d.key LIMIT ?3;

-- name: events
-- Of these dispatches.
SELECT e.key, e.n, e.status, e.at FROM json_each(?) AS keys CROSS JOIN event AS e ON e.key = unhex(keys.value)
ORDER BY e.key, e.n;

-- name: settled
-- What endpoints were told of these dispatches, and what was given up.
SELECT s.key, s.endpoint, s.done, s.dead FROM json_each(?) AS keys CROSS JOIN settled AS s ON s.key = unhex(keys.value);

-- name: keep_endpoints
-- Those that there still are; they stay, for nobody else writes.
SELECT id FROM endpoint WHERE id IN (SELECT value FROM json_each(?));

-- name: incomings
-- Messages from devices, whosever: there are few.
SELECT id, app, at FROM incoming WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3;

-- name: keep_incomings
-- Those that there still are; they stay, for nobody else writes.
SELECT id FROM incoming WHERE id IN (SELECT unhex(value) FROM json_each(?));

-- name: own_lanes
-- What is still to be told for the first time (the dispatch's lane, those of single events), and what again.
SELECT l.key, l.endpoint, l.pending, l.job FROM json_each(?1) AS keys CROSS JOIN lane AS l
  ON l.key BETWEEN unhex(keys.value) AND unhex(keys.value || '0100')
WHERE l.endpoint IN (SELECT value FROM json_each(?2)) ORDER BY l.key, l.endpoint;

-- name: replay_lane
-- What a job opened there, and which.
SELECT pending, job FROM lane WHERE key = ? AND endpoint = ?;

-- name: add_lanes
-- Owned by the node that opens them.
INSERT INTO lane(key, endpoint, pending, due, owner, job)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, NULL, ?2, ?3 FROM json_each(?1);

-- name: widen_lanes
-- More to tell again, for this job from now on.
UPDATE lane SET pending = pending | (n.value ->> 2), job = ?2
FROM json_each(?1) AS n WHERE lane.key = unhex(n.value ->> 0) AND lane.endpoint = n.value ->> 1;

-- name: redeem
-- What was given up is told after all.
INSERT INTO settled(key, endpoint, done, dead) VALUES (?1, ?2, ?3, 0)
ON CONFLICT(key, endpoint) DO UPDATE SET done = done | excluded.done, dead = dead & ~excluded.done;

-- name: drop_dead
-- With it.
DELETE FROM dead WHERE endpoint = ?2 AND key = ?1 AND n = ?3;
