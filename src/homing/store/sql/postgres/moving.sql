-- A copy of another store that comes here: how far it is. Its notes are rows of ``meta`` until it is finished.

-- name: take
-- One process at a time; for as long as its connection lives.
SELECT pg_advisory_lock(5208491672071065);

-- name: progress
SELECT number, words, place FROM meta WHERE name = $1;

-- name: note
-- With the rows that it speaks of, in one transaction.
INSERT INTO meta(name, number, words, place) VALUES ($1, $2, $3, $4)
ON CONFLICT(name) DO UPDATE SET number = excluded.number, words = excluded.words, place = excluded.place;

-- name: put_meta
-- What the store knew of itself.
INSERT INTO meta(name, number, words, place) VALUES ($1, $2, $3, $4)
ON CONFLICT(name) DO UPDATE SET number = excluded.number, words = excluded.words, place = excluded.place;

-- name: meta
SELECT name, number, words, place FROM meta WHERE name = ANY($1::text[]);

-- name: forget
-- All notes of the copy.
DELETE FROM meta WHERE name = $1 OR starts_with(name, $2);

-- name: wait_for_disk
-- The copy itself does not wait: what its death loses, notes and rows together, is copied again.
SELECT set_config('synchronous_commit', 'on', true);
