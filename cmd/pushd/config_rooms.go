package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"pushd.example/internal/auth"
	"pushd.example/internal/conn"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/history/redis"
	"pushd.example/internal/history/watch"
	"pushd.example/internal/nodes"
	"pushd.example/internal/rpc"
)

// Each method makes the Config of one package.

func (c config) auth(log *slog.Logger) auth.Config {
	return auth.Config{
		APIKeyFile:   c.APIKeyFile,
		TokenKeyFile: c.TokenKeyFile,
		Issuer:       c.TokenIssuer,
		Audience:     c.TokenAudience,
		Open:         c.Dev,
		Log:          log,
	}
}

// open opens the history: that in Redis if there is one, else the embedded one.
func (c config) open(ctx context.Context, log *slog.Logger, metrics prometheus.Registerer) (engine, error) {
	if c.Redis == "" {
		return openEmbedded(ctx, c.embedded(log, metrics))
	}
	conf, err := c.redis(log, metrics)
	if err != nil {
		return nil, err
	}
	return redis.Open(ctx, conf)
}

// openEmbedded returns when ctx ends, too: reading a long log takes time, and a
// signal must end pushd at every moment. What Open was doing then is like a crash,
// which it survives.
func openEmbedded(ctx context.Context, c embedded.Config) (*embedded.Store, error) {
	type opened struct {
		store *embedded.Store
		err   error
	}
	done := make(chan opened, 1)
	go func() {
		store, err := embedded.Open(c)
		done <- opened{store, err}
	}()
	select {
	case o := <-done:
		return o.store, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("opening the history in %s: told to stop", c.Dir)
	}
}

func (c config) retention() history.Retention {
	return history.Retention{
		InboxCount:      c.InboxCount,
		InboxAge:        c.InboxAge,
		BroadcastCount:  c.BroadcastCount,
		BroadcastAge:    c.BroadcastAge,
		IdempotencyKeys: c.KeysAge,
	}
}

func (c config) embedded(log *slog.Logger, metrics prometheus.Registerer) embedded.Config {
	return embedded.Config{
		Dir:          c.Data,
		Retention:    c.retention(),
		Sync:         c.Fsync,
		SyncInterval: c.FsyncInterval,
		Log:          log,
		Metrics:      metrics,
	}
}

func (c config) redis(log *slog.Logger, metrics prometheus.Registerer) (redis.Config, error) {
	url, err := c.redisWithPassword()
	return redis.Config{
		URL:        url,
		Node:       c.Node,
		Prefix:     c.RedisPrefix,
		Partitions: c.RedisPartitions,
		Retention:  c.retention(),
		Durability: c.Durability,
		Log:        log,
		Metrics:    metrics,
	}, err
}

// engine is what keeps the history.
type engine interface {
	history.Store
	history.Groups
	watch.Events
	history.Messages
}

// directory returns what knows the connections of all nodes, and what ends it.
func (c config) directory(store engine, clients *conn.Server, log *slog.Logger) (rpc.Directory, func() error, error) {
	shared, ok := store.(*redis.Store)
	if !ok {
		return clients, func() error { return nil }, nil
	}
	all, err := nodes.Join(nodes.Config{
		Redis:  shared.Client(),
		Prefix: c.RedisPrefix,
		Node:   c.Node,
		Local:  clients,
		Log:    log,
	})
	if err != nil {
		return nil, nil, err
	}
	return all, all.Close, nil
}

func (c config) rpc(store engine, directory rpc.Directory, clients *conn.Server, credentials *auth.Auth, log *slog.Logger, metrics prometheus.Registerer) rpc.Config {
	return rpc.Config{
		Store:         store,
		Groups:        store,
		Events:        store,
		Messages:      store,
		Directory:     directory,
		Subscriptions: clients,
		Auth:          credentials,
		Limits:        rpc.Limits{MaxData: c.MaxData, MaxUsers: c.MaxUsers, MaxRecipients: c.MaxRecipients, MaxTokenTTL: c.MaxTokenTTL},
		DataRules:     rpc.DataRules(c.DataRules),
		Log:           log,
		Metrics:       metrics,
	}
}

// backendConnections returns the most connections of -grpc, and of -http. The store
// has at least half of the open files that clients leave.
func (c config) backendConnections() int {
	if c.MaxBackendConnections > 0 {
		return c.MaxBackendConnections
	}
	return min(max(reactor.Spare(c.MaxConnections)/4, 8), 1024)
}

// maxOperators is the most connections of -admin.
const maxOperators = 16

func (c config) conn(store engine, credentials *auth.Auth, log *slog.Logger, metrics prometheus.Registerer) conn.Config {
	return conn.Config{
		Listen:     c.Listen,
		Node:       c.Node,
		Store:      store,
		Messages:   store,
		Auth:       credentials,
		Origins:    c.Origins,
		MaxPerUser: c.MaxConnectionsPerUser,
		PlainSends: c.IOUring == "off",

		Compression:    c.Compression == "on",
		CompressionMin: c.CompressionMin,

		Limits: reactor.Limits{
			MaxConnections:     c.MaxConnections,
			MaxPerIP:           c.MaxConnectionsPerIP,
			UpgradeRate:        float64(c.UpgradeRate),
			UpgradeRatePerIP:   float64(c.UpgradeRatePerIP),
			ClientBacklogBytes: c.MaxBacklog,
			MaxBacklogBytes:    maxBacklogs,
			PingInterval:       c.PingInterval,
			HandshakeTimeout:   c.HandshakeTimeout,
		},
		Log:     log,
		Metrics: metrics,
	}
}
