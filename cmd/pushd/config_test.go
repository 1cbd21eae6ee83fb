package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
)

// environ stands in for the process's environment.
func environ(pairs ...string) func(string) string {
	return func(name string) string {
		for _, pair := range pairs {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// writeFile writes text to a file of the test's own that only its owner reads.
func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loadConfig loads as serve does.
func loadConfig(args []string, getenv func(string) string, stdout io.Writer) (config, error) {
	l := newLoader()
	err := l.load(args, getenv, stdout)
	return l.cfg.named(), err
}

func mustLoad(t testing.TB, getenv func(string) string, args ...string) config {
	t.Helper()
	cfg, err := loadConfig(args, getenv, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// wantError requires an error that holds all of words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	cfg := mustLoad(t, environ())
	want := config{
		Listen: ":8080", GRPC: ":9090", HTTP: ":8081", Admin: "127.0.0.1:8082",
		RedisPrefix: "pushd:", Durability: history.Memory,
		Data: "./pushd-data", Fsync: embedded.SyncAlways, FsyncInterval: 100 * time.Millisecond,
		InboxCount: 1000, InboxAge: 30 * day, BroadcastCount: 10_000, BroadcastAge: 30 * day, KeysAge: 24 * time.Hour,
		MaxData: 64 << 10, DataRules: "strict", MaxUsers: 10_000, MaxRecipients: 100_000, MaxTokenTTL: 24 * time.Hour, MaxBacklog: 64 << 10,
		PingInterval: 30 * time.Second, HandshakeTimeout: 10 * time.Second,
		IOUring: "auto", Compression: "on", CompressionMin: 512,
		Node: cfg.Node, DrainTimeout: 20 * time.Second, LogLevel: slog.LevelInfo, LogFormat: "text",
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}

	want.Dev, want.Listen, want.GRPC, want.HTTP = true, "127.0.0.1:8080", "127.0.0.1:9090", "127.0.0.1:8081"
	dev := mustLoad(t, environ(), "-dev", "-node", cfg.Node)
	if !reflect.DeepEqual(dev, want) {
		t.Errorf("with -dev\ngot  %+v\nwant %+v", dev, want)
	}
	if chosen := mustLoad(t, environ(), "-dev", "-listen", ":8080"); chosen.Listen != ":8080" {
		t.Errorf("-dev replaced an address that was asked for by %q", chosen.Listen)
	}
}

func TestNodeName(t *testing.T) {
	a, b := mustLoad(t, environ()).Node, mustLoad(t, environ()).Node
	if a == b {
		t.Errorf("two processes are both called %q", a)
	}
	if again := mustLoad(t, environ(), "-node", a).Node; again != a {
		t.Errorf("-node %q became %q", a, again)
	}
}

// samples holds a value for each setting that is not its default.
func samples(t *testing.T) map[string]string {
	return map[string]string{
		"dev": "true", "listen": "[::1]:1", "grpc": "localhost:2", "http": ":3", "admin": ":4",
		"api-key-file":   writeFile(t, "api", "shop * kZ0pWQ3vYx8b5uFh2LrT9s"),
		"token-key-file": writeFile(t, "token", "a secret of thirty-two bytes, yes"),
		"token-issuer":   "shop: \"x\"", "token-audience": "#pushd", "origins": "https://*.example.com,*",
		"redis": "redis-sentinel://s1:1,s2:2/m?db=3", "redis-password-file": writeFile(t, "redis", "open sesame\n"),
		"redis-prefix": "p:", "redis-partitions": "17", "durability": "replicated",
		"data": filepath.Join(t.TempDir(), "d"), "fsync": "interval", "fsync-interval": "1m", "inbox-count": "7",
		"inbox-age": "1d12h", "broadcast-count": "8", "broadcast-age": "1m30s", "keys-age": "2h30m",
		"max-data": "500B", "data-rules": "any", "max-users": "9", "max-recipients": "90", "max-token-ttl": "2h", "max-connections": "10", "max-backend-connections": "13", "max-connections-per-ip": "11", "max-connections-per-user": "12",
		"upgrade-rate": "12", "upgrade-rate-per-ip": "3", "max-backlog": "1MiB", "ping-interval": "25s", "handshake-timeout": "1.5s",
		"compression": "off", "compression-min": "2KiB",
		"io-uring": "off", "node": "n-1", "drain-timeout": "0s", "ready-file": "no", "log-level": "debug", "log-format": "json",
	}
}

// Every setting can be set from each source, and check-config shows it with
// where it came from.
func TestEverySettingFromEverySource(t *testing.T) {
	values := samples(t)
	names := map[string]bool{configSetting: true}
	var args, env, file []string
	for _, s := range newLoader().settings {
		names[s.name] = true
		if s.name == configSetting {
			continue
		}
		v, ok := values[s.name]
		if !ok {
			t.Fatalf("no sample for %s", s.name)
		}
		args = append(args, "-"+s.name+"="+v)
		env = append(env, envName(s.name)+"="+v)
		file = append(file, s.name+": '"+v+"'")
	}
	for name := range values {
		if !names[name] {
			t.Errorf("a sample for %s, which is no setting", name)
		}
	}
	path := writeFile(t, "pushd.yaml", strings.Join(file, "\n"))
	for source, load := range map[string]func(l *loader) error{
		"flag -":     func(l *loader) error { return l.load(args, environ(), io.Discard) },
		"PUSHD_":     func(l *loader) error { return l.load(nil, environ(env...), io.Discard) },
		path + ":":   func(l *loader) error { return l.load([]string{"-config", path}, environ(), io.Discard) },
		path + ":\n": func(l *loader) error { return l.load(nil, environ("PUSHD_CONFIG="+path), io.Discard) },
	} {
		l := newLoader()
		if err := load(l); err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		for name, want := range values {
			if got := l.text(name); got != want {
				t.Errorf("%s%s is %q, want %q", source, name, got, want)
			}
			if !strings.HasPrefix(l.source[name], strings.TrimSpace(source)) {
				t.Errorf("%s is said to be from %s, want %s…", name, l.source[name], source)
			}
		}
	}
}

func TestPrecedence(t *testing.T) {
	file := writeFile(t, "pushd.yaml", "inbox-count: 3\nmax-users: 3\nmax-data: 3B\norigins: [https://a.com, https://b.com]\n")
	l := newLoader()
	env := environ("PUSHD_INBOX_COUNT=2", "PUSHD_MAX_USERS=2", "PUSHD_NODE=", "PUSHD_CONFIG=/nonexistent")
	if err := l.load([]string{"-inbox-count", "0", "-inbox-count", "1", "-config", file}, env, io.Discard); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]string{
		"inbox-count":     {"1", "flag -inbox-count"},
		"max-users":       {"2", "PUSHD_MAX_USERS"},
		"max-data":        {"3B", file + ":3"},
		"origins":         {"https://a.com,https://b.com", file + ":4"},
		"broadcast-count": {"10000", "default"},
		"node":            {"", "default"},
	} {
		if got := [2]string{l.text(name), l.source[name]}; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestFileWithNothingInIt(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "{}\n"} {
		mustLoad(t, environ(), "-config", writeFile(t, "pushd.yaml", text))
	}
}

func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want []string
	}{
		{"-lissten :1", []string{"unknown flag -lissten", "did you mean -listen?"}},
		{"-maxdata 1", []string{"-max-data?"}},
		{"-reddis x", []string{"unknown flag -reddis", "did you mean -redis?"}},
		{"-redis x", []string{"flag -redis", "redis://host:port"}},
		{"-redis http://x", []string{"flag -redis", "unknown scheme"}},
		{"-redis redis://:sesame@x", []string{"flag -redis", "-redis-password-file", "PUSHD_REDIS"}},
		{"-redis-prefix p:", []string{"flag -redis-prefix", "needs -redis"}},
		{"-redis-prefix= -redis redis://x", []string{"flag -redis-prefix", "1 to 32"}},
		{"-redis-prefix {p} -redis redis://x", []string{"{p}", "1 to 32"}},
		{"-redis-partitions 65 -redis redis://x", []string{"65", "0 to 64"}},
		{"-durability replicated", []string{"flag -durability", "needs -redis"}},
		{"-durability disk -redis redis://x", []string{"disk", "memory, replicated"}},
		{"-redis-password-file /nonexistent -redis redis://x", []string{"flag -redis-password-file", "no such file"}},
		{"-listen", []string{"needs an argument", "-listen"}},
		{"serve", []string{`"serve"`}},
		{"-dev false", []string{`"false"`, "-dev=true"}},
		{"-dev=maybe", []string{"flag -dev", `"maybe"`, "true or false"}},
		{"-listen 8080", []string{"flag -listen", `"8080"`, ":port"}},
		{"-listen :65536", []string{"65536", "65535"}},
		{"-grpc localhost:http", []string{"localhost:http"}},
		{"-admin :-1", []string{":-1"}},
		{"-data=", []string{"flag -data", "empty"}},
		{"-fsync sometimes", []string{`"sometimes"`, "always, interval, never"}},
		{"-fsync-interval 0s", []string{`"0s"`, "1ms to 1m"}},
		{"-inbox-count 0", []string{"flag -inbox-count", `"0"`, "1 to 1000000"}},
		{"-inbox-count 1e3", []string{`"1e3"`}},
		{"-inbox-count 9223372036854775808", []string{"9223372036854775808"}},
		{"-inbox-age 30", []string{`"30"`, "1s to 3650d", "1d12h"}},
		{"-inbox-age 3651d", []string{"3651d"}},
		{"-inbox-age -1d", []string{"-1d"}},
		{"-inbox-age 1d24h", []string{"1d24h"}},
		{"-inbox-age 1d-1h", []string{"1d-1h"}},
		{"-inbox-age 99999999999999999999d", []string{"99999999999999999999d"}},
		{"-broadcast-count -1", []string{"-1", "1 to 10000000"}},
		{"-broadcast-age 1y", []string{"1y"}},
		{"-keys-age 366d", []string{"366d", "365d"}},
		{"-max-data 64KB", []string{"64KB", "64KiB"}},
		{"-max-data 0", []string{`"0"`, "1B to 16MiB"}},
		{"-max-data 17MiB", []string{"17MiB"}},
		{"-max-data 9999999999GiB", []string{"9999999999GiB"}},
		{"-max-data -1B", []string{"-1B"}},
		{"-max-users 1000001", []string{"1000001"}},
		{"-max-backlog 1000B", []string{"1000B", "1KiB"}},
		{"-ping-interval 2h", []string{"2h", "1h"}},
		{"-handshake-timeout 5m", []string{"5m", "1m"}},
		{"-drain-timeout never", []string{"never"}},
		{"-node two words", []string{`"words"`}},
		{"-node a/b", []string{"a/b"}},
		{"-node " + strings.Repeat("n", 65), []string{"at most 64"}},
		{"-log-level INFO", []string{"INFO", "debug, info, warn, error"}},
		{"-log-format xml", []string{"xml", "text, json"}},
		{"-origins example.com", []string{"flag -origins", "example.com", "scheme://"}},
		{"-origins https://ok.com,https://*bad.com", []string{"https://*bad.com"}},
		{"-token-issuer me", []string{"flag -token-issuer", "-token-key-file"}},
		{"-token-audience me", []string{"flag -token-audience", "-token-key-file"}},
		{"-api-key-file /nonexistent/keys", []string{"flag -api-key-file", "/nonexistent/keys", "no such file"}},
		{"-token-key-file /", []string{"flag -token-key-file", "/ is a directory"}},
		{"-config /nonexistent.yaml", []string{"/nonexistent.yaml", "no such file"}},
		{"-http :8080", []string{"listen (:8080, default)", "http (:8080, flag -http)"}},
		{"-listen 10.0.0.1:70 -http 10.0.0.1:70", []string{"10.0.0.1:70"}},
		{"-listen [::]:70 -http 10.0.0.1:70", []string{"share a port"}},
	} {
		_, err := loadConfig(strings.Fields(c.args), environ(), io.Discard)
		if err == nil {
			t.Errorf("%s: no error", c.args)
			continue
		}
		wantError(t, err, c.want...)
	}
}

func TestDoorsApart(t *testing.T) {
	mustLoad(t, environ(), "-listen", ":0", "-http", ":0", "-grpc", "127.0.0.1:7", "-admin", "127.0.0.2:7")
}

func TestBadEnvironment(t *testing.T) {
	for pair, want := range map[string]string{
		"PUSHD_MAX_DATA=much":        `PUSHD_MAX_DATA: "much": want a size from 1B to 16MiB`,
		"PUSHD_DEV=on":               `PUSHD_DEV: "on"`,
		"PUSHD_CONFIG=/nonexistent":  "/nonexistent",
		"PUSHD_API_KEY_FILE=/absent": "PUSHD_API_KEY_FILE",
	} {
		_, err := loadConfig(nil, environ(pair), io.Discard)
		wantError(t, err, want)
	}
	// A bad value is an error even where a flag beats it.
	_, err := loadConfig([]string{"-max-users", "5"}, environ("PUSHD_MAX_USERS=x"), io.Discard)
	wantError(t, err, "PUSHD_MAX_USERS")
	// Kubernetes sets such variables for a service that is called pushd.
	mustLoad(t, environ("PUSHD_PORT=tcp://10.0.0.1:8080", "PUSHD_SERVICE_HOST=10.0.0.1"))
}

func TestBadFiles(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"unknown key":     {"# c\nlissten: :1\n", []string{":2", `"lissten"`, "did you mean listen?"}},
		"underscores":     {"max_data: 1KiB", []string{"did you mean max-data?"}},
		"nothing like it": {"colour: red", []string{`unknown key "colour"`}},
		"bad value":       {"dev: true\nmax-users: many", []string{":2", "max-users", `"many"`, "1 to 1000000"}},
		"twice":           {"node: a\nnode: b", []string{":2", "node", "line 1"}},
		"no value":        {"node:", []string{":1", "node", "no value"}},
		"nested":          {"node: {a: b}", []string{"node", "plain value"}},
		"nested in list":  {"origins: [[a]]", []string{"origins", "plain values"}},
		"alias":           {"node: &x a\nready-file: *x", []string{":2", "plain value"}},
		"a list":          {"- node: a", []string{":1", "key: value"}},
		"a word":          {"dev", []string{"key: value"}},
		"two documents":   {"node: a\n---\nnode: b", []string{"more than one"}},
		"not YAML":        {"node: [", []string{"yaml"}},
		"another file":    {"config: x.yaml", []string{":1", "another"}},
		"too large":       {strings.Repeat("#", maxConfigFile+1), []string{"larger"}},
		"key file":        {"dev: true\napi-key-file: /nonexistent", []string{":2", "no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, "pushd.yaml", c.text)
			_, err := loadConfig([]string{"-config", path}, environ(), io.Discard)
			wantError(t, err, append(c.want, path)...)
		})
	}
	_, err := loadConfig([]string{"-config", t.TempDir()}, environ(), io.Discard)
	wantError(t, err, "is a directory")
}

func TestHelpAndVersion(t *testing.T) {
	var out bytes.Buffer
	if _, err := loadConfig([]string{"-h"}, environ(), &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	for _, s := range newLoader().settings {
		if !regexp.MustCompile(`(?m)^  -` + s.name + `( |$)`).Match(out.Bytes()) {
			t.Errorf("-h does not list -%s", s.name)
		}
	}
	out.Reset()
	if _, err := loadConfig([]string{"-version"}, environ(), &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-version: %v", err)
	}
	if !regexp.MustCompile(`^pushd \S.* go1\.\d`).Match(out.Bytes()) {
		t.Errorf("-version printed %q", &out)
	}
}

func TestDurationsAndSizes(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "250ms": 250 * time.Millisecond, "1m30s": 90 * time.Second, "10m": 10 * time.Minute,
		"1h": time.Hour, "1d": day, "30d": 30 * day, "1d12h": 36 * time.Hour, "1d1s": day + time.Second,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
		if got := formatDuration(want); got != text {
			t.Errorf("%v reads %s, want %s", want, got, text)
		}
	}
	for text, want := range map[string]int{
		"0B": 0, "1B": 1, "1000B": 1000, "1KiB": 1024, "1025B": 1025, "64KiB": 65536, "1MiB": 1 << 20, "2GiB": 2 << 30,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
		if got := formatSize(want); got != text {
			t.Errorf("%d reads %s, want %s", want, got, text)
		}
	}
	if got, err := parseSize("64 KiB"); err != nil || got != 65536 {
		t.Errorf("64 KiB: got %v, %v", got, err)
	}
	if got, err := parseSize("512"); err != nil || got != 512 {
		t.Errorf("512: got %v, %v", got, err)
	}
}

// docsTable is what docs/configuration.md must hold between its two marks.
func docsTable() string {
	var b strings.Builder
	group := ""
	for _, s := range newLoader().settings {
		if s.group != group {
			group = s.group
			b.WriteString("\n### " + group + "\n| flag | default | limits | what |\n|---|---|---|---|\n")
		}
		def := "`" + s.def + "`"
		if s.def == "" {
			def = ""
		}
		if s.dev != "" {
			def += ", with -dev `" + s.dev + "`"
		}
		b.WriteString("| `-" + s.name + "` | " + def + " | " + s.value.limits + " | " + s.usage + " |\n")
	}
	return b.String()
}

// Set PUSHD_UPDATE_DOCS=1 to have the test write the table instead.
func TestDocsListEverySetting(t *testing.T) {
	const path, begin, end = "../../docs/configuration.md", "<!-- settings: begin -->\n", "\n<!-- settings: end -->"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(doc), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s lacks the marks %q and %q", path, begin, end)
	}
	if table == docsTable() {
		return
	}
	if os.Getenv("PUSHD_UPDATE_DOCS") != "" {
		if err := os.WriteFile(path, []byte(head+begin+docsTable()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("%s does not list the settings as they are; PUSHD_UPDATE_DOCS=1 go test -run %s ./cmd/pushd mends it", path, t.Name())
}

// Any configuration file is either refused with an error that names it, or
// check-config prints it with the same meaning.
func FuzzConfigFile(f *testing.F) {
	f.Add("listen: :1\norigins: [https://a.com, '*']\nmax-data: 1KiB\n")
	f.Add("token-issuer: \"a\\n\\u0085b: #\"\ninbox-age: 1d12h")
	f.Add("a: &x [*x]\n---\n? {}")
	f.Add("ready-file: |\n  x\n  y\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := newLoader()
		for _, s := range l.settings {
			if err := l.set(s, s.def, sourceDefault); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.applyYAML("f.yaml", text); err != nil {
			if !strings.HasPrefix(err.Error(), "f.yaml") {
				t.Fatalf("%q does not begin with the file's name", err)
			}
			return
		}
		var printed bytes.Buffer
		if err := l.print(&printed, ""); err != nil {
			t.Fatal(err)
		}
		again := newLoader()
		if err := again.applyYAML("again.yaml", printed.String()); err != nil {
			t.Fatalf("%v in\n%s", err, &printed)
		}
		if !reflect.DeepEqual(again.cfg, l.cfg) {
			t.Fatalf("got  %+v\nwant %+v\nfrom\n%s", again.cfg, l.cfg, &printed)
		}
	})
}
