-- What is left over: retries that fell due, lanes born free, rows of a process that is no more.

-- name: due_lanes
SELECT key, endpoint, pending, tries, job FROM lane INDEXED BY lane_due
WHERE endpoint = ? AND due <= ? ORDER BY due, key LIMIT ?;

-- name: hold_lane
UPDATE lane SET due = NULL, owner = ?3 WHERE key = ?1 AND endpoint = ?2;

-- name: stretch_end
-- Where a walk along all lanes pauses, so that no step of it keeps the others waiting.
SELECT key, endpoint FROM lane WHERE (key, endpoint) > (?, ?) ORDER BY key, endpoint LIMIT 1 OFFSET ?;

-- name: orphan_lanes
-- Held by an epoch that is not ours: the embedded store has one process, so that one is dead.
SELECT key, endpoint, pending, tries, job FROM lane
WHERE (key, endpoint) > (?, ?) AND (key, endpoint) <= (?, ?) AND due IS NULL AND owner <> ?
ORDER BY key, endpoint LIMIT ?;

-- name: held_lanes
SELECT key, endpoint, pending, tries, job FROM lane
WHERE (key, endpoint) > (?, ?) AND (key, endpoint) <= (?, ?) AND due IS NULL AND owner = ?
ORDER BY key, endpoint LIMIT ?;

-- name: due_works
-- Due lanes with all that a courier needs, a row per pending event. Runs in the transaction that takes the lanes.
SELECT l.key, l.tries, l.job, d.app, d.identifier, d.message_ref, d.recipient_ref, d.fallback_ref, d.notify,
  e.n, e.status, e.at
FROM (SELECT key, pending, tries, due, job FROM lane INDEXED BY lane_due
      WHERE endpoint = ? AND due <= ? ORDER BY due, key LIMIT ?) AS l
CROSS JOIN dispatch AS d ON d.key = substr(l.key, 1, 18)
CROSS JOIN event AS e ON e.key = d.key AND l.pending >> (e.n - 1) & 1
ORDER BY l.due, l.key, e.n;

-- name: first_due
-- Where the time begins in which a probe looks.
SELECT due FROM lane INDEXED BY lane_due WHERE endpoint = ? AND due <= ? ORDER BY due LIMIT 1;

-- name: some_lane
-- One due lane from an instant on, a few places further: chance decides, not age.
SELECT key, endpoint, pending, tries, job FROM lane INDEXED BY lane_due
WHERE endpoint = ? AND due >= ? AND due <= ? ORDER BY due, key LIMIT 1 OFFSET ?;

-- name: job_uid
-- By which the callbacks of a replay say where they come from.
SELECT uid FROM job WHERE id = ?;

-- name: operation_facts
SELECT app, type, endpoint_uid, reason, at FROM operation WHERE id = ?;

-- name: lane_facts
SELECT app, identifier, message_ref, recipient_ref, fallback_ref, notify FROM dispatch WHERE key = ?;

-- name: incoming_facts
SELECT app, identifier, text, channel, in_reply_to, at FROM incoming WHERE id = ?;

-- name: events_of
SELECT n, status, at FROM event WHERE key = ? ORDER BY n;

-- name: free_lane
UPDATE lane SET due = ?3, owner = 0 WHERE key = ?1 AND endpoint = ?2 AND owner = ?4;

-- name: due_commands
SELECT key, kind, tries, detail FROM command INDEXED BY command_due WHERE due <= ? ORDER BY due LIMIT ?;

-- name: orphan_commands
-- A look at every command, which is why it is asked until there are none, and never again.
SELECT key, kind, tries, detail FROM command WHERE due IS NULL AND owner <> ? LIMIT ?;

-- name: command_stretch_end
-- As stretch_end, along the commands.
SELECT key, kind FROM command WHERE (key, kind) > (?, ?) ORDER BY key, kind LIMIT 1 OFFSET ?;

-- name: held_commands
SELECT key, kind, tries, detail FROM command
WHERE (key, kind) > (?, ?) AND (key, kind) <= (?, ?) AND due IS NULL AND owner = ?
ORDER BY key, kind LIMIT ?;

-- name: hold_command
UPDATE command SET due = NULL, owner = ?3 WHERE key = ?1 AND kind = ?2;

-- name: due_timers
SELECT key FROM timer WHERE at <= ? ORDER BY at LIMIT ?;

-- name: next_timer
SELECT min(at) FROM timer;

-- name: next_command
SELECT min(due) FROM command INDEXED BY command_due WHERE due IS NOT NULL;

-- name: endpoint_ids
SELECT id FROM endpoint;

-- name: next_lane
SELECT due FROM lane INDEXED BY lane_due WHERE endpoint = ? AND due IS NOT NULL ORDER BY due LIMIT 1;
