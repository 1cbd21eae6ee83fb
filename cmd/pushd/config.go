package main

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"pushd.example/internal/auth"
	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/version"
)

// config is what pushd runs with. [settings] says what each field means, its
// default and its limits.
type config struct {
	Config string
	Dev    bool

	Listen string
	GRPC   string
	HTTP   string
	Admin  string

	APIKeyFile    string
	TokenKeyFile  string
	TokenIssuer   string
	TokenAudience string
	Origins       auth.Origins

	Redis             string
	RedisPasswordFile string
	RedisPrefix       string
	RedisPartitions   int
	Durability        history.Durability

	Data           string
	Fsync          embedded.Sync
	FsyncInterval  time.Duration
	InboxCount     int
	InboxAge       time.Duration
	BroadcastCount int
	BroadcastAge   time.Duration
	KeysAge        time.Duration

	MaxData               int
	DataRules             string
	MaxUsers              int
	MaxRecipients         int
	MaxTokenTTL           time.Duration
	MaxConnections        int
	MaxBackendConnections int
	MaxConnectionsPerIP   int
	MaxConnectionsPerUser int
	UpgradeRate           int
	UpgradeRatePerIP      int
	MaxBacklog            int
	PingInterval          time.Duration
	HandshakeTimeout      time.Duration
	IOUring               string
	Compression           string
	CompressionMin        int

	Node         string
	DrainTimeout time.Duration
	ReadyFile    string
	LogLevel     slog.Level
	LogFormat    string
}

// named returns c with a name for this node.
func (c config) named() config {
	if c.Node == "" {
		c.Node = nodeName()
	}
	return c
}

// nodeName makes a name that is this process's own: host names repeat where
// containers are copied.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "pushd"
	}
	host = strings.Map(func(r rune) rune {
		if strings.ContainsRune(nameLetters, r) {
			return r
		}
		return '-'
	}, host)
	return host[:min(len(host), maxName-7)] + "-" + strings.ToLower(rand.Text()[:6])
}

// loader fills a config and remembers where each value came from.
type loader struct {
	cfg      config
	settings []setting
	// source is by setting: "default", "flag -x", "PUSHD_X", "FILE:LINE".
	source map[string]string
	flags  *flag.FlagSet
	// given holds the flags of the command line.
	given map[string]string
	// checkOnly is the flag -check-config.
	checkOnly bool
}

func newLoader() *loader {
	l := &loader{
		source: map[string]string{},
		flags:  flag.NewFlagSet("pushd", flag.ContinueOnError),
		given:  map[string]string{},
	}
	l.flags.SetOutput(io.Discard)
	l.flags.Usage = func() {}
	l.settings = settings(&l.cfg)
	for _, s := range l.settings {
		l.flags.Var(recorder{s, l.given}, s.name, s.usage)
	}
	return l
}

// recorder keeps a flag's text until its turn comes.
type recorder struct {
	setting setting
	given   map[string]string
}

func (r recorder) Set(text string) error { r.given[r.setting.name] = text; return nil }
func (r recorder) String() string        { return "" }
func (r recorder) IsBoolFlag() bool      { return r.setting.value.kind == kindBool }

// load reads the configuration: flags beat the environment, which beats the
// -config file, which beats the defaults. It applies the sources from the weakest
// to the strongest, so that a bad value is found even where another one beats it.
// flag.ErrHelp means that the output asked for, -h or -version, is on stdout, and
// there is nothing more to do.
func (l *loader) load(args []string, getenv func(string) string, stdout io.Writer) error {
	if err := l.parseFlags(args, stdout); err != nil {
		return err
	}
	for _, s := range l.settings {
		if err := l.set(s, s.def, sourceDefault); err != nil {
			return err
		}
	}
	path := getenv(envName(configSetting))
	if flagged, ok := l.given[configSetting]; ok {
		path = flagged
	}
	if path != "" {
		if err := l.readFile(path); err != nil {
			return fmt.Errorf("reading the configuration: %w", err)
		}
	}
	for _, s := range l.settings {
		// An empty variable counts as none: that is how one is taken back
		// where it cannot be unset.
		if text := getenv(envName(s.name)); text != "" {
			if err := l.set(s, text, envName(s.name)); err != nil {
				return err
			}
		}
	}
	for _, s := range l.settings {
		if text, ok := l.given[s.name]; ok {
			if err := l.set(s, text, "flag -"+s.name); err != nil {
				return err
			}
		}
	}
	if l.cfg.Dev {
		if err := l.setDevDefaults(); err != nil {
			return err
		}
	}
	return l.validate()
}

const (
	configSetting    = "config"
	sourceDefault    = "default"
	sourceDevDefault = "default with -dev"
)

func (l *loader) setDevDefaults() error {
	for _, s := range l.settings {
		if s.dev == "" || l.source[s.name] != sourceDefault {
			continue
		}
		if err := l.set(s, s.dev, sourceDevDefault); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) set(s setting, text, source string) error {
	if err := s.value.set(text); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	l.source[s.name] = source
	return nil
}

func (l *loader) parseFlags(args []string, stdout io.Writer) error {
	showVersion := l.flags.Bool("version", false, "print the version")
	l.flags.BoolVar(&l.checkOnly, "check-config", false, "as the command check-config")
	err := l.flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		usage(stdout, l.settings)
		return err
	}
	if err != nil {
		// The flag package has no error value for this one.
		if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
			return fmt.Errorf("unknown flag -%s%s; pushd -h lists all", name, l.didYouMean("-", name))
		}
		return err
	}
	if *showVersion {
		fmt.Fprintln(stdout, "pushd", version.String())
		return flag.ErrHelp
	}
	if l.flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: flags begin with - and values of on/off flags follow =, as in -dev=true", l.flags.Arg(0))
	}
	return nil
}

// validate checks what no setting can check alone.
func (l *loader) validate() error {
	for _, name := range []string{"api-key-file", "token-key-file", "redis-password-file"} {
		if err := l.isFile(name); err != nil {
			return err
		}
	}
	for _, name := range []string{"token-issuer", "token-audience"} {
		if l.text(name) != "" && l.cfg.TokenKeyFile == "" {
			return fmt.Errorf("%s: needs -token-key-file, which is not set", l.source[name])
		}
	}
	if err := l.checkRedis(); err != nil {
		return err
	}
	return l.doorsApart()
}

// text returns the value of the setting called name, as a user would write it.
func (l *loader) text(name string) string {
	for _, s := range l.settings {
		if s.name == name {
			return s.value.get()
		}
	}
	panic("no setting " + name)
}

func (l *loader) isFile(name string) error {
	path := l.text(name)
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory", path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", l.source[name], err)
	}
	return nil
}

// doorsApart says which two doors are in each other's way, before the system
// says that some address is in use.
func (l *loader) doorsApart() error {
	names := []string{"listen", "grpc", "http", "admin"}
	for i, a := range names {
		for _, b := range names[:i] {
			if overlap(l.text(a), l.text(b)) {
				return fmt.Errorf("%s (%s, %s) and %s (%s, %s) cannot share a port",
					b, l.text(b), l.source[b], a, l.text(a), l.source[a])
			}
		}
	}
	return nil
}

func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || isWildcard(hostA) || isWildcard(hostB)
}

func isWildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}
