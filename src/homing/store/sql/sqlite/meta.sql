-- What the store knows of itself.

-- name: get
SELECT value FROM meta WHERE name = ?;

-- name: put
INSERT INTO meta(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value;

-- name: has_meta
SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta';
