package main

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"pushd/internal/auth"
	"pushd/internal/conn"
	"pushd/internal/conn/reactor"
	"pushd/internal/history"
	"pushd/internal/history/embedded"
	"pushd/internal/rpc"
)

// What each room is told of the configuration.

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

func (c config) store(log *slog.Logger, metrics prometheus.Registerer) embedded.Config {
	return embedded.Config{
		Dir: c.Data,
		Retention: history.Retention{
			InboxCount:     c.InboxCount,
			InboxAge:       c.InboxAge,
			BroadcastCount: c.BroadcastCount,
			BroadcastAge:   c.BroadcastAge,
			Keys:           c.KeysAge,
		},
		Sync:         c.Fsync,
		SyncInterval: c.FsyncInterval,
		Log:          log,
		Metrics:      metrics,
	}
}

// engine is what keeps the history.
type engine interface {
	history.Store
	history.Groups
}

func (c config) rpc(store engine, directory rpc.Directory, clients *conn.Server, credentials *auth.Auth, log *slog.Logger, metrics prometheus.Registerer) rpc.Config {
	return rpc.Config{
		Store:         store,
		Groups:        store,
		Directory:     directory,
		Subscriptions: clients,
		Auth:          credentials,
		Limits:        rpc.Limits{MaxData: c.MaxData, MaxUsers: c.MaxUsers, MaxRecipients: c.MaxRecipients, MaxTokenTTL: c.MaxTokenTTL},
		Log:           log,
		Metrics:       metrics,
	}
}

func (c config) conn(store history.Store, credentials *auth.Auth, log *slog.Logger, metrics prometheus.Registerer) conn.Config {
	return conn.Config{
		Listen:     c.Listen,
		Node:       c.Node,
		Store:      store,
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
			ClientBacklogBytes: c.MaxBacklog,
			PingInterval:       c.PingInterval,
			HandshakeTimeout:   c.HandshakeTimeout,
		},
		Log:     log,
		Metrics: metrics,
	}
}
