-- What `homing check` asks a database from beside: nothing is written, no lock is waited for.

-- name: settings
-- As this session has them without asking for anything: from the server, the database or the role.
SELECT name, setting FROM pg_settings WHERE name IN ('server_version_num', 'server_version', 'fsync', 'full_page_writes',
  'synchronous_commit', 'synchronous_standby_names', 'wal_level', 'max_connections', 'superuser_reserved_connections',
  'reserved_connections', 'track_activities', 'server_encoding');

-- name: role
-- Who this is, what it may do here, and how many connections it and the database are allowed (-1: as many as there are).
SELECT current_user, r.rolsuper, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), r.rolconnlimit, d.datconnlimit,
  coalesce(has_schema_privilege(current_schema(), 'CREATE'), FALSE), pg_is_in_recovery(),
  coalesce(has_table_privilege(to_regclass('meta'), 'SELECT'), FALSE),
  (SELECT pg_get_userbyid(c.relowner) FROM pg_class AS c
    WHERE c.oid = to_regclass('message') AND NOT pg_has_role(c.relowner, 'USAGE'))
FROM pg_roles AS r, pg_database AS d WHERE r.rolname = current_user AND d.datname = current_database();

-- name: clock
SELECT extract(epoch FROM clock_timestamp())::float8;

-- name: standbys
-- Which follow, and how; the state of each is NULL to a role that may not see it.
SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')), count(*) FILTER (WHERE sync_state IS NULL)
FROM pg_stat_replication;

-- name: sessions
-- Clients of the whole server, and Homing's in this database under another name, whose transactions a feed cannot see.
SELECT count(*) FILTER (WHERE backend_type = 'client backend' OR backend_type IS NULL),
  array_agg(DISTINCT usename::text) FILTER (WHERE application_name = 'homing' AND datname = current_database()
    AND usename <> current_user)
FROM pg_stat_activity WHERE pid <> pg_backend_pid();

-- name: backend
-- Which process answers: one that is asked directly is the one that said hello.
SELECT pg_backend_pid();

-- name: nodes
SELECT count(*) FROM node WHERE alive_until > clock_timestamp();

-- name: newest
-- When the newest event was recorded, by its place in the feed.
SELECT max(at) FROM (SELECT at FROM event ORDER BY position DESC LIMIT 1) AS newest;

-- name: dead_count
-- What was given up at an endpoint, counted up to a limit.
SELECT count(*) FROM (SELECT 1 FROM dead WHERE endpoint = $1 LIMIT $2) AS counted;
