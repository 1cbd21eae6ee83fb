package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// Store is a history.Store in a Redis that several nodes share.
type Store struct {
	// Set once.
	conf       Config
	target     Target
	client     goredis.UniversalClient
	partitions []*partition
	metrics    *metrics
	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	helpers    sync.WaitGroup // every goroutine

	closed atomic.Bool
	// life is held for reading by each running call: Close waits for them.
	life sync.RWMutex

	following following
}

var _ history.Store = (*Store)(nil)
var _ history.Groups = (*Store)(nil)
var _ watch.Events = (*Store)(nil)
var _ history.Messages = (*Store)(nil)

// Open connects to Redis, joins as a node, and returns when pushes go through.
// Errors: ErrURL, ErrVersion, ErrEviction, ErrReplica, ErrPassword, ErrPartitions,
// history.ErrUnavailable, and others that say what is wrong. None holds the
// password.
func Open(ctx context.Context, c Config) (*Store, error) {
	t, err := ParseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("opening history: %w", err)
	}
	s, err := open(ctx, c, t)
	if err != nil {
		return nil, fmt.Errorf("opening history in %v: %w", t, err)
	}
	return s, nil
}

func open(ctx context.Context, c Config, t Target) (*Store, error) {
	c, err := c.withDefaults(t)
	if err != nil {
		return nil, err
	}
	s := &Store{conf: c, target: t, client: c.newClient(t)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.checkServers(ctx); err != nil {
		s.client.Close()
		return nil, err
	}
	if s.metrics, err = newMetrics(c.Metrics, s); err != nil {
		s.client.Close()
		return nil, err
	}
	for i, tag := range tags(c.Partitions) {
		s.partitions = append(s.partitions, newPartition(s, i, tag))
	}
	s.following.heads = make([]history.ID, c.Partitions)
	first := make(chan error, c.Partitions)
	for _, p := range s.partitions {
		s.helpers.Go(func() { p.keep(first) })
	}
	for range s.partitions {
		select {
		case err = <-first:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// checkServers refuses a Redis that would lose messages or cannot store them.
func (s *Store) checkServers(ctx context.Context) error {
	check := func(ctx context.Context, c *goredis.Client) error { return checkServer(ctx, c, s.target.kind) }
	if c, ok := s.client.(*goredis.ClusterClient); ok {
		if err := c.ForEachMaster(ctx, check); err != nil {
			return reason(err)
		}
	} else if err := check(ctx, s.client.(*goredis.Client)); err != nil {
		return reason(err)
	}
	return s.checkFormat(ctx)
}

// reason makes the errors that have a sentinel wrap it.
func reason(err error) error {
	reply, ok := errors.AsType[goredis.Error](err)
	switch {
	case ok && goredis.IsAuthError(err):
		return fmt.Errorf("%w: %w", ErrPassword, err)
	case ok && strings.HasPrefix(reply.Error(), "READONLY"):
		return fmt.Errorf("%w: %w", ErrReplica, err)
	case !ok && (fateOf(err) == away || isTimeout(err)):
		return unavailable(err)
	}
	return err
}

// oldest is the version that first had scripts with flags.
const oldest = 7

func checkServer(ctx context.Context, c *goredis.Client, k kind) error {
	info, err := c.Info(ctx, "server", "memory", "replication").Result()
	if err != nil {
		if strings.Contains(err.Error(), "unknown command") || strings.Contains(err.Error(), "syntax error") {
			return fmt.Errorf("%w: want 7.0", ErrVersion)
		}
		return err
	}
	version := infoField(info, "redis_version")
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldest {
		return fmt.Errorf("%w: it is %q, want 7.0 or later", ErrVersion, version)
	}
	// A node of a Cluster may just have become a replica, and redirects.
	if role := infoField(info, "role"); role != "master" && k != cluster {
		return fmt.Errorf("%w: its role is %q; name the master", ErrReplica, role)
	}
	policy := infoField(info, "maxmemory_policy")
	if policy != "noeviction" {
		return fmt.Errorf("%w: its maxmemory-policy is %q, want \"noeviction\"", ErrEviction, policy)
	}
	return nil
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// format is the version of the keys and values that this package writes.
const format = 1

// checkFormat compares the format of the data with the one that this program
// writes, which it records if there are no data yet.
func (s *Store) checkFormat(ctx context.Context) error {
	key := s.conf.Prefix + "format"
	want := fmt.Sprintf("%d %d", format, s.conf.Partitions)
	if err := s.client.SetNX(ctx, key, want, 0).Err(); err != nil {
		return reason(err)
	}
	got, err := s.client.Get(ctx, key).Result()
	if err != nil {
		return reason(err)
	}
	var version, partitions int
	if _, err := fmt.Sscanf(got, "%d %d", &version, &partitions); err != nil || version != format {
		return fmt.Errorf("the data have format %q, this program reads format %d", got, format)
	}
	if partitions != s.conf.Partitions {
		return fmt.Errorf("%w: they have %d, the configuration says %d", ErrPartitions, partitions, s.conf.Partitions)
	}
	return nil
}

// Ready implements history.Store: nil while every partition takes pushes and
// this node gets its own back.
func (s *Store) Ready() error {
	if s.closed.Load() {
		return history.ErrClosed
	}
	for _, p := range s.partitions {
		if err := p.ready(); err != nil {
			return err
		}
	}
	return nil
}

// Close implements history.Store. The other nodes learn at once that this one
// is gone, if Redis can be reached.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.metrics.unregister()
	s.life.Lock() // no call runs any more, nor will
	defer s.life.Unlock()
	s.cancel()
	for _, p := range s.partitions {
		p.writes.close()
		p.reads.close()
	}
	s.helpers.Wait()
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("closing history in %v: %w", s.target, err)
	}
	return nil
}

// enter begins a call; unless there was an error the caller ends it with
// s.life.RUnlock.
func (s *Store) enter(ctx context.Context) error {
	if s.closed.Load() {
		return history.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.life.RLock()
	if s.closed.Load() {
		s.life.RUnlock()
		return history.ErrClosed
	}
	return nil
}

// enterFor is enter for a call about user.
func (s *Store) enterFor(ctx context.Context, user string) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if err := history.CheckUser(user); err != nil {
		s.life.RUnlock()
		return err
	}
	return nil
}
