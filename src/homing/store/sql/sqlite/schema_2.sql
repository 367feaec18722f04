-- name: migrate
-- Version 2: options and health of endpoints, callbacks of a message's own, lanes beside lanes, jobs, a feed by position and its listeners.

ALTER TABLE app ADD COLUMN callback_secret BLOB;
ALTER TABLE app ADD COLUMN previous_secret BLOB;
ALTER TABLE app ADD COLUMN previous_until INTEGER;

ALTER TABLE endpoint ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE endpoint ADD COLUMN credentials BLOB;
ALTER TABLE endpoint ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoint ADD COLUMN previous_secret BLOB;
ALTER TABLE endpoint ADD COLUMN previous_until INTEGER;
ALTER TABLE endpoint ADD COLUMN failing_since INTEGER;
ALTER TABLE endpoint ADD COLUMN disabled_at INTEGER;
-- One for each application and origin that messages name in their notifyCallback.
CREATE UNIQUE INDEX endpoint_notify ON endpoint(app, url) WHERE kind = 'notify';

-- Where a message's own callbacks go. NULL: to the application's endpoints; 0: to nobody any more.
ALTER TABLE dispatch ADD COLUMN notify_endpoint INTEGER;
ALTER TABLE dispatch ADD COLUMN notify TEXT;

-- Replays and single events have lanes of their own, with a longer key (ADR 0006).
ALTER TABLE lane DROP COLUMN replay;
ALTER TABLE lane ADD COLUMN job INTEGER NOT NULL DEFAULT 0;
CREATE INDEX lane_job ON lane(job) WHERE job <> 0;

ALTER TABLE attempt ADD COLUMN detail BLOB;

-- Senders' own ids come in no order. By stretches of time (three bytes of an id: 4 hours 40 minutes) what is written now
-- lies together; over all ten million messages each would change a page of its own.
DROP INDEX message_ref;
CREATE INDEX message_stretch_ref ON message(substr(id, 1, 3), ref) WHERE ref IS NOT NULL;

CREATE INDEX event_position ON event(position);
-- What came before there was a feed stands before all of it.
ALTER TABLE incoming ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
CREATE INDEX incoming_position ON incoming(position);

-- What is told about an endpoint itself to those of kind operations.
CREATE TABLE operation(
  id           BLOB PRIMARY KEY,
  app          INTEGER NOT NULL,
  type         TEXT NOT NULL,
  endpoint_uid TEXT NOT NULL,
  reason       TEXT NOT NULL,
  at           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE job(
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  uid        TEXT NOT NULL UNIQUE,
  app        INTEGER NOT NULL,
  kind       TEXT NOT NULL,
  state      TEXT NOT NULL,
  spec       TEXT NOT NULL,
  rate       REAL,
  total      INTEGER,
  opened     INTEGER NOT NULL DEFAULT 0,
  done       INTEGER NOT NULL DEFAULT 0,
  failed     INTEGER NOT NULL DEFAULT 0,
  is_walked  INTEGER NOT NULL DEFAULT 0,
  cursor     BLOB,
  created_at INTEGER NOT NULL,
  ended_at   INTEGER
) STRICT;

-- Who follows the feed under a name, among tokens of one reach (JSON: null, or ids in order). Its times are real.
CREATE TABLE listener(
  reach      TEXT NOT NULL,
  name       TEXT NOT NULL,
  apps       TEXT,
  secret     BLOB NOT NULL,
  position   INTEGER NOT NULL,
  holder     TEXT NOT NULL,
  lease      TEXT NOT NULL,
  held_until INTEGER NOT NULL,
  seen_at    INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY(reach, name)
) STRICT, WITHOUT ROWID;
