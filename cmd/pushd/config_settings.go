package main

import "strings"

// setting is one thing that can be set: as a flag, as a variable of the
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

// settings lists all that can be set; the values write to c. It is the only
// place that knows names, defaults and limits.
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
		{general, "dev", "false", "", "development mode: no credentials needed, any user name accepted; doors are on loopback unless told otherwise", boolean(&c.Dev)},

		{doors, "listen", ":8080", "127.0.0.1:8080", "clients: WebSocket at /push", address(&c.Listen)},
		{doors, "grpc", ":9090", "127.0.0.1:9090", "backends: gRPC", address(&c.GRPC)},
		{doors, "http", ":8081", "127.0.0.1:8081", "backends: REST", address(&c.HTTP)},
		{doors, "admin", "127.0.0.1:8082", "", "operators: /metrics, /healthz, /readyz, /debug/pprof; asks for no credentials", address(&c.Admin)},

		{keys, "api-key-file", "", "", "API keys of backends; without it no backend can push", path(&c.APIKeyFile)},
		{keys, "token-key-file", "", "", "secrets that client tokens are signed with; without it no client can connect", path(&c.TokenKeyFile)},
		{keys, "token-issuer", "", "", "the iss that client tokens must have; empty accepts any", text(&c.TokenIssuer)},
		{keys, "token-audience", "", "", "what the aud of client tokens must name; empty accepts any", text(&c.TokenAudience)},
		{keys, "origins", "", "", "web sites that browsers may connect from, separated by commas, such as https://*.example.com; * is any; empty is pushd's own host only", origins(&c.Origins)},

		{shared, "redis", "", "", "history that several nodes share: redis://host:6379/0, rediss://…, redis-sentinel://host:26379,…/MASTER or redis-cluster://host:6379,…; empty is the embedded history", redisURL(&c.Redis)},
		{shared, "redis-password-file", "", "", "file with the password of Redis", path(&c.RedisPasswordFile)},
		{shared, "redis-prefix", "pushd:", "", "what the name of every key begins with; systems that share a Redis need different ones", keyPrefix(&c.RedisPrefix)},
		{shared, "redis-partitions", "0", "", "parts that the data have, for a Cluster; cannot be changed once there are data; 0 is 16 in a Cluster, else 1", number(&c.RedisPartitions, 0, 64)},
		{shared, "durability", "memory", "", "when a push is answered that does not say: when the master has it, or a replica too", durability(&c.Durability)},

		{hist, "data", "./pushd-data", "", "directory of the embedded history, made if missing; not used with -redis", required(path(&c.Data))},
		{hist, "fsync", "always", "", "when messages are forced to disk: before a push is answered, every -fsync-interval, or when the system likes", syncPolicy(&c.Fsync)},
		{hist, "fsync-interval", "100ms", "", "how often with -fsync interval", duration(&c.FsyncInterval, "1ms", "1m")},
		{hist, "inbox-count", "1000", "", "messages kept per user", number(&c.InboxCount, 1, 1_000_000)},
		{hist, "inbox-age", "30d", "", "how long they are kept", duration(&c.InboxAge, "1s", "3650d")},
		{hist, "broadcast-count", "10000", "", "broadcasts kept", number(&c.BroadcastCount, 1, 10_000_000)},
		{hist, "broadcast-age", "30d", "", "how long they are kept", duration(&c.BroadcastAge, "1s", "3650d")},
		{hist, "keys-age", "1d", "", "how long an idempotency key is remembered", duration(&c.KeysAge, "1s", "365d")},

		{limits, "max-data", "64KiB", "", "size of a message's data", size(&c.MaxData, 1, 16<<20)},
		{limits, "data-rules", "strict", "", "which JSON data may be: strict refuses what JSON decoders differ on (lone surrogates, a name twice in an object, more than 128 levels), any does not", word(&c.DataRules, "strict", "any")},
		{limits, "max-users", "10000", "", "users named in one request", number(&c.MaxUsers, 1, 1_000_000)},
		{limits, "max-recipients", "100000", "", "recipients of one multicast to groups", number(&c.MaxRecipients, 1, 1_000_000)},
		{limits, "max-token-ttl", "1d", "", "how long a client token that pushd issues may be good for", duration(&c.MaxTokenTTL, "1s", "365d")},
		{limits, "max-connections", "0", "", "clients connected at once; 0 is as many as the limit of open files allows", number(&c.MaxConnections, 0, 4<<20)},
		{limits, "max-backend-connections", "0", "", "backends connected at once, to each of -grpc and -http: over it the one that is idle for longest is closed, or the next one waits; 0 is a quarter of the open files that -max-connections leaves, 8 to 1024", number(&c.MaxBackendConnections, 0, 1_000_000)},
		{limits, "max-connections-per-ip", "0", "", "clients connected at once from one address; 0 is no limit, the only choice behind a proxy", number(&c.MaxConnectionsPerIP, 0, 4<<20)},
		{limits, "max-connections-per-user", "0", "", "connections of one user at once, on all nodes together; 0 is no limit", number(&c.MaxConnectionsPerUser, 0, 1_000_000)},
		{limits, "upgrade-rate", "0", "", "clients let in a second: complete requests with a valid token; others wait for their turn, up to 2 s, and beyond that are told when to come back; 0 is 1000 for each core", number(&c.UpgradeRate, 0, 1_000_000)},
		{limits, "upgrade-rate-per-ip", "0", "", "clients let in a second from one address, a second's worth of them at once; 0 is no limit, the only choice behind a proxy", number(&c.UpgradeRatePerIP, 0, 1_000_000)},
		{limits, "max-backlog", "64KiB", "", "what may wait for one slow client before it is cut off; it catches up from history", size(&c.MaxBacklog, 1<<10, 64<<20)},
		{limits, "compression", "on", "", "send messages compressed to clients that offer permessage-deflate, and take theirs: on or off", word(&c.Compression, "on", "off")},
		{limits, "compression-min", "512B", "", "the shortest message that is compressed", size(&c.CompressionMin, 1, 64<<20)},
		{limits, "ping-interval", "30s", "", "silence after which a client is pinged, and after as much again cut off", duration(&c.PingInterval, "1s", "1h")},
		{limits, "handshake-timeout", "10s", "", "time in which a client's request must be complete", duration(&c.HandshakeTimeout, "100ms", "1m")},

		{process, "io-uring", "auto", "", "send to many clients in one system call: auto where the kernel has it, or off", word(&c.IOUring, "auto", "off")},
		{process, "node", "", "", "this node's name; empty is the host name and something random", nodeText(&c.Node)},
		{process, "drain-timeout", "20s", "", "how long calls and connections may take to end after SIGTERM", duration(&c.DrainTimeout, "0s", "1h")},
		{process, "ready-file", "", "", "file to write the bound addresses to, as JSON, when serving", path(&c.ReadyFile)},
		{process, "log-level", "info", "", "the least level that is logged", level(&c.LogLevel)},
		{process, "log-format", "text", "", "how the log is written", word(&c.LogFormat, "text", "json")},
	}
}

// envName returns the variable that sets the setting called name.
func envName(name string) string {
	return "PUSHD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
