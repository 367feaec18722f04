-- name: schema
-- Version 1 of the schema on PostgreSQL. Times are ms since the epoch, ids 16 bytes, dispatch keys 18, lanes' 18 or 20.
-- What grows with history is partitioned by message id, the same bounds everywhere (ADR 0008); nothing refers to it.

CREATE TABLE meta(
  name   TEXT COLLATE "C" PRIMARY KEY,
  number BIGINT,
  words  TEXT,
  place  BYTEA
) WITH (fillfactor = 50);

CREATE TABLE app(
  id              BIGINT PRIMARY KEY,
  name            TEXT NOT NULL,
  mode            TEXT NOT NULL,
  ttl_s           BIGINT,
  fallback        TEXT NOT NULL,
  app_key         TEXT COLLATE "C" NOT NULL UNIQUE,
  created_at      BIGINT NOT NULL,
  callback_secret BYTEA,
  previous_secret BYTEA,
  previous_until  BIGINT
);

-- A user, and the row whose lock orders the user's messages: seq is counted under it, never drawn from a sequence.
CREATE TABLE recipient(
  id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  app           BIGINT NOT NULL,
  folded        TEXT COLLATE "C" NOT NULL,
  identifier    TEXT COLLATE "C" NOT NULL,
  password_hash TEXT NOT NULL,
  mobile_number TEXT,
  attributes    TEXT,
  seq           BIGINT NOT NULL DEFAULT 0,
  wakeable      INTEGER NOT NULL DEFAULT 0,   -- how many of the devices have a push token
  created_at    BIGINT NOT NULL,
  UNIQUE(app, folded)
) WITH (fillfactor = 70);

