package redis

import goredis "github.com/redis/go-redis/v9"

// Client returns the Store's connections to Redis, for what else nodes have to
// say to each other. Close closes them.
func (s *Store) Client() goredis.UniversalClient { return s.client }
