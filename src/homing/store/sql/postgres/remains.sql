-- What deleted endpoints leave: lanes and dead letters, deleted by steps. Lanes that are held are in no index, so the lanes
-- are walked along their key; none is born behind the walk, for whoever opens one keeps the endpoint's row until it has.

-- name: doomed
-- What is left of one endpoint that is no more; another node may be at another. Its dead letters come when its lanes are
-- gone, for whoever has a lane may still give it up: while a node is at the lanes, no other one is at the dead letters.
SELECT endpoint, leaves, place FROM doomed AS d
WHERE leaves = 'lane' OR NOT EXISTS (SELECT 1 FROM doomed AS l WHERE l.endpoint = d.endpoint AND l.leaves = 'lane')
ORDER BY endpoint, leaves DESC LIMIT 1 FOR UPDATE OF d SKIP LOCKED;

-- name: stride_end
-- How far one step looks, however little it finds.
SELECT key FROM lane WHERE key > $1 ORDER BY key, endpoint OFFSET $2 LIMIT 1;

-- name: drop_lanes
-- In the order in which everybody locks them.
DELETE FROM lane AS l USING (
  SELECT key, endpoint FROM lane WHERE key > $2 AND key <= $3 AND endpoint = $1 ORDER BY key, endpoint FOR UPDATE) AS n
WHERE l.key = n.key AND l.endpoint = n.endpoint;

-- name: move
UPDATE doomed SET place = $2 WHERE endpoint = $1 AND leaves = 'lane';

-- name: drop_dead
-- What was given up there can be replayed nowhere; what was given up while the lanes were walked is in it. Whoever has one
-- locked is waited for: none is passed over, for where there is none to delete it is the end.
WITH old AS (SELECT endpoint, key, n FROM dead WHERE endpoint = $1 ORDER BY key, n LIMIT $2 FOR UPDATE)
DELETE FROM dead AS d USING old WHERE d.endpoint = ANY(ARRAY[old.endpoint]) AND d.key = ANY(ARRAY[old.key]) AND d.n = old.n;

-- name: end
DELETE FROM doomed WHERE endpoint = $1 AND leaves = $2;
