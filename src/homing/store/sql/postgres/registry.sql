-- Configuration: applications, users, devices, endpoints, tokens. Rare writes, small tables.

-- name: highest_app
-- Ids are never given twice by us: a new application must not inherit the messages of a deleted one.
-- Whoever else makes one waits here.
SELECT greatest(number, (SELECT max(id) FROM app)) FROM meta WHERE name = 'highest_app' FOR UPDATE;

-- name: remember_highest_app
-- Also for ids that were chosen.
UPDATE meta SET number = greatest(number, $1) WHERE name = 'highest_app';

-- name: add_app
-- No row comes back when the id or the key is taken.
INSERT INTO app(id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING
RETURNING id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret, previous_secret, previous_until;

-- name: set_app
-- Everything but the id, the key and the day it was made.
UPDATE app SET name = $2, mode = $3, ttl_s = $4, fallback = $5 WHERE id = $1
RETURNING id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret, previous_secret, previous_until;

-- name: rotate_app_secret
-- The one before signs as well for a while.
UPDATE app SET previous_secret = CASE WHEN $3::bigint IS NULL THEN NULL ELSE callback_secret END, previous_until = $3,
  callback_secret = $2 WHERE id = $1
RETURNING id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret, previous_secret, previous_until;

-- name: drop_app
-- Its users, devices and endpoints are dropped by statements of their own.
DELETE FROM app WHERE id = $1 RETURNING id;

-- name: lock_app_endpoints
-- Nobody opens a lane to them any more.
SELECT id FROM endpoint WHERE app = $1 ORDER BY id FOR UPDATE;

-- name: drop_app_users
-- Their dispatches stay and come to their end.
DELETE FROM recipient WHERE app = $1;

-- name: drop_app_devices
-- Nobody can log in any more. Before the users, by whom they are found.
DELETE FROM device WHERE recipient IN (SELECT id FROM recipient WHERE app = $1);

-- name: drop_app_lanes
-- Later, by steps (remains.sql).
INSERT INTO doomed(endpoint, leaves) SELECT id, 'lane' FROM endpoint WHERE app = $1 ON CONFLICT DO NOTHING;

-- name: drop_app_dead
-- Likewise.
INSERT INTO doomed(endpoint, leaves) SELECT id, 'dead' FROM endpoint WHERE app = $1 ON CONFLICT DO NOTHING;

-- name: drop_app_endpoints
-- After their lanes.
DELETE FROM endpoint WHERE app = $1;

-- name: app
-- One application.
SELECT id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret, previous_secret, previous_until FROM app WHERE id = $1;

-- name: apps
-- A page of them.
SELECT id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret, previous_secret, previous_until FROM app WHERE id > $1 ORDER BY id LIMIT $2;

-- name: add_user
-- No row comes back when the identifier is taken.
INSERT INTO recipient(app, folded, identifier, password_hash, mobile_number, attributes, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING RETURNING id, app, identifier, mobile_number, attributes, created_at;

-- name: set_user
-- A NULL password keeps the one that is.
UPDATE recipient SET password_hash = coalesce($3, password_hash), mobile_number = $4, attributes = $5
WHERE app = $1 AND folded = $2
RETURNING id, app, identifier, mobile_number, attributes, created_at;

-- name: drop_user
-- The id is told, to find the devices by.
DELETE FROM recipient WHERE app = $1 AND folded = $2 RETURNING id;

-- name: user
-- One user.
SELECT id, app, identifier, mobile_number, attributes, created_at FROM recipient WHERE app = $1 AND folded = $2;

-- name: users
-- A page of them, by folded identifier.
SELECT id, app, identifier, mobile_number, attributes, created_at FROM recipient
WHERE app = $1 AND folded > $2 ORDER BY folded LIMIT $3;

-- name: credentials
-- What a login is checked against.
SELECT r.app, r.id, r.identifier, r.password_hash FROM app AS a JOIN recipient AS r ON r.app = a.id AND r.folded = $2
WHERE a.app_key = $1;

-- name: add_endpoint
-- A new endpoint is active and hears of every event from this commit on.
INSERT INTO endpoint(uid, app, kind, url, form, statuses, timestamp_unit, description, state, secret, created_at,
  options, credentials, paused, is_ordered)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'active', $9, $10, $11::text, $12, $13,
  coalesce(($11::text::json ->> 'ordered')::boolean, TRUE))
ON CONFLICT DO NOTHING
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: set_endpoint
-- What its owner may change.
UPDATE endpoint SET url = $3, form = $4, statuses = $5, timestamp_unit = $6, description = $7, options = $8::text,
  credentials = $9, paused = $10, is_ordered = coalesce(($8::text::json ->> 'ordered')::boolean, TRUE)
WHERE app = $1 AND uid = $2 AND kind <> 'notify'
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: rotate_secret
-- The one before signs as well for a while.
UPDATE endpoint SET previous_secret = CASE WHEN $4::bigint IS NULL THEN NULL ELSE secret END, previous_until = $4, secret = $3
WHERE app = $1 AND uid = $2 AND kind <> 'notify'
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: enable_endpoint
-- It hears of events from this commit on; since when it did not is kept, for whoever wants what was missed.
UPDATE endpoint SET state = 'active', state_reason = NULL, failing_since = NULL WHERE app = $1 AND uid = $2
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: set_health
-- No row comes back when it is gone, disabled, or in this state already.
UPDATE endpoint SET state = $2::text, state_reason = $3, failing_since = $4
WHERE id = $1 AND state NOT IN ('disabled', $2::text)
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: endpoint_by_id
-- One endpoint, whosever.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint WHERE id = $1;

-- name: lock_endpoint
-- One endpoint, whosever, as it stays until the transaction's end.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint WHERE id = $1 FOR NO KEY UPDATE;

-- name: add_notify
-- One for each application and origin.
INSERT INTO endpoint(uid, app, kind, url, form, timestamp_unit, state, secret, created_at)
VALUES ($1, $2, 'notify', $3, 'json', 's', 'active', ''::bytea, $4) ON CONFLICT DO NOTHING;

-- name: enable_notify
-- Nobody can enable it by hand; a new message that names its origin does.
UPDATE endpoint SET state = 'active', state_reason = NULL, failing_since = NULL
WHERE app = $1 AND url = $2 AND kind = 'notify' AND state = 'disabled';

-- name: notify
-- An application's endpoint for an origin.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint WHERE app = $1 AND url = $2 AND kind = 'notify';

-- name: end_notify
-- Nobody is told of this message's events any more.
UPDATE dispatch SET notify_endpoint = 0 WHERE key BETWEEN $1 AND $2 AND notify_endpoint IS NOT NULL;

-- name: drop_endpoint
-- The row that was is told, for the couriers.
DELETE FROM endpoint WHERE app = $1 AND uid = $2 AND kind <> 'notify'
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: drop_endpoint_lanes
-- Later, by steps (remains.sql): nobody is owed them, and nothing more is opened for an endpoint without a row.
INSERT INTO doomed(endpoint, leaves) VALUES ($1, 'lane') ON CONFLICT DO NOTHING;

-- name: drop_endpoint_dead
-- Likewise: what was given up there can be replayed nowhere.
INSERT INTO doomed(endpoint, leaves) VALUES ($1, 'dead') ON CONFLICT DO NOTHING;

-- name: disable_endpoint
-- It gets no new lanes from this commit on.
UPDATE endpoint SET disabled_at = CASE WHEN state = 'disabled' THEN disabled_at ELSE $3 END, state = 'disabled',
  state_reason = $2 WHERE id = $1
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: touch_endpoints
-- Reports of several couriers may come in any order.
UPDATE endpoint SET last_success_at = greatest(last_success_at, seen.at) FROM (
  SELECT e.id, max(s.at) AS at FROM unnest($1::bigint[], $2::bigint[]) AS s(id, at)
  JOIN (SELECT id FROM endpoint WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE) AS e ON e.id = s.id GROUP BY e.id
) AS seen WHERE endpoint.id = seen.id;

-- name: endpoint
-- One endpoint.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint WHERE app = $1 AND uid = $2 AND kind <> 'notify';

-- name: endpoints
-- All there are, for the couriers.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint ORDER BY id;

-- name: endpoints_of_app
-- One application's, oldest first.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint WHERE app = $1 AND kind <> 'notify' ORDER BY id;

-- name: keep_app
-- It cannot be deleted before what is made in it.
SELECT 1 FROM app WHERE id = $1 FOR KEY SHARE;

-- name: add_job
-- It runs at once.
INSERT INTO job(uid, app, kind, state, spec, rate, created_at) VALUES ($1, $2, 'replay', 'running', $3, $4, $5) ON CONFLICT DO NOTHING
RETURNING id, uid, app, kind, state, spec, rate, total, opened, done, failed, is_walked, created_at, ended_at;

-- name: set_job
-- What is NULL stays as it is; one that has ended stays ended.
UPDATE job SET state = coalesce($2::text, state), rate = coalesce($3::double precision, rate),
  total = coalesce($4::bigint, total), ended_at = $5
WHERE uid = $1 AND ended_at IS NULL
RETURNING id, uid, app, kind, state, spec, rate, total, opened, done, failed, is_walked, created_at, ended_at;

-- name: drop_job_lanes
-- Of a job that was cancelled: what it did not tell yet.
DELETE FROM lane WHERE job = $1 AND job <> 0;

-- name: cancel_jobs
-- There is nobody left to tell.
UPDATE job SET state = 'cancelled', ended_at = $3 WHERE app = $1 AND ended_at IS NULL
  AND ($2::bigint IS NULL OR (spec::json ->> 'endpoint')::bigint = $2);

-- name: job
-- One job.
SELECT id, uid, app, kind, state, spec, rate, total, opened, done, failed, is_walked, created_at, ended_at
FROM job WHERE uid = $1;

-- name: jobs
-- Newest first.
SELECT id, uid, app, kind, state, spec, rate, total, opened, done, failed, is_walked, created_at, ended_at
FROM job WHERE id < $2 AND ($1::bigint IS NULL OR app = $1) ORDER BY id DESC LIMIT $3;

-- name: listener
-- One listener.
SELECT reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at
FROM listener WHERE reach = $1 AND name = $2;

-- name: lock_listener
-- As it stays until the transaction's end.
SELECT reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at
FROM listener WHERE reach = $1 AND name = $2 FOR NO KEY UPDATE;

-- name: listeners
-- A page of those that tokens of one reach share, by name.
SELECT reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at
FROM listener WHERE reach = $1 AND name > $2 ORDER BY name LIMIT $3;

-- name: add_listener
-- Its first holder; no row comes back when another node was faster.
INSERT INTO listener(reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT DO NOTHING
RETURNING reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at;

-- name: hold_listener
-- Who holds it from now on; the secret stays, and without a position the place.
UPDATE listener SET apps = $3, position = coalesce($4::bigint, position), holder = $5, lease = $6, held_until = $7, seen_at = $8
WHERE reach = $1 AND name = $2
RETURNING reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at;

-- name: move_listener
-- Only on, and no further than the feed's end.
UPDATE listener SET position = greatest(position, least($3::bigint, $4::bigint)), held_until = $5, seen_at = $6
WHERE reach = $1 AND name = $2
RETURNING reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at;

-- name: drop_listener
-- With its place and its secret.
DELETE FROM listener WHERE reach = $1 AND name = $2 RETURNING name;

-- name: drop_stale_listeners
-- Names that nobody came back to.
DELETE FROM listener WHERE seen_at < $1;

-- name: drop_app_listeners
-- An id may be chosen anew: the next application's tokens must not find these.
DELETE FROM listener WHERE reach::jsonb @> to_jsonb($1::bigint);

-- name: add_token
-- No row comes back when the id is taken.
INSERT INTO token(id, name, kind, digest, scopes, apps, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING RETURNING id, name, kind, digest, scopes, apps, created_at, expires_at;

-- name: drop_stale_access
-- OAuth2 makes one row an hour and client; those that ended a day ago are of no use, not even to explain a 401.
DELETE FROM token WHERE kind = 'access' AND expires_at < $1;

-- name: drop_token
-- It stops working with this commit.
DELETE FROM token WHERE id = $1 RETURNING id;

-- name: token
-- One token.
SELECT id, name, kind, digest, scopes, apps, created_at, expires_at FROM token WHERE id = $1;

-- name: tokens
-- All of them, oldest first.
SELECT id, name, kind, digest, scopes, apps, created_at, expires_at FROM token ORDER BY created_at, id;

-- name: save_device
-- A new device, or its user's new login on it; no row comes back when the id is another user's.
INSERT INTO device(id, recipient, app, name, platform, token_digest, created_at, last_seen_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
ON CONFLICT(id) DO UPDATE SET name = coalesce(excluded.name, device.name), platform = excluded.platform,
  token_digest = excluded.token_digest, last_seen_at = excluded.last_seen_at
WHERE device.recipient = excluded.recipient
RETURNING id, recipient, app,
  (SELECT r.identifier FROM recipient AS r WHERE r.id = device.recipient),
  name, platform, token_digest, push_platform, push_token, push_environment, cursor, created_at, last_seen_at;

-- name: user_exists
-- A device must belong to somebody, who stays until it is saved.
SELECT 1 FROM recipient WHERE id = $1 AND app = $2 FOR KEY SHARE;

-- name: take_push_token
-- A push token belongs to one device: the app may have been installed anew, or handed to another user.
UPDATE device SET push_platform = NULL, push_token = NULL, push_environment = NULL
WHERE push_token = $2 AND push_platform = $3 AND id <> $1
RETURNING recipient;

-- name: set_push_token
-- The device as it is from now on.
UPDATE device SET push_platform = $2, push_token = $3, push_environment = $4 WHERE id = $1
RETURNING id, recipient, app,
  (SELECT r.identifier FROM recipient AS r WHERE r.id = device.recipient),
  name, platform, token_digest, push_platform, push_token, push_environment, cursor, created_at, last_seen_at;

-- name: retire_push_token
-- Only this very token: a late refusal must not kill a newer one.
UPDATE device SET push_platform = NULL, push_token = NULL, push_environment = NULL
WHERE id = $1 AND push_token = $2 RETURNING recipient;

-- name: drop_device
-- Its token stops working with this commit.
DELETE FROM device WHERE id = $1 RETURNING recipient;

-- name: drop_user_devices
-- With the user who had them.
DELETE FROM device WHERE recipient = $1 RETURNING id;

-- name: lock_recipients
-- In the order in which everybody locks them.
SELECT id FROM recipient WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE;

-- name: count_wakeable
-- Kept beside the user so that accepting a message need not look at devices.
UPDATE recipient SET wakeable =
  (SELECT count(*) FROM device WHERE device.recipient = recipient.id AND push_token IS NOT NULL)
WHERE id = ANY($1::bigint[]);

-- name: touch_devices
-- A cursor never moves back.
UPDATE device SET cursor = greatest(cursor, seen.at), last_seen_at = greatest(last_seen_at, seen.ms) FROM (
  SELECT d.id, max(s.at) AS at, max(s.ms) AS ms FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS s(id, at, ms)
  JOIN (SELECT id FROM device WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE) AS d ON d.id = s.id GROUP BY d.id
) AS seen WHERE device.id = seen.id;

-- name: device
-- By the digest of its token.
SELECT d.id, d.recipient, d.app, r.identifier, d.name, d.platform, d.token_digest, d.push_platform, d.push_token,
  d.push_environment, d.cursor, d.created_at, d.last_seen_at
FROM device AS d JOIN recipient AS r ON r.id = d.recipient WHERE d.token_digest = $1;

-- name: devices
-- A user's, oldest first.
SELECT d.id, d.recipient, d.app, r.identifier, d.name, d.platform, d.token_digest, d.push_platform, d.push_token,
  d.push_environment, d.cursor, d.created_at, d.last_seen_at
FROM device AS d JOIN recipient AS r ON r.id = d.recipient WHERE d.recipient = $1 ORDER BY d.created_at, d.id;
