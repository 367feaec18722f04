-- What is asked of a store that is moved to PostgreSQL, beside its rows.

-- name: meta_names
SELECT name FROM meta;

-- name: given
-- The highest id that was ever given, where none is given twice.
SELECT name, seq FROM sqlite_sequence;

-- name: oldest
-- The lowest id of a message, by which weeks begin.
SELECT min(id) FROM message;

-- name: sealed
-- Every secret that is sealed under the master key, and whose it is.
SELECT 'application ' || id, callback_secret FROM app WHERE callback_secret IS NOT NULL
UNION ALL SELECT 'application ' || id, previous_secret FROM app WHERE previous_secret IS NOT NULL
UNION ALL SELECT 'endpoint ' || uid, secret FROM endpoint
UNION ALL SELECT 'endpoint ' || uid, previous_secret FROM endpoint WHERE previous_secret IS NOT NULL
UNION ALL SELECT 'endpoint ' || uid, credentials FROM endpoint WHERE credentials IS NOT NULL
UNION ALL SELECT 'listener ' || name, secret FROM listener;
