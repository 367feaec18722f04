-- name: schema
-- Version 1 of the embedded store's schema. Times are ms since the epoch, ids 16 bytes, dispatch keys 18 bytes.

CREATE TABLE meta(
  name  TEXT PRIMARY KEY,
  value ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE app(
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  mode       TEXT NOT NULL,
  ttl_s      INTEGER,
  fallback   TEXT NOT NULL,
  app_key    TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
) STRICT;

-- A user, and the row whose lock orders the user's messages. AUTOINCREMENT: an id is never given to somebody else.
CREATE TABLE recipient(
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  app           INTEGER NOT NULL,
  folded        TEXT NOT NULL,
  identifier    TEXT NOT NULL,
  password_hash TEXT NOT NULL,
  mobile_number TEXT,
  attributes    TEXT,
  seq           INTEGER NOT NULL DEFAULT 0,
  wakeable      INTEGER NOT NULL DEFAULT 0,   -- how many of the devices have a push token
  created_at    INTEGER NOT NULL,
  UNIQUE(app, folded)
) STRICT;

CREATE TABLE device(
  id               TEXT PRIMARY KEY,
  recipient        INTEGER NOT NULL,
  app              INTEGER NOT NULL,
  name             TEXT,
  platform         TEXT NOT NULL,
  token_digest     BLOB NOT NULL UNIQUE,
  push_platform    TEXT,
  push_token       TEXT,
  push_environment TEXT,
  cursor           INTEGER NOT NULL DEFAULT 0,
  created_at       INTEGER NOT NULL,
  last_seen_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX device_recipient ON device(recipient);
CREATE INDEX device_push ON device(push_token) WHERE push_token IS NOT NULL;

CREATE TABLE token(
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  kind       TEXT NOT NULL,
  digest     BLOB NOT NULL,
  scopes     TEXT NOT NULL,
  apps       TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoint(
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  uid             TEXT NOT NULL UNIQUE,
  app             INTEGER NOT NULL,
  kind            TEXT NOT NULL,
  url             TEXT NOT NULL,
  form            TEXT NOT NULL,
  statuses        INTEGER,
  timestamp_unit  TEXT NOT NULL,
  description     TEXT,
  state           TEXT NOT NULL,
  state_reason    TEXT,
  secret          BLOB NOT NULL,
  created_at      INTEGER NOT NULL,
  last_success_at INTEGER
) STRICT;
CREATE INDEX endpoint_app ON endpoint(app);

CREATE TABLE message(
  id         BLOB PRIMARY KEY,
  app        INTEGER NOT NULL,
  ref        TEXT,
  body       BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX message_app ON message(app, id);
CREATE INDEX message_ref ON message(ref) WHERE ref IS NOT NULL;

-- One message to one recipient: the facts of its callbacks and the state of its life (lifecycle.dispatch.State).
CREATE TABLE dispatch(
  key              BLOB PRIMARY KEY,
  app              INTEGER NOT NULL,
  recipient        INTEGER,
  seq              INTEGER NOT NULL,
  identifier       TEXT NOT NULL,
  message_ref      TEXT,
  recipient_ref    TEXT,
  fallback_ref     TEXT,
  text             TEXT,
  timer_at         INTEGER,
  message          INTEGER NOT NULL,
  fallback         INTEGER NOT NULL,
  emitted          INTEGER NOT NULL,
  events           INTEGER NOT NULL,
  last_at          INTEGER NOT NULL,
  expires_at       INTEGER NOT NULL,
  mode             INTEGER NOT NULL,
  undelivered_at   INTEGER,
  unread_ms        INTEGER,
  delivered_at     INTEGER,
  fallback_at      INTEGER,
  sms_submitted_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX dispatch_recipient ON dispatch(recipient, seq) WHERE recipient IS NOT NULL;

CREATE TABLE event(
  key      BLOB NOT NULL,
  n        INTEGER NOT NULL,
  status   INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  position INTEGER NOT NULL,                  -- the order of commits, for feeds
  PRIMARY KEY(key, n)
) STRICT, WITHOUT ROWID;

-- What happened to a dispatch and is no event: ignored receipts, refusals, reasons.
CREATE TABLE history(
  id     INTEGER PRIMARY KEY,
  key    BLOB NOT NULL,
  at     INTEGER NOT NULL,
  code   TEXT NOT NULL,
  detail TEXT
) STRICT;
CREATE INDEX history_key ON history(key);

CREATE TABLE incoming(
  id          BLOB PRIMARY KEY,
  app         INTEGER NOT NULL,
  recipient   INTEGER NOT NULL,
  identifier  TEXT NOT NULL,
  device      TEXT NOT NULL,
  client_ref  TEXT,
  text        TEXT NOT NULL,
  channel     TEXT,
  in_reply_to BLOB,
  at          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX incoming_client_ref ON incoming(device, client_ref) WHERE client_ref IS NOT NULL;

-- What one endpoint must still be told about one dispatch. due NULL: held in memory by epoch ``owner``.
CREATE TABLE lane(
  key      BLOB NOT NULL,
  endpoint INTEGER NOT NULL,
  pending  INTEGER NOT NULL,
  replay   INTEGER NOT NULL DEFAULT 0,
  tries    INTEGER NOT NULL DEFAULT 0,
  due      INTEGER,
  owner    INTEGER NOT NULL,
  PRIMARY KEY(key, endpoint)
) STRICT, WITHOUT ROWID;
CREATE INDEX lane_due ON lane(endpoint, due) WHERE due IS NOT NULL;

-- What was settled for good, per dispatch and endpoint, kept as long as the events.
CREATE TABLE settled(
  key      BLOB NOT NULL,
  endpoint INTEGER NOT NULL,
  done     INTEGER NOT NULL,
  dead     INTEGER NOT NULL,
  PRIMARY KEY(key, endpoint)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead(
  key      BLOB NOT NULL,
  endpoint INTEGER NOT NULL,
  n        INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  reason   TEXT NOT NULL,
  PRIMARY KEY(endpoint, key, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt(
  id       INTEGER PRIMARY KEY,
  endpoint INTEGER NOT NULL,
  key      BLOB NOT NULL,
  n        INTEGER NOT NULL,
  tries    INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  took     INTEGER NOT NULL,
  code     INTEGER NOT NULL,
  error    TEXT,
  address  TEXT,
  answer   BLOB
) STRICT;
CREATE INDEX attempt_endpoint ON attempt(endpoint, id);

-- A push or an SMS to do. due NULL: held in memory by epoch ``owner``.
CREATE TABLE command(
  key    BLOB NOT NULL,
  kind   INTEGER NOT NULL,
  tries  INTEGER NOT NULL DEFAULT 0,
  due    INTEGER,
  owner  INTEGER NOT NULL,
  detail TEXT,
  PRIMARY KEY(key, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX command_due ON command(due) WHERE due IS NOT NULL;

-- A dispatch's next deadline; dispatch.timer_at says which row is its own.
CREATE TABLE timer(
  at  INTEGER NOT NULL,
  key BLOB NOT NULL,
  PRIMARY KEY(at, key)
) STRICT, WITHOUT ROWID;

-- By which receipts of SMS find their dispatch.
CREATE TABLE sms(
  carrier    TEXT NOT NULL,
  carrier_id TEXT NOT NULL,
  key        BLOB NOT NULL,
  at         INTEGER NOT NULL,
  PRIMARY KEY(carrier, carrier_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency(
  scope   TEXT NOT NULL,
  key     TEXT NOT NULL,
  digest  BLOB NOT NULL,
  answer  BLOB NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY(scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency(at);
