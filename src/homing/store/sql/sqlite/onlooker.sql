-- What is asked of a store from beside the process that has it: each a short look.

-- name: newest
-- Events come in the order of their commits, and some tell of an earlier time: the last hundred hold the newest.
SELECT max(at) FROM (SELECT at FROM event INDEXED BY event_position ORDER BY position DESC LIMIT 100);

-- name: dead_count
-- Counted up to a limit: there may be millions.
SELECT count(*) FROM (SELECT 1 FROM dead WHERE endpoint = ? LIMIT ?);
