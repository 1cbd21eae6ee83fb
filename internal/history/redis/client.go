package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// newClient returns a client for the target. Retries are left to pipeline: go-redis
// would repeat a command that timed out on every connection of the pool, while
// callers wait. In a Cluster it follows redirections, which it counts as retries.
func (c *Config) newClient(t Target) goredis.UniversalClient {
	if t.kind != cluster {
		return c.newSingle(t)
	}
	return goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: t.addresses, Username: t.user, Password: t.password, TLSConfig: t.tlsConfig(),
		Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: quiet(),
		MaxRedirects: 3, MinRetryBackoff: redirectPause, MaxRetryBackoff: redirectPause,
		DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout, DialerRetries: 1,
		PoolSize: poolSize, PipelinePoolSize: -1, OnConnect: loadScripts,
	})
}

// newSingle returns a client for a target that is one server at a time.
func (c *Config) newSingle(t Target) *goredis.Client {
	if t.kind == sentinel {
		return goredis.NewFailoverClient(&goredis.FailoverOptions{
			MasterName: t.master, SentinelAddrs: t.addresses,
			Username: t.user, Password: t.password, DB: t.db, TLSConfig: t.tlsConfig(),
			Protocol: 2, DisableIdentity: true, MaxRetries: -1,
			DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout, DialerRetries: 1,
			PoolSize: poolSize, PipelinePoolSize: -1, OnConnect: t.greet,
		})
	}
	return c.newServer(t, t.addresses[0], loadScripts)
}

// greet begins a connection to a Sentinel or to a server that one names: go-redis
// calls it for both. A Sentinel gets no scripts, and the password only if it asks
// for one.
func (t Target) greet(ctx context.Context, conn *goredis.Conn) error {
	role, err := conn.Do(ctx, "role").Slice()
	switch {
	case err != nil && goredis.IsAuthError(err) && t.password != "":
		// It is a Sentinel: go-redis has authenticated to a server before.
		return t.authenticate(ctx, conn)
	case err != nil:
		return err
	case len(role) > 0 && role[0] == "sentinel":
		return nil
	}
	return loadScripts(ctx, conn)
}

func (t Target) authenticate(ctx context.Context, conn *goredis.Conn) error {
	if t.user != "" {
		return conn.AuthACL(ctx, t.user, t.password).Err()
	}
	return conn.Auth(ctx, t.password).Err()
}

// newServer returns a client for one server, whose connections begin with greet.
func (c *Config) newServer(t Target, address string, greet func(context.Context, *goredis.Conn) error) *goredis.Client {
	return goredis.NewClient(&goredis.Options{
		Addr: address, Username: t.user, Password: t.password, DB: t.db, TLSConfig: t.tlsConfig(),
		Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: quiet(), MaxRetries: -1,
		DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout, DialerRetries: 1,
		PoolSize: poolSize, PipelinePoolSize: -1, OnConnect: greet,
	})
}

// poolSize is more connections than pipelines and keepers use at once.
const poolSize = 256

// quietLog discards what go-redis would write to stderr; all of it is also in the
// errors that it returns.
type quietLog struct{}

func (quietLog) Printf(context.Context, string, ...any) {}

func init() { goredis.SetLogger(quietLog{}) }

func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func (t Target) tlsConfig() *tls.Config {
	if !t.tls {
		return nil
	}
	host, _, _ := net.SplitHostPort(t.addresses[0])
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
}

// newReader returns a client for a partition's blocking reads. It has a connection
// of its own, so that closing it ends a read.
func (p *partition) newReader(ctx context.Context) (*goredis.Client, error) {
	s := p.store
	if s.target.kind != cluster {
		return s.conf.newSingle(s.target), nil
	}
	owner, err := s.client.(*goredis.ClusterClient).MasterForKey(ctx, p.log)
	if err != nil {
		return nil, fmt.Errorf("looking for the master of partition %d: %w", p.number, err)
	}
	return s.conf.newServer(s.target, owner.Options().Addr, nil), nil // it runs no scripts
}
