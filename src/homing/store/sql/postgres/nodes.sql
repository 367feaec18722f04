-- Who is alive. Real time of the database, whatever clock messages follow.

-- name: epochs
-- All that live, as of this statement.
SELECT epoch, roles FROM node ORDER BY epoch;

-- name: register
-- After the counter was locked, so that whoever sees an epoch sees every lower one that lives.
INSERT INTO node(epoch, name, roles, started_at, alive_until)
VALUES ($1, $2, $4, clock_timestamp(), clock_timestamp() + $3 * interval '1 millisecond') RETURNING started_at;

-- name: renew
-- A term that ran out cannot be renewed: no row comes back. Nor does one that another node drew again (ADR 0010).
UPDATE node SET alive_until = clock_timestamp() + $2 * interval '1 millisecond'
WHERE epoch = $1 AND started_at = $3 AND alive_until > clock_timestamp() RETURNING epoch;

-- name: end_stuck
-- Whoever stands still between two words of one statement, or amid its answer, keeps its locks, and no time-out of the
-- server's ends that. Counted is the time since its last word, not since its transaction began: a long one that goes on is
-- nobody's business. The ms to wait are for its end: whoever comes next finds nothing locked.
SELECT pg_terminate_backend(pid, 100) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = current_setting('application_name')
  AND wait_event IN ('ClientRead', 'ClientWrite') AND xact_start IS NOT NULL
  AND state_change < clock_timestamp() - make_interval(secs => $1);

-- name: bury
-- The row's lock decides between this and a renewal that comes at the same time.
DELETE FROM node WHERE alive_until < clock_timestamp() RETURNING epoch;

-- name: leave
-- What it holds can be taken by the others at once.
DELETE FROM node WHERE epoch = $1;

-- name: succeed
-- Whoever had this name is no more: its supervisor saw it end before it started the one that asks.
DELETE FROM node WHERE name = $1 RETURNING epoch;

-- name: unlink_dead
DELETE FROM link WHERE NOT EXISTS (SELECT 1 FROM node WHERE node.epoch = link.epoch);

-- name: clock
-- In ms, as this statement runs.
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- name: link
INSERT INTO link(recipient, epoch) SELECT r, $2 FROM unnest($1::bigint[]) AS r ON CONFLICT DO NOTHING;

-- name: unlink
DELETE FROM link USING unnest($1::bigint[]) AS r WHERE recipient = r AND epoch = $2;

-- name: hint
-- At most one for each node that has a link to one of these recipients; a word for each (store/postgres/hints.py).
SELECT pg_notify('homing_' || link.epoch, string_agg(said.word, ','))
FROM unnest($1::bigint[], $2::text[]) AS said(recipient, word) JOIN link ON link.recipient = said.recipient
WHERE link.epoch <> $3 GROUP BY link.epoch;

-- name: count_change
-- Its row is locked until the change is committed, so versions are in the order of commits.
UPDATE meta SET number = number + 1 WHERE name = 'registry' RETURNING number;

-- name: add_change
INSERT INTO change(version, epoch, kind, change, value) VALUES ($1, $2, $3, $4, $5);

-- name: tell_change
SELECT pg_notify('homing_registry', $1::text);

-- name: tell_joined
SELECT pg_notify('homing_nodes', '');

-- name: tell_role
-- What waits for whoever has a role; its channel is the role's.
SELECT pg_notify($1::text, $2::text);

-- name: changes
-- What was changed since, by whomever.
SELECT version, epoch, kind, change, value FROM change WHERE version > $1 ORDER BY version LIMIT 500;

-- name: registry_version
SELECT number FROM meta WHERE name = 'registry';

-- name: news
-- What every beat looks at: how far the configuration got, and which store this is.
SELECT (SELECT number FROM meta WHERE name = 'registry'), (SELECT words FROM meta WHERE name = 'store_id');

-- name: standing
-- What a server knows of a node: when its epoch was drawn, its last commit; and the last epoch, the configuration's version.
SELECT (SELECT started_at FROM node WHERE epoch = $1),
  coalesce((SELECT number FROM meta WHERE name = 'commits:' || $1::bigint), 0),
  (SELECT number FROM meta WHERE name = 'epoch'), (SELECT number FROM meta WHERE name = 'registry');

-- name: rename_store
-- One of those that find it out does.
UPDATE meta SET words = $2 WHERE name = 'store_id' AND words = $1;

-- name: note_timeline
-- No row: it is the one that was noted before.
INSERT INTO meta(name, number) VALUES ('timeline', $1)
ON CONFLICT(name) DO UPDATE SET number = excluded.number WHERE meta.number IS DISTINCT FROM excluded.number RETURNING number;

-- name: begin_terms
-- What a copy that was behind knows of renewals is older than they were.
UPDATE node SET alive_until = greatest(alive_until, clock_timestamp() + $1 * interval '1 millisecond');

-- name: drop_old_commits
-- Of nodes that are long gone; those of a short while ago may still come back and ask.
DELETE FROM meta WHERE name LIKE 'commits:%'
  AND substr(name, 9)::bigint < (SELECT number FROM meta AS last WHERE last.name = 'epoch') - 1000
  AND NOT EXISTS (SELECT 1 FROM node WHERE 'commits:' || node.epoch = meta.name);

-- name: drop_old_changes
DELETE FROM change WHERE at < clock_timestamp() - interval '1 day';
