-- name: migrate
-- Version 2: weeks of old messages go in one short step, what an endpoint leaves goes in many; the settings of hot tables.

CREATE FUNCTION points_below(high BYTEA, now_ms BIGINT, timers_until BIGINT) RETURNS TEXT LANGUAGE plpgsql
SET enable_seqscan = off AS $$
-- What still points at a message below a bound, in one word; NULL: nothing does. Deadlines are looked at up to an
-- instant: their table is in the order of time, not of messages.
DECLARE
  high_ms CONSTANT BIGINT := ('x' || encode(substr(high, 1, 6), 'hex'))::bit(48)::bigint;
BEGIN
  RETURN CASE
    WHEN EXISTS (SELECT 1 FROM lane WHERE key < high) THEN 'lane'
    WHEN EXISTS (SELECT 1 FROM command WHERE key < high) THEN 'command'
    WHEN EXISTS (SELECT 1 FROM timer WHERE at < timers_until AND key < high) THEN 'timer'
    -- A replay that is not through walks upwards from its cursor, or from 30 days before the time it is about.
    WHEN EXISTS (SELECT 1 FROM job WHERE state IN ('running', 'paused') AND NOT is_walked AND coalesce(
      cursor, decode(spec::json ->> 'message', 'base64'),
      substr(int8send(greatest(0, (spec::json ->> 'since_ms')::bigint - 2592000000)), 3), ''::bytea) < high) THEN 'job'
    -- Whoever repeats a key within its day is answered with what the first request made.
    WHEN EXISTS (SELECT 1 FROM idempotency WHERE at < high_ms AND at > now_ms - 86400000) THEN 'idempotency'
  END;
END $$;

CREATE FUNCTION drop_week(suffix TEXT, high BYTEA, now_ms BIGINT, patience TEXT) RETURNS TEXT LANGUAGE plpgsql AS $$
-- Everything of the messages below a bound, which is the upper one of a week: "dropped"; or what keeps it, in one word
-- (see points_below); or "busy", or "gone". Everybody waits while this one waits for its locks, so not for long.
-- All that is older goes with it; what is older still, and comes late, has its partition all the same.
-- Whoever opens a lane, a command or a timer has read the dispatch before, in the same transaction: with the tables
-- locked, all that are to come are here to be seen.
DECLARE
  parents CONSTANT TEXT[] := in_weeks();
  low_ms CONSTANT BIGINT := ('x' || encode(substr(high, 1, 6), 'hex'))::bit(48)::bigint;
  old TEXT;
  parent TEXT;
  word TEXT;
BEGIN
  IF NOT pg_try_advisory_xact_lock(5208491672071064) THEN
    RETURN 'busy';
  END IF;
  IF to_regclass('message_' || suffix) IS NULL THEN
    RETURN 'gone';
  END IF;
  PERFORM set_config('lock_timeout', patience, TRUE);
  SELECT string_agg(quote_ident(c.relname), ', ') INTO old
  FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_class AS p ON p.oid = i.inhparent
  WHERE p.oid = ANY(parents::regclass[]) AND c.relname IN (p.relname || '_' || suffix, p.relname || '_before');
  FOREACH parent IN ARRAY parents LOOP
    EXECUTE format('LOCK TABLE ONLY %I IN ACCESS EXCLUSIVE MODE', parent);
  END LOOP;
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', old);
  -- A deadline comes at most four days after its message (two to expire, two to be read); a week is to spare.
  word := points_below(high, now_ms, low_ms + 604800000);
  IF word IS NOT NULL THEN
    RETURN word;
  END IF;
  EXECUTE format('DROP TABLE %s', old);
  PERFORM make_partition('before', NULL, high);
  INSERT INTO meta(name, place) VALUES ('messages_floor', high) ON CONFLICT(name) DO UPDATE SET place = excluded.place;
  RETURN 'dropped';
END $$;

-- What is kept beside the weeks goes after them, a few rows at a time.
CREATE INDEX dead_key ON dead(key);
CREATE INDEX sms_key ON sms(key);

-- What is left of endpoints that were deleted, and how far the walk along the lanes is.
CREATE TABLE doomed(
  endpoint BIGINT NOT NULL,
  leaves   TEXT COLLATE "C" NOT NULL,         -- lane or dead
  place    BYTEA NOT NULL DEFAULT '',
  PRIMARY KEY(endpoint, leaves)
) WITH (fillfactor = 50);

-- What changes all the time and must not wait until a fifth of a large table is dead (docs/performance.md).
ALTER TABLE idempotency SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0);
ALTER TABLE recipient SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0);
ALTER TABLE endpoint SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
ALTER TABLE meta SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

CREATE OR REPLACE FUNCTION week_settings(parent TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
-- Two are updated twice in a life, soon: with room for both beside the row, no index is touched, and no vacuum waited for.
SELECT CASE WHEN parent IN ('dispatch', 'settled') THEN 'fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05'
  ELSE 'autovacuum_vacuum_insert_scale_factor = 0.1' END;
$$;

DO $$
-- The weeks there are.
DECLARE
  week REGCLASS;
BEGIN
  FOR week IN SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('dispatch'::regclass, 'settled'::regclass) LOOP
    EXECUTE format('ALTER TABLE %s SET (fillfactor = 50)', week);
  END LOOP;
END $$;
