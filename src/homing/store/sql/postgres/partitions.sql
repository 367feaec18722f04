-- Partitions by message id: made ahead, dropped when their time is over.

-- name: make
SELECT make_partition($1, $2, $3);

-- name: drop_week
-- A statement of its own, outside any transaction: a node that stands still meanwhile holds no lock.
SELECT drop_week($1, $2, $3, $4);

-- name: points_below
-- What would keep it, found out without a lock.
SELECT points_below($1, $2, 9223372036854775807);

-- name: all
-- Their suffixes.
SELECT substr(c.relname, 9) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'message'::regclass ORDER BY 1;

-- name: patience
-- Making one waits for whoever changes or vacuums the table itself, and the next of them behind it: not for long. For as
-- long as the session lives.
SET lock_timeout = '300ms';
