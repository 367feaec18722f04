-- What a copy of the store is counted and made another store by.

-- name: tables
SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name;

-- name: skip_positions
-- Who follows the feed may hold positions that were given after the copy was made: none of them is given twice.
UPDATE meta SET value = value + ? WHERE name = 'position';

-- name: free_lanes
-- Held by the process that was copied, which has nothing to do with this store any more.
UPDATE lane SET due = ?, owner = 0 WHERE due IS NULL;

-- name: free_commands
UPDATE command SET due = ?, owner = 0 WHERE due IS NULL;

-- name: raise_position
-- Behind every position that a copy on PostgreSQL can have given.
INSERT INTO meta(name, value) VALUES ('position', ?) ON CONFLICT(name) DO UPDATE SET value = max(value, excluded.value);

-- name: forget_move
DELETE FROM meta WHERE name = ?;
