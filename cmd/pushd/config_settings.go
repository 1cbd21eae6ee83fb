package main

import "strings"

// setting can be set in three ways: as a flag, as a variable of the
// environment and as a key of the configuration file.
type setting struct {
	// group is the heading that it stands under in -h and in check-config.
	group string
	name  string
	// def is its default; dev, if not empty, takes its place with -dev.
	def, dev string
	usage    string
	value    value
}

// settings lists every setting; the values write to c. Names, defaults and limits
// are here only.
func settings(c *config) []setting {
	const (
		general = "General"
		doors   = "Doors"
		keys    = "Credentials"
		shared  = "Shared history"
		hist    = "History"
		limits  = "Limits"
		process = "Process"
	)
	return []setting{
		{general, configSetting, "", "", "YAML file whose keys are named as these flags", path(&c.Config)},
		{general, "dev", "false", "", "development mode: needs no credentials and accepts any user name; listens on loopback by default", boolean(&c.Dev)},

		{doors, "listen", ":8080", "127.0.0.1:8080", "clients: WebSocket at /push", address(&c.Listen)},
		{doors, "grpc", ":9090", "127.0.0.1:9090", "backends: gRPC", address(&c.GRPC)},
		{doors, "http", ":8081", "127.0.0.1:8081", "backends: REST", address(&c.HTTP)},
		{doors, "admin", "127.0.0.1:8082", "", "operators: /metrics, /healthz, /readyz, /debug/pprof; asks for no credentials", address(&c.Admin)},

		{keys, "api-key-file", "", "", "API keys of backends; without it no backend can push", path(&c.APIKeyFile)},
		{keys, "token-key-file", "", "", "secrets that client tokens are signed with; without it no client can connect", path(&c.TokenKeyFile)},
		{keys, "token-issuer", "", "", "the iss that client tokens must have; empty accepts any", text(&c.TokenIssuer)},
		{keys, "token-audience", "", "", "what the aud of client tokens must name; empty accepts any", text(&c.TokenAudience)},
		{keys, "origins", "", "", "web sites that browsers may connect from, separated by commas, such as https://*.example.com; * allows all; empty allows pushd's own host only", origins(&c.Origins)},

		{shared, "redis", "", "", "Redis with the history that several nodes share: redis://host:6379/0, rediss://…, redis-sentinel://host:26379,…/MASTER or redis-cluster://host:6379,…; empty means the embedded history", redisURL(&c.Redis)},
		{shared, "redis-password-file", "", "", "file with the password of Redis", path(&c.RedisPasswordFile)},
		{shared, "redis-prefix", "pushd:", "", "prefix of the name of every key; systems that share a Redis need different prefixes", keyPrefix(&c.RedisPrefix)},
		{shared, "redis-partitions", "0", "", "partitions of the data, for a Cluster; cannot be changed once there are data; 0 means 16 in a Cluster, else 1", number(&c.RedisPartitions, 0, 64)},
		{shared, "durability", "memory", "", "when a push without a durability of its own is answered: once the master has it, or once a replica has it too", durability(&c.Durability)},

		{hist, "data", "./pushd-data", "", "directory of the embedded history; created if missing; not used with -redis", required(path(&c.Data))},
		{hist, "fsync", "always", "", "when messages are forced to disk: before a push is answered, every -fsync-interval, or when the operating system decides", syncPolicy(&c.Fsync)},
		{hist, "fsync-interval", "100ms", "", "interval of -fsync interval", duration(&c.FsyncInterval, "1ms", "1m")},
		{hist, "inbox-count", "1000", "", "messages kept in each user's inbox", number(&c.InboxCount, 1, 1_000_000)},
		{hist, "inbox-age", "30d", "", "how long messages are kept in inboxes", duration(&c.InboxAge, "1s", "3650d")},
		{hist, "broadcast-count", "10000", "", "broadcasts kept", number(&c.BroadcastCount, 1, 10_000_000)},
		{hist, "broadcast-age", "30d", "", "how long broadcasts are kept", duration(&c.BroadcastAge, "1s", "3650d")},
		{hist, "keys-age", "1d", "", "how long an idempotency key is remembered", duration(&c.KeysAge, "1s", "365d")},

		{limits, "max-data", "64KiB", "", "size of a message's data", size(&c.MaxData, 1, 16<<20)},
		{limits, "data-rules", "strict", "", "which JSON data may be: strict refuses what JSON decoders differ on (lone surrogates, a name twice in an object, more than 128 levels), any does not", word(&c.DataRules, "strict", "any")},
		{limits, "max-users", "10000", "", "users named in one request", number(&c.MaxUsers, 1, 1_000_000)},
		{limits, "max-recipients", "100000", "", "recipients of one multicast to groups", number(&c.MaxRecipients, 1, 1_000_000)},
		{limits, "max-token-ttl", "1d", "", "longest lifetime of a client token that pushd issues", duration(&c.MaxTokenTTL, "1s", "365d")},
		{limits, "max-connections", "0", "", "clients connected at once; 0 means as many as the limit of open files allows", number(&c.MaxConnections, 0, 4<<20)},
		{limits, "max-backend-connections", "0", "", "backends connected at once, to each of -grpc and -http; beyond it the one that is idle for longest is closed, or the next one waits; 0 means a quarter of the open files that -max-connections leaves, 8 to 1024", number(&c.MaxBackendConnections, 0, 1_000_000)},
		{limits, "max-connections-per-ip", "0", "", "clients connected at once from one address; 0 means no limit; leave it 0 behind a proxy", number(&c.MaxConnectionsPerIP, 0, 4<<20)},
		{limits, "max-connections-per-user", "0", "", "connections of one user at once, on all nodes together; 0 means no limit", number(&c.MaxConnectionsPerUser, 0, 1_000_000)},
		{limits, "upgrade-rate", "0", "", "clients let in a second: complete requests with a valid token; others wait up to 2 s for their turn, and beyond that get 503 and Retry-After; 0 means 1000 for each core", number(&c.UpgradeRate, 0, 1_000_000)},
		{limits, "upgrade-rate-per-ip", "0", "", "clients let in a second from one address, a second's worth of them at once; 0 means no limit; leave it 0 behind a proxy", number(&c.UpgradeRatePerIP, 0, 1_000_000)},
		{limits, "max-backlog", "64KiB", "", "bytes that may wait for one slow client, besides the message being sent; beyond that it is disconnected and catches up from history", size(&c.MaxBacklog, 1<<10, 64<<20)},
		{limits, "compression", "on", "", "whether messages to and from clients that offer permessage-deflate are compressed", word(&c.Compression, "on", "off")},
		{limits, "compression-min", "512B", "", "the shortest message that is compressed", size(&c.CompressionMin, 1, 64<<20)},
		{limits, "ping-interval", "30s", "", "silence after which a client is pinged; after the same time without an answer it is disconnected, unless it is taking bytes", duration(&c.PingInterval, "1s", "1h")},
		{limits, "handshake-timeout", "10s", "", "time within which a client's request must be complete", duration(&c.HandshakeTimeout, "100ms", "1m")},

		{process, "io-uring", "auto", "", "whether one system call sends to many clients: auto means if the kernel supports it", word(&c.IOUring, "auto", "off")},
		{process, "node", "", "", "this node's name; empty means the host name and a random suffix", nodeText(&c.Node)},
		{process, "drain-timeout", "20s", "", "longest time for calls and connections to end after SIGTERM", duration(&c.DrainTimeout, "0s", "1h")},
		{process, "ready-file", "", "", "file that gets the bound addresses, as JSON, once all of them serve", path(&c.ReadyFile)},
		{process, "log-level", "info", "", "lowest level that is logged", level(&c.LogLevel)},
		{process, "log-format", "text", "", "format of the log", word(&c.LogFormat, "text", "json")},
	}
}

// envName returns the variable that sets the setting called name.
func envName(name string) string {
	return "PUSHD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
