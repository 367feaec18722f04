-- What is asked of a store that is moved to PostgreSQL, beside its rows.

-- name: meta_names
SELECT name FROM meta;

-- name: given
-- The highest id that was ever given, where none is given twice.
SELECT name, seq FROM sqlite_sequence;

-- name: span
-- Between the ids of all messages and dispatches; a dispatch's key begins with its message's id.
SELECT min(low), max(high) FROM (
  SELECT min(id) AS low, max(id) AS high FROM message
  UNION ALL SELECT substr(min(key), 1, 16), substr(max(key), 1, 16) FROM dispatch
  UNION ALL SELECT substr(min(key), 1, 16), substr(max(key), 1, 16) FROM event
  UNION ALL SELECT substr(min(key), 1, 16), substr(max(key), 1, 16) FROM history
  UNION ALL SELECT substr(min(key), 1, 16), substr(max(key), 1, 16) FROM settled
  UNION ALL SELECT substr(min(key), 1, 16), substr(max(key), 1, 16) FROM attempt);

-- name: sealed
-- Every secret that is sealed under the master key, and whose it is.
SELECT 'application ' || id, callback_secret FROM app WHERE callback_secret IS NOT NULL
UNION ALL SELECT 'application ' || id, previous_secret FROM app WHERE previous_secret IS NOT NULL
UNION ALL SELECT 'endpoint ' || uid, secret FROM endpoint
UNION ALL SELECT 'endpoint ' || uid, previous_secret FROM endpoint WHERE previous_secret IS NOT NULL
UNION ALL SELECT 'endpoint ' || uid, credentials FROM endpoint WHERE credentials IS NOT NULL
UNION ALL SELECT 'listener ' || name, secret FROM listener;
