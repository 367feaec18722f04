"""The next step of the schema on PostgreSQL, as a later release might bring it."""

NEXT = """-- Version 99: what a later release brings.
CREATE TABLE later(id BIGINT PRIMARY KEY);
CREATE INDEX later_id ON later(id);
ALTER TABLE app ADD COLUMN later TEXT NOT NULL DEFAULT 'as before';
UPDATE recipient SET wakeable = 0 WHERE wakeable < 0;
CREATE INDEX lane_later ON lane(tries);
CREATE FUNCTION later() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM dead; END $$;
"""