CREATE TABLE device(
  id               TEXT COLLATE "C" PRIMARY KEY,
  recipient        BIGINT NOT NULL,
  app              BIGINT NOT NULL,
  name             TEXT,
  platform         TEXT NOT NULL,
  token_digest     BYTEA NOT NULL UNIQUE,
  push_platform    TEXT,
  push_token       TEXT COLLATE "C",
  push_environment TEXT,
  cursor           BIGINT NOT NULL DEFAULT 0,
  created_at       BIGINT NOT NULL,
  last_seen_at     BIGINT NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX device_recipient ON device(recipient);
CREATE INDEX device_push ON device(push_token) WHERE push_token IS NOT NULL;

CREATE TABLE token(
  id         TEXT COLLATE "C" PRIMARY KEY,
  name       TEXT NOT NULL,
  kind       TEXT NOT NULL,
  digest     BYTEA NOT NULL,
  scopes     TEXT NOT NULL,
  apps       TEXT,
  created_at BIGINT NOT NULL,
  expires_at BIGINT
);

CREATE TABLE endpoint(
  id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  uid             TEXT COLLATE "C" NOT NULL UNIQUE,
  app             BIGINT NOT NULL,
  kind            TEXT NOT NULL,
  url             TEXT COLLATE "C" NOT NULL,
  form            TEXT NOT NULL,
  statuses        BIGINT,
  timestamp_unit  TEXT NOT NULL,
  description     TEXT,
  state           TEXT NOT NULL,
  state_reason    TEXT,
  secret          BYTEA NOT NULL,
  created_at      BIGINT NOT NULL,
  last_success_at BIGINT,
  options         TEXT NOT NULL DEFAULT '{}',
  credentials     BYTEA,
  paused          BOOLEAN NOT NULL DEFAULT FALSE,
  previous_secret BYTEA,
  previous_until  BIGINT,
  failing_since   BIGINT,
  disabled_at     BIGINT,
  is_ordered      BOOLEAN NOT NULL DEFAULT TRUE   -- what ``options`` say, for the hot path
) WITH (fillfactor = 70);
CREATE INDEX endpoint_app ON endpoint(app);
-- One for each application and origin that messages name in their notifyCallback.
CREATE UNIQUE INDEX endpoint_notify ON endpoint(app, url) WHERE kind = 'notify';

CREATE TABLE job(
  id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  uid        TEXT COLLATE "C" NOT NULL UNIQUE,
  app        BIGINT NOT NULL,
  kind       TEXT NOT NULL,
  state      TEXT NOT NULL,
  spec       TEXT NOT NULL,
  rate       DOUBLE PRECISION,
  total      BIGINT,
  opened     BIGINT NOT NULL DEFAULT 0,
  done       BIGINT NOT NULL DEFAULT 0,
  failed     BIGINT NOT NULL DEFAULT 0,
  is_walked  BOOLEAN NOT NULL DEFAULT FALSE,
  created_at BIGINT NOT NULL,
  ended_at   BIGINT,
  cursor     BYTEA
) WITH (fillfactor = 50);

CREATE TABLE message(
  id         BYTEA PRIMARY KEY,
  app        BIGINT NOT NULL,
  ref        TEXT COLLATE "C",
  body       BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX message_app ON message(app, id);
-- Senders' own ids come in no order. By stretches of time (three bytes of an id: 4 hours 40 minutes) what is written now
-- lies together.
CREATE INDEX message_stretch_ref ON message(substr(id, 1, 3), ref) WHERE ref IS NOT NULL;

-- One message to one recipient: the facts of its callbacks and the state of its life (lifecycle.dispatch.State).
CREATE TABLE dispatch(
  key              BYTEA PRIMARY KEY,
  app              BIGINT NOT NULL,
  recipient        BIGINT,
  seq              BIGINT NOT NULL,
  identifier       TEXT COLLATE "C" NOT NULL,
  message_ref      TEXT COLLATE "C",
  recipient_ref    TEXT,
  fallback_ref     TEXT,
  text             TEXT,
  timer_at         BIGINT,
  notify_endpoint  BIGINT,                    -- NULL: the application's endpoints; 0: nobody any more
  notify           TEXT,
  message          BIGINT NOT NULL,
  fallback         BIGINT NOT NULL,
  emitted          BIGINT NOT NULL,
  events           BIGINT NOT NULL,
  last_at          BIGINT NOT NULL,
  expires_at       BIGINT NOT NULL,
  mode             BIGINT NOT NULL,
  undelivered_at   BIGINT,
  unread_ms        BIGINT,
  delivered_at     BIGINT,
  fallback_at      BIGINT,
  sms_submitted_at BIGINT
) PARTITION BY RANGE (key);
CREATE INDEX dispatch_recipient ON dispatch(recipient, seq) WHERE recipient IS NOT NULL;

CREATE TABLE event(
  key      BYTEA NOT NULL,
  n        BIGINT NOT NULL,
  status   BIGINT NOT NULL,
  at       BIGINT NOT NULL,
  position BIGINT NOT NULL,                   -- when it was recorded, for feeds (ADR 0008)
  PRIMARY KEY(key, n)
) PARTITION BY RANGE (key);
CREATE INDEX event_position ON event(position);

-- What happened to a dispatch and is no event: ignored receipts, refusals, reasons.
CREATE SEQUENCE history_id CACHE 32;
CREATE TABLE history(
  id     BIGINT NOT NULL DEFAULT nextval('history_id'),
  key    BYTEA NOT NULL,
  at     BIGINT NOT NULL,
  code   TEXT NOT NULL,
  detail TEXT
) PARTITION BY RANGE (key);
CREATE INDEX history_key ON history(key);

-- What was settled for good, per dispatch and endpoint, kept as long as the events.
CREATE TABLE settled(
  key      BYTEA NOT NULL,
  endpoint BIGINT NOT NULL,
  done     BIGINT NOT NULL,
  dead     BIGINT NOT NULL,
  PRIMARY KEY(key, endpoint)
) PARTITION BY RANGE (key);

-- The log of tries: numbered by a sequence, which is good enough for a log and for nothing else.
CREATE SEQUENCE attempt_id;
CREATE TABLE attempt(
  id       BIGINT NOT NULL DEFAULT nextval('attempt_id'),
  endpoint BIGINT NOT NULL,
  key      BYTEA NOT NULL,
  n        BIGINT NOT NULL,
  tries    BIGINT NOT NULL,
  at       BIGINT NOT NULL,
  took     BIGINT NOT NULL,
  code     BIGINT NOT NULL,
  error    TEXT,
  address  TEXT,
  answer   BYTEA,
  detail   BYTEA,
  PRIMARY KEY(id, key)
) PARTITION BY RANGE (key);
CREATE INDEX attempt_endpoint ON attempt(endpoint, id);

CREATE TABLE incoming(
  id          BYTEA PRIMARY KEY,
  app         BIGINT NOT NULL,
  recipient   BIGINT NOT NULL,
  identifier  TEXT NOT NULL,
  device      TEXT COLLATE "C" NOT NULL,
  client_ref  TEXT COLLATE "C",
  text        TEXT NOT NULL,
  channel     TEXT,
  in_reply_to BYTEA,
  at          BIGINT NOT NULL,
  position    BIGINT NOT NULL
);
CREATE UNIQUE INDEX incoming_client_ref ON incoming(device, client_ref) WHERE client_ref IS NOT NULL;
CREATE INDEX incoming_position ON incoming(position);

-- What one endpoint must still be told about one dispatch. due NULL: held in memory by epoch ``owner``.
CREATE TABLE lane(
  key      BYTEA NOT NULL,
  endpoint BIGINT NOT NULL,
  pending  BIGINT NOT NULL,
  tries    BIGINT NOT NULL DEFAULT 0,
  due      BIGINT,
  owner    BIGINT NOT NULL,
  job      BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY(key, endpoint)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lane_due ON lane(endpoint, due, key) WHERE due IS NOT NULL;
CREATE INDEX lane_job ON lane(job) WHERE job <> 0;

CREATE TABLE dead(
  key      BYTEA NOT NULL,
  endpoint BIGINT NOT NULL,
  n        BIGINT NOT NULL,
  at       BIGINT NOT NULL,
  reason   TEXT NOT NULL,
  PRIMARY KEY(endpoint, key, n)
);

-- A push or an SMS to do. due NULL: held in memory by epoch ``owner``.
CREATE TABLE command(
  key    BYTEA NOT NULL,
  kind   BIGINT NOT NULL,
  tries  BIGINT NOT NULL DEFAULT 0,
  due    BIGINT,
  owner  BIGINT NOT NULL,
  detail TEXT,
  PRIMARY KEY(key, kind)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX command_due ON command(due) WHERE due IS NOT NULL;

-- A dispatch's next deadline; dispatch.timer_at says which row is its own.
CREATE TABLE timer(
  at  BIGINT NOT NULL,
  key BYTEA NOT NULL,
  PRIMARY KEY(at, key)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

-- By which receipts of SMS find their dispatch.
CREATE TABLE sms(
  carrier    TEXT COLLATE "C" NOT NULL,
  carrier_id TEXT COLLATE "C" NOT NULL,
  key        BYTEA NOT NULL,
  at         BIGINT NOT NULL,
  PRIMARY KEY(carrier, carrier_id)
);

CREATE TABLE idempotency(
  scope  TEXT COLLATE "C" NOT NULL,
  key    TEXT COLLATE "C" NOT NULL,
  digest BYTEA NOT NULL,
  answer BYTEA NOT NULL,
  at     BIGINT NOT NULL,
  PRIMARY KEY(scope, key)
) WITH (fillfactor = 70);
CREATE INDEX idempotency_at ON idempotency(at);

-- What is told about an endpoint itself to those of kind operations.
CREATE TABLE operation(
  id           BYTEA PRIMARY KEY,
  app          BIGINT NOT NULL,
  type         TEXT NOT NULL,
  endpoint_uid TEXT NOT NULL,
  reason       TEXT NOT NULL,
  at           BIGINT NOT NULL
);

-- Who follows the feed under a name, among tokens of one reach (JSON: null, or ids in order). Its times are real.
CREATE TABLE listener(
  reach      TEXT COLLATE "C" NOT NULL,
  name       TEXT COLLATE "C" NOT NULL,
  apps       TEXT,
  secret     BYTEA NOT NULL,
  position   BIGINT NOT NULL,
  holder     TEXT NOT NULL,
  lease      TEXT NOT NULL,
  held_until BIGINT NOT NULL,
  seen_at    BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY(reach, name)
) WITH (fillfactor = 50);

-- One row for each epoch that lives; without its row an epoch is dead, and cannot come back. Real time, never a test's.
CREATE TABLE node(
  epoch       BIGINT PRIMARY KEY,
  name        TEXT NOT NULL,
  roles       TEXT NOT NULL,
  started_at  TIMESTAMPTZ NOT NULL,
  alive_until TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Which recipient has a live link at which node. Unlogged: after a crash of the server every node says it again.
CREATE UNLOGGED TABLE link(
  recipient BIGINT NOT NULL,
  epoch     BIGINT NOT NULL,
  PRIMARY KEY(recipient, epoch)
);

-- Changes of configuration in the order of their commits, for the other nodes; kept for a day.
CREATE TABLE change(
  version BIGINT PRIMARY KEY,
  epoch   BIGINT NOT NULL,
  at      TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
  kind    TEXT NOT NULL,
  change  BYTEA NOT NULL,
  value   BYTEA NOT NULL
);

INSERT INTO meta(name, number) VALUES ('epoch', 0), ('registry', 0), ('highest_app', 0);

CREATE FUNCTION in_weeks() RETURNS TEXT[] LANGUAGE sql IMMUTABLE AS $$
-- The tables that lie in weeks, in the order in which everybody locks them: a commit, too.
SELECT ARRAY['message', 'dispatch', 'event', 'history', 'attempt', 'settled'];
$$;

CREATE FUNCTION week_settings(parent TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
-- Two are updated in place a few times in a life: room beside the row spares the indexes.
SELECT CASE WHEN parent IN ('dispatch', 'settled') THEN 'fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05'
  ELSE 'autovacuum_vacuum_insert_scale_factor = 0.1' END;
$$;

CREATE FUNCTION make_partition(suffix TEXT, low BYTEA, high BYTEA) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
-- One partition of each table with these bounds; a NULL low takes everything older. False if it is there already.
-- Each is made beside its table and attached: whoever reads or writes meanwhile is in nobody's way.
DECLARE
  parent TEXT;
BEGIN
  PERFORM pg_advisory_xact_lock(5208491672071064);
  IF to_regclass('message_' || suffix) IS NOT NULL THEN
    RETURN FALSE;
  END IF;
  FOREACH parent IN ARRAY in_weeks() LOOP
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE) WITH (%s)',
      parent || '_' || suffix, parent, week_settings(parent));
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%L)',
      parent, parent || '_' || suffix, CASE WHEN low IS NULL THEN 'MINVALUE' ELSE quote_literal(low) END, high);
  END LOOP;
  RETURN TRUE;
END $$;
