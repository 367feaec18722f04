-- Telling again: which events a job is about, the lanes it opens for them, and what it counts.

-- name: job
-- The job at work, with where its walk stands.
SELECT id, app, state, spec, is_walked, cursor FROM job WHERE uid = ?;

-- name: move_job
-- In the transaction that opened the lanes.
UPDATE job SET cursor = ?2, opened = opened + ?3, is_walked = ?4 WHERE id = ?1;

-- name: hand_over
-- What waits in another job's lane is told by this one.
UPDATE job SET opened = opened - ?2 WHERE id = ?1;

-- name: count_job
-- What became of callbacks.
UPDATE job SET done = done + ?2, failed = failed + ?3 WHERE id = ?1;

-- name: end_job
-- Everything it opened has its answer, and there is nothing more to open.
UPDATE job SET state = 'done', total = opened, ended_at = ?2
WHERE id = ?1 AND is_walked AND done + failed >= opened AND state IN ('running', 'paused');

-- name: endpoint
-- Whom to tell; a disabled one is told nothing.
SELECT id, kind, statuses FROM endpoint WHERE id = ? AND app = ? AND state <> 'disabled';

-- name: any_endpoint
-- For counting: what a disabled one would be told, were it enabled.
SELECT id, kind, statuses FROM endpoint WHERE id = ? AND app = ?;

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
-- Of one dispatch.
SELECT n, status, at FROM event WHERE key = ? ORDER BY n;

-- name: settled
-- What an endpoint was told of one dispatch, and what was given up.
SELECT done, dead FROM settled WHERE key = ? AND endpoint = ?;

-- name: incomings
-- Messages from devices, whosever: there are few.
SELECT id, app, at FROM incoming WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3;

-- name: own_lanes
-- What is still to be told for the first time: the dispatch's lane, and those of single events.
SELECT key, pending FROM lane
WHERE (key = ?1 OR key > CAST(?1 || x'00' AS BLOB) AND key < CAST(?1 || x'01' AS BLOB)) AND endpoint = ?2;

-- name: replay_lane
-- What another job, or this one, opened before.
SELECT pending, job FROM lane WHERE key = ? AND endpoint = ?;

-- name: add_lane
-- Owned by the node that opens it.
INSERT INTO lane(key, endpoint, pending, due, owner, job) VALUES (?, ?, ?, NULL, ?, ?);

-- name: widen_lane
-- More to tell again, for this job from now on.
UPDATE lane SET pending = pending | ?3, job = ?4 WHERE key = ?1 AND endpoint = ?2;

-- name: redeem
-- What was given up is told after all.
INSERT INTO settled(key, endpoint, done, dead) VALUES (?1, ?2, ?3, 0)
ON CONFLICT(key, endpoint) DO UPDATE SET done = done | excluded.done, dead = dead & ~excluded.done;

-- name: drop_dead
-- With it.
DELETE FROM dead WHERE endpoint = ?2 AND key = ?1 AND n = ?3;
