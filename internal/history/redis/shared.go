package redis

import goredis "github.com/redis/go-redis/v9"

// Client returns the Store's client of Redis, for other communication between
// nodes. Close closes it.
func (s *Store) Client() goredis.UniversalClient { return s.client }
