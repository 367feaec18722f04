-- What is told about endpoints, to the application's endpoints of kind operations.

-- name: hearers
-- Those who take it now; a paused or resting one is told later.
SELECT id FROM endpoint WHERE app = ? AND kind = 'operations' AND state <> 'disabled';

-- name: add_operation
-- The fact, kept until everyone was told.
INSERT INTO operation(id, app, type, endpoint_uid, reason, at) VALUES (?, ?, ?, ?, ?, ?);

-- name: add_lanes
-- Born free and due: whoever has room tells it.
INSERT INTO lane(key, endpoint, pending, due, owner) SELECT ?1, value, 1, ?3, 0 FROM json_each(?2);
