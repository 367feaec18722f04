-- What the store knows of itself.

-- name: lock_schema
-- Two nodes that start at once migrate one after the other; let go with the transaction.
SELECT pg_advisory_xact_lock(5208491672071063);

-- name: has_meta
SELECT to_regclass('meta') IS NOT NULL;

-- name: number
SELECT number FROM meta WHERE name = $1;

-- name: words
SELECT words FROM meta WHERE name = $1;

-- name: put_number
INSERT INTO meta(name, number) VALUES ($1, $2) ON CONFLICT(name) DO UPDATE SET number = excluded.number;

-- name: put_words
INSERT INTO meta(name, words) VALUES ($1, $2) ON CONFLICT(name) DO UPDATE SET words = excluded.words;

-- name: put_place
INSERT INTO meta(name, place) VALUES ($1, $2) ON CONFLICT(name) DO UPDATE SET place = excluded.place;

-- name: lock_number
-- Whoever counts with it waits here for whoever counted before, until that one's transaction has ended.
SELECT number FROM meta WHERE name = $1 FOR UPDATE;

-- name: size
-- The whole database, indexes and what is dead included.
SELECT pg_database_size(current_database());
