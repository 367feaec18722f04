-- What has had its time: deleted in small steps, so that nothing else waits.

-- name: old_attempts
-- The log's numbers ascend with time; one walk deletes what succeeded, a later one the rest.
SELECT id, at, error IS NULL FROM attempt WHERE id > ? ORDER BY id LIMIT ?;

-- name: drop_attempts
-- Those of a run of numbers that went well.
DELETE FROM attempt WHERE id > ? AND id <= ? AND (error IS NULL OR ?);

-- name: old_dead
-- The longest given up, in the table's own order: a step looks at so many and remembers where it stopped.
SELECT endpoint, key, n, at FROM dead WHERE (endpoint, key, n) > (?, ?, ?) ORDER BY endpoint, key, n LIMIT ?;

-- name: drop_dead
-- Told or not, it is forgotten; that it was given up stays with the dispatch.
DELETE FROM dead WHERE endpoint = ? AND key = ? AND n = ?;

-- name: drop_operations
-- Facts about endpoints that nobody is owed any more: their endpoint was deleted.
DELETE FROM operation WHERE id IN (SELECT o.id FROM operation AS o WHERE o.at < ?1
  AND NOT EXISTS (SELECT 1 FROM lane AS l WHERE l.key = CAST(o.id || x'fffe' AS BLOB)) LIMIT ?2);
