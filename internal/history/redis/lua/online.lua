#!lua flags=no-writes
-- Returns how many connections living nodes hold in a partition, and how many
-- users have them.
return {online()}
