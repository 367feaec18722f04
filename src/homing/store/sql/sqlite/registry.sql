-- Configuration: applications, users, devices, endpoints, tokens. Rare writes, small tables.

-- name: highest_app
-- Ids are never given twice by us: a new application must not inherit the messages of a deleted one.
SELECT max(coalesce((SELECT value FROM meta WHERE name = 'highest_app'), 0), coalesce((SELECT max(id) FROM app), 0));

-- name: remember_highest_app
-- Also for ids that were chosen.
INSERT INTO meta(name, value) VALUES ('highest_app', ?)
ON CONFLICT(name) DO UPDATE SET value = max(value, excluded.value);

-- name: add_app
-- No row comes back when the id or the key is taken.
INSERT INTO app(id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
RETURNING id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret, previous_secret, previous_until;

-- name: set_app
-- Everything but the id, the key and the day it was made.
UPDATE app SET name = ?2, mode = ?3, ttl_s = ?4, fallback = ?5 WHERE id = ?1
RETURNING id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret, previous_secret, previous_until;

-- name: rotate_app_secret
-- The one before signs as well for a while.
UPDATE app SET previous_secret = CASE WHEN ?3 IS NULL THEN NULL ELSE callback_secret END, previous_until = ?3,
  callback_secret = ?2 WHERE id = ?1
RETURNING id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret, previous_secret, previous_until;

-- name: drop_app
-- Its users, devices and endpoints are dropped by statements of their own.
DELETE FROM app WHERE id = ? RETURNING id;

-- name: drop_app_users
-- Their dispatches stay and come to their end.
DELETE FROM recipient WHERE app = ?;

-- name: drop_app_devices
-- Nobody can log in any more. Before the users, by whom they are found.
DELETE FROM device WHERE recipient IN (SELECT id FROM recipient WHERE app = ?);

-- name: drop_app_lanes
-- Nothing is owed to endpoints that are no more; a look at every lane, for this is rare.
DELETE FROM lane WHERE endpoint IN (SELECT id FROM endpoint WHERE app = ?);

-- name: drop_app_dead
-- What was given up there can be replayed nowhere.
DELETE FROM dead WHERE endpoint IN (SELECT id FROM endpoint WHERE app = ?);

-- name: drop_app_endpoints
-- After their lanes.
DELETE FROM endpoint WHERE app = ?;

-- name: app
-- One application.
SELECT id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret, previous_secret, previous_until FROM app WHERE id = ?;

-- name: apps
-- A page of them.
SELECT id, name, mode, ttl_s, fallback, app_key, created_at, callback_secret, previous_secret, previous_until FROM app WHERE id > ? ORDER BY id LIMIT ?;

-- name: add_user
-- No row comes back when the identifier is taken.
INSERT INTO recipient(app, folded, identifier, password_hash, mobile_number, attributes, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING RETURNING id, app, identifier, mobile_number, attributes, created_at;

-- name: set_user
-- A NULL password keeps the one that is.
UPDATE recipient SET password_hash = coalesce(?3, password_hash), mobile_number = ?4, attributes = ?5
WHERE app = ?1 AND folded = ?2
RETURNING id, app, identifier, mobile_number, attributes, created_at;

-- name: drop_user
-- The id is told, to find the devices by.
DELETE FROM recipient WHERE app = ? AND folded = ? RETURNING id;

-- name: user
-- One user.
SELECT id, app, identifier, mobile_number, attributes, created_at FROM recipient WHERE app = ? AND folded = ?;

-- name: users
-- A page of them, by folded identifier.
SELECT id, app, identifier, mobile_number, attributes, created_at FROM recipient
WHERE app = ? AND folded > ? ORDER BY folded LIMIT ?;

-- name: credentials
-- What a login is checked against.
SELECT r.app, r.id, r.identifier, r.password_hash FROM app AS a JOIN recipient AS r ON r.app = a.id AND r.folded = ?2
WHERE a.app_key = ?1;

-- name: add_endpoint
-- A new endpoint is active and hears of every event from this commit on.
INSERT INTO endpoint(uid, app, kind, url, form, statuses, timestamp_unit, description, state, secret, created_at,
  options, credentials, paused)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'active', ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: set_endpoint
-- What its owner may change.
UPDATE endpoint SET url = ?3, form = ?4, statuses = ?5, timestamp_unit = ?6, description = ?7, options = ?8,
  credentials = ?9, paused = ?10
WHERE app = ?1 AND uid = ?2 AND kind <> 'notify'
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: rotate_secret
-- The one before signs as well for a while.
UPDATE endpoint SET previous_secret = CASE WHEN ?4 IS NULL THEN NULL ELSE secret END, previous_until = ?4, secret = ?3
WHERE app = ?1 AND uid = ?2 AND kind <> 'notify'
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: enable_endpoint
-- It hears of events from this commit on; since when it did not is kept, for whoever wants what was missed.
UPDATE endpoint SET state = 'active', state_reason = NULL, failing_since = NULL WHERE app = ?1 AND uid = ?2
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: set_health
-- No row comes back when it is gone, disabled, or in this state already.
UPDATE endpoint SET state = ?2, state_reason = ?3, failing_since = ?4 WHERE id = ?1 AND state NOT IN ('disabled', ?2)
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: endpoint_by_id
-- One endpoint, whosever.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint WHERE id = ?;

-- name: lock_endpoint
-- The same; it stays as it is, for nobody else writes.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint WHERE id = ?;

-- name: add_notify
-- One for each application and origin.
INSERT INTO endpoint(uid, app, kind, url, form, timestamp_unit, state, secret, created_at)
VALUES (?, ?, 'notify', ?, 'json', 's', 'active', x'', ?) ON CONFLICT DO NOTHING;

-- name: enable_notify
-- Nobody can enable it by hand; a new message that names its origin does.
UPDATE endpoint SET state = 'active', state_reason = NULL, failing_since = NULL
WHERE app = ? AND url = ? AND kind = 'notify' AND state = 'disabled';

-- name: notify
-- An application's endpoint for an origin.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint WHERE app = ? AND url = ? AND kind = 'notify';

-- name: end_notify
-- Nobody is told of this message's events any more.
UPDATE dispatch SET notify_endpoint = 0 WHERE key BETWEEN ?1 AND ?2 AND notify_endpoint IS NOT NULL;

-- name: drop_endpoint
-- The row that was is told, for the couriers.
DELETE FROM endpoint WHERE app = ? AND uid = ? AND kind <> 'notify'
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: drop_endpoint_lanes
-- Those held in memory are in no index, so this looks at every lane; deleting an endpoint is rare.
DELETE FROM lane WHERE endpoint = ?;

-- name: drop_endpoint_dead
-- What was given up there can be replayed nowhere.
DELETE FROM dead WHERE endpoint = ?;

-- name: disable_endpoint
-- It gets no new lanes from this commit on.
UPDATE endpoint SET disabled_at = CASE WHEN state = 'disabled' THEN disabled_at ELSE ?3 END, state = 'disabled',
  state_reason = ?2 WHERE id = ?1
RETURNING id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at;

-- name: touch_endpoints
-- Reports of several couriers may come in any order.
UPDATE endpoint SET last_success_at = max(coalesce(last_success_at, 0), seen.value ->> 1)
FROM json_each(?) AS seen WHERE endpoint.id = seen.value ->> 0;

-- name: endpoint
-- One endpoint.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint WHERE app = ? AND uid = ? AND kind <> 'notify';

-- name: endpoints
-- All there are, for the couriers.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint ORDER BY id;

-- name: endpoints_of_app
-- One application's, oldest first.
SELECT id, uid, app, kind, url, form, statuses, timestamp_unit, description, state, state_reason, secret,
  created_at, last_success_at, options, credentials, paused, previous_secret, previous_until, failing_since, disabled_at
FROM endpoint WHERE app = ? AND kind <> 'notify' ORDER BY id;

-- name: keep_app
-- It stays, for nobody else writes.
SELECT 1 FROM app WHERE id = ?;

-- name: add_job
-- It runs at once.
INSERT INTO job(uid, app, kind, state, spec, rate, created_at) VALUES (?, ?, 'replay', 'running', ?, ?, ?)
RETURNING id, uid, app, kind, state, spec, rate, total, opened, done, failed, is_walked, created_at, ended_at;

-- name: set_job
-- What is NULL stays as it is; one that has ended stays ended.
UPDATE job SET state = coalesce(?2, state), rate = coalesce(?3, rate), total = coalesce(?4, total), ended_at = ?5
WHERE uid = ?1 AND ended_at IS NULL
RETURNING id, uid, app, kind, state, spec, rate, total, opened, done, failed, is_walked, created_at, ended_at;

-- name: drop_job_lanes
-- Of a job that was cancelled: what it did not tell yet.
DELETE FROM lane INDEXED BY lane_job WHERE job = ? AND job <> 0;

-- name: cancel_jobs
-- There is nobody left to tell.
UPDATE job SET state = 'cancelled', ended_at = ?3 WHERE app = ?1 AND ended_at IS NULL
  AND (?2 IS NULL OR spec ->> 'endpoint' = ?2);

-- name: job
-- One job.
SELECT id, uid, app, kind, state, spec, rate, total, opened, done, failed, is_walked, created_at, ended_at
FROM job WHERE uid = ?;

-- name: jobs
-- Newest first.
SELECT id, uid, app, kind, state, spec, rate, total, opened, done, failed, is_walked, created_at, ended_at
FROM job WHERE id < ?2 AND (?1 IS NULL OR app = ?1) ORDER BY id DESC LIMIT ?3;

-- name: listener
-- One listener.
SELECT reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at
FROM listener WHERE reach = ? AND name = ?;

-- name: lock_listener
-- The same; it stays as it is, for nobody else writes.
SELECT reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at
FROM listener WHERE reach = ? AND name = ?;

-- name: listeners
-- A page of those that tokens of one reach share, by name.
SELECT reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at
FROM listener WHERE reach = ? AND name > ? ORDER BY name LIMIT ?;

-- name: add_listener
-- Its first holder.
INSERT INTO listener(reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
RETURNING reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at;

-- name: hold_listener
-- Who holds it from now on; the secret stays, and without a position the place.
UPDATE listener SET apps = ?3, position = coalesce(?4, position), holder = ?5, lease = ?6, held_until = ?7, seen_at = ?8
WHERE reach = ?1 AND name = ?2
RETURNING reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at;

-- name: move_listener
-- Only on, and no further than the feed's end.
UPDATE listener SET position = max(position, min(?3, ?4)), held_until = ?5, seen_at = ?6 WHERE reach = ?1 AND name = ?2
RETURNING reach, name, apps, secret, position, holder, lease, held_until, seen_at, created_at;

-- name: drop_listener
-- With its place and its secret.
DELETE FROM listener WHERE reach = ? AND name = ? RETURNING name;

-- name: drop_stale_listeners
-- Names that nobody came back to.
DELETE FROM listener WHERE seen_at < ?;

-- name: drop_app_listeners
-- An id may be chosen anew: the next application's tokens must not find these.
DELETE FROM listener WHERE EXISTS (SELECT 1 FROM json_each(reach) AS one WHERE one.value = ?);

-- name: add_token
-- No row comes back when the id is taken.
INSERT INTO token(id, name, kind, digest, scopes, apps, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING RETURNING id, name, kind, digest, scopes, apps, created_at, expires_at;

-- name: drop_stale_access
-- OAuth2 makes one row an hour and client; those that ended a day ago are of no use, not even to explain a 401.
DELETE FROM token WHERE kind = 'access' AND expires_at < ?;

-- name: drop_token
-- It stops working with this commit.
DELETE FROM token WHERE id = ? RETURNING id;

-- name: token
-- One token.
SELECT id, name, kind, digest, scopes, apps, created_at, expires_at FROM token WHERE id = ?;

-- name: tokens
-- All of them, oldest first.
SELECT id, name, kind, digest, scopes, apps, created_at, expires_at FROM token ORDER BY created_at, id;

-- name: save_device
-- A new device, or its user's new login on it; no row comes back when the id is another user's.
INSERT INTO device(id, recipient, app, name, platform, token_digest, created_at, last_seen_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
ON CONFLICT(id) DO UPDATE SET name = coalesce(excluded.name, name), platform = excluded.platform,
  token_digest = excluded.token_digest, last_seen_at = excluded.last_seen_at
WHERE recipient = excluded.recipient
RETURNING id, recipient, app,
  (SELECT r.identifier FROM recipient AS r WHERE r.id = device.recipient),
  name, platform, token_digest, push_platform, push_token, push_environment, cursor, created_at, last_seen_at;

-- name: user_exists
-- A device must belong to somebody.
SELECT 1 FROM recipient WHERE id = ? AND app = ?;

-- name: take_push_token
-- A push token belongs to one device: the app may have been installed anew, or handed to another user.
UPDATE device SET push_platform = NULL, push_token = NULL, push_environment = NULL
WHERE push_token = ?2 AND push_platform = ?3 AND id <> ?1
RETURNING recipient;

-- name: set_push_token
-- The device as it is from now on.
UPDATE device SET push_platform = ?2, push_token = ?3, push_environment = ?4 WHERE id = ?1
RETURNING id, recipient, app,
  (SELECT r.identifier FROM recipient AS r WHERE r.id = device.recipient),
  name, platform, token_digest, push_platform, push_token, push_environment, cursor, created_at, last_seen_at;

-- name: retire_push_token
-- Only this very token: a late refusal must not kill a newer one.
UPDATE device SET push_platform = NULL, push_token = NULL, push_environment = NULL
WHERE id = ? AND push_token = ? RETURNING recipient;

-- name: drop_device
-- Its token stops working with this commit.
DELETE FROM device WHERE id = ? RETURNING recipient;

-- name: drop_user_devices
-- With the user who had them.
DELETE FROM device WHERE recipient = ? RETURNING id;

-- name: count_wakeable
-- Kept beside the user so that accepting a message need not look at devices.
UPDATE recipient SET wakeable =
  (SELECT count(*) FROM device WHERE device.recipient = recipient.id AND push_token IS NOT NULL)
WHERE id IN (SELECT value FROM json_each(?));

-- name: touch_devices
-- A cursor never moves back.
UPDATE device SET cursor = max(cursor, seen.value ->> 1), last_seen_at = max(last_seen_at, seen.value ->> 2)
FROM json_each(?) AS seen WHERE device.id = seen.value ->> 0;

-- name: device
-- By the digest of its token.
SELECT d.id, d.recipient, d.app, r.identifier, d.name, d.platform, d.token_digest, d.push_platform, d.push_token,
  d.push_environment, d.cursor, d.created_at, d.last_seen_at
FROM device AS d JOIN recipient AS r ON r.id = d.recipient WHERE d.token_digest = ?;

-- name: devices
-- A user's, oldest first.
SELECT d.id, d.recipient, d.app, r.identifier, d.name, d.platform, d.token_digest, d.push_platform, d.push_token,
  d.push_environment, d.cursor, d.created_at, d.last_seen_at
FROM device AS d JOIN recipient AS r ON r.id = d.recipient WHERE d.recipient = ? ORDER BY d.created_at, d.id;
