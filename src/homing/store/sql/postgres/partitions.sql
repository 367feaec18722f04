-- Partitions by message id: made ahead, dropped when their time is over.

-- name: make
SELECT make_partition($1, $2, $3);

-- name: drop
SELECT drop_partition($1, $2);

-- name: all
-- Their suffixes.
SELECT substr(c.relname, 9) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'message'::regclass ORDER BY 1;

-- name: patience
-- Dropping waits for running transactions, and everything else waits behind it: not for long.
SET LOCAL lock_timeout = '300ms';
