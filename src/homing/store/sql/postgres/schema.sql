-- What a database holds of ours, for plans; and what moving and restoring need to know of it.

-- name: living_nodes
SELECT count(*) FROM node WHERE alive_until > clock_timestamp();

-- name: size_of_table
-- Of a table with its partitions: rows as last estimated, and bytes with indexes. NULLs for one that does not exist yet.
SELECT sum(greatest(reltuples, 0))::bigint, sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE oid = to_regclass($1::text) OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass($1::text));

-- name: size_of_tables
-- In bytes, without indexes, with what is dead.
SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint FROM pg_class WHERE oid = ANY(SELECT to_regclass(t) FROM unnest($1::text[]) AS t)
OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = ANY(SELECT to_regclass(t) FROM unnest($1::text[]) AS t));

-- name: empty_meta
-- What a new schema knows of itself gives way to what the copied one knew.
DELETE FROM meta;

-- name: forget_servers
-- What nodes remember of servers (ADR 0010): a store that was made of a backup was at none of them.
DELETE FROM meta WHERE name = 'timeline' OR name LIKE 'commits:%';

-- name: content
-- Those of the names that are taken in the schema in which our tables would be made.
SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY($1::text[]) ORDER BY 1;

-- name: tables
-- Every table there is, partitions left out.
SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
AND NOT relispartition ORDER BY 1;

-- name: columns
-- Of one table, in their order.
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped ORDER BY attnum;

-- name: sequences
-- Of ours, each with the last number it gave; NULL: none yet.
SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = current_schema() ORDER BY 1;

-- name: set_sequence
-- Have it go on behind a number; 0: begin.
SELECT setval($1::text::regclass, greatest($2::bigint, 1), $2::bigint > 0);

-- name: lift_limit
-- For what goes through whole tables, until the transaction ends at the latest.
SET LOCAL statement_timeout = 0;

-- name: limit_again
SET LOCAL statement_timeout TO DEFAULT;
