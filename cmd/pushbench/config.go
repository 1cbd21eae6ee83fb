//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// config is what a run is told to do. Flags say what its fields mean.
type config struct {
	mode    string // connect, or what is sent
	weights [kinds]int

	hold    holdConfig
	procs   int
	steps   []int
	settle  time.Duration
	connect time.Duration // the most that connecting may take

	via     string
	api     string
	apiKey  string
	publish struct{ url, body string }
	headers []string // of calls
	fan     int
	storm   int // connections to open while messages are sent
	// stormProcs hold these.
	stormProcs int
	timeout    time.Duration
	load       load
	warmup     time.Duration

	server server
	gcURL  string
	json   bool
	quiet  bool
}

const usage = `usage: pushbench MODE [flags]

Holds WebSocket connections to a push server, publishes, and measures.

modes:
  connect     hold connections: memory and CPU of each
  unicast     publish to one user at a time
  multicast   publish to -fan users at a time
  broadcast   publish to everybody
  mixed       publish all three, weighted by -mix

flags:
`

// parseConfig reads the command line and fills in what depends on it.
func parseConfig(args []string, getenv func(string) string, out io.Writer) (*config, error) {
	c := &config{}
	fs := flag.NewFlagSet("pushbench", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() { fmt.Fprint(out, usage); fs.PrintDefaults() }
	var raw rawFlags
	c.holdFlags(fs, &raw)
	c.loadFlags(fs, &raw)
	c.measureFlags(fs)
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		return nil, errors.New("say what to do: connect, unicast, multicast, broadcast or mixed (-h for help)")
	}
	c.mode = args[0]
	if err := fs.Parse(args[1:]); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: flags come after the mode, and each begins with -", fs.Arg(0))
	}
	fs.Visit(func(f *flag.Flag) { raw.set = append(raw.set, f.Name) })
	return c, c.complete(raw, getenv)
}

// rawFlags are flags that need further work.
type rawFlags struct {
	steps, sources, mix, keyFile, dataFile string
	set                                    []string // the names of those given
}

// list is a flag that may be given several times.
type list struct{ to *[]string }

func (l list) String() string     { return "" }
func (l list) Set(s string) error { *l.to = append(*l.to, s); return nil }

func (c *config) holdFlags(fs *flag.FlagSet, raw *rawFlags) {
	h := &c.hold
	fs.IntVar(&h.Conns, "conns", 1000, "connections to hold")
	fs.IntVar(&h.Users, "users", 0, "users that the connections belong to, in turn (0: as many as connections)")
	fs.StringVar(&h.UserNames, "user", "u{n}", "names of users; {n} is their number")
	fs.StringVar(&h.URL, "connect-url", "ws://127.0.0.1:8080/push?user={user}", "where to connect; {user}, {i} (the connection's number) and {token} are filled in")
	fs.Var(list{&h.Headers}, "connect-header", "`line` to add to handshakes, filled in likewise; may be repeated")
	fs.BoolVar(&h.Compression, "compression", false, "offer permessage-deflate, as browsers do: messages may come compressed")
	fs.StringVar(&h.TokenKeyFile, "token-key-file", "", "pushd's token key `file`: connect with client tokens")
	fs.StringVar(&h.Issuer, "token-issuer", "", "iss of these tokens")
	fs.StringVar(&h.Audience, "token-audience", "", "aud of these tokens")
	fs.StringVar(&h.Send, "send", "", "`text` message to send once connected, for servers that need one")
	fs.IntVar(&h.Hello, "hello", -1, "messages that the server sends before a connection counts as open (-1: 1 for pushd, 0 with -publish-url)")
	fs.StringVar(&raw.sources, "sources", "", "addresses to connect from, with commas between (default: as many of 127.0.0.x as needed for a server on this machine)")
	fs.IntVar(&c.procs, "procs", 0, "processes to hold the connections (0: as many as the limit of open files asks for)")
	fs.IntVar(&h.InFlight, "in-flight", 256, "connections to open side by side")
	fs.Float64Var(&h.Rate, "connect-rate", 0, "connections to open a second (0: no limit)")
	fs.DurationVar(&c.connect, "connect-timeout", 2*time.Minute, "the most that opening all of them may take")
	fs.IntVar(&h.Stuck, "stuck", 0, "of the connections, how many never read")
	fs.StringVar(&raw.steps, "steps", "", "numbers of connections to stop at and read memory, with commas between (connect: a quarter and all of them)")
}

func (c *config) loadFlags(fs *flag.FlagSet, raw *rawFlags) {
	l := &c.load
	fs.StringVar(&c.via, "via", "rest", "how to publish: rest, grpc, or stream (gRPC's Publish, one stream for all callers)")
	fs.StringVar(&c.api, "api", "", "where to publish, http://HOST:PORT or https:// (default: 127.0.0.1 with pushd's port 8081 for rest, 9090 for grpc)")
	fs.StringVar(&raw.keyFile, "api-key-file", "", "`file` with nothing but an API key (default: $PUSHBENCH_API_KEY)")
	fs.StringVar(&c.publish.url, "publish-url", "", "another server's `URL` to POST to; {user} is filled in")
	fs.StringVar(&c.publish.body, "publish-body", `{"user":"{user}","data":{data}}`, "what to POST there; {user}, {users} (a JSON array) and {data} (a JSON string) are filled in")
	fs.Var(list{&c.headers}, "publish-header", "`line` to add to calls; may be repeated")
	fs.Float64Var(&l.rate, "rate", 0, "messages a second, whatever the server does (0: as fast as -callers can)")
	fs.IntVar(&l.callers, "callers", 32, "calls to make side by side, at most")
	fs.IntVar(&l.messages, "messages", 0, "messages to publish (0: as many as go into -duration)")
	fs.DurationVar(&l.duration, "duration", 10*time.Second, "how long to publish (no limit if only -messages is given)")
	fs.DurationVar(&c.warmup, "warmup", time.Second, "how long to publish before that without measuring")
	fs.IntVar(&l.size, "size", 64, fmt.Sprintf("bytes of a message's data (at least %d)", minData))
	fs.IntVar(&c.storm, "storm", 0, "afterwards publish on in the same way while so many more connections are opened, and compare")
	fs.StringVar(&raw.dataFile, "data", "", "`file` with a JSON value to send, in an array behind a number, in place of -size letters")
	fs.IntVar(&c.fan, "fan", 100, "users of a multicast")
	fs.StringVar(&raw.mix, "mix", "unicast=80,multicast=15,broadcast=5", "what mixed sends, by weight")
	fs.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long a call may take")
	fs.DurationVar(&l.wait, "wait", 10*time.Second, "how long to wait for what is late: unsent messages, and deliveries while none comes")
	fs.IntVar(&l.outstanding, "outstanding", -1, "without -rate: deliveries that may be under way before calls wait (0: no limit; -1: 8 messages to everybody, at least 10,000)")
}

func (c *config) measureFlags(fs *flag.FlagSet) {
	fs.IntVar(&c.server.pid, "pid", 0, "the server's process, if it runs here: measure its CPU and memory")
	fs.DurationVar(&c.settle, "settle", 2*time.Second, "how long the server rests before its memory is read")
	fs.StringVar(&c.gcURL, "gc-url", "", "`URL` to GET before that, such as http://127.0.0.1:8082/debug/pprof/heap?gc=1")
	fs.BoolVar(&c.json, "json", false, "print the result as JSON")
	fs.BoolVar(&c.quiet, "quiet", false, "show no progress")
}

// complete checks what flags say and fills in what they leave open.
func (c *config) complete(raw rawFlags, getenv func(string) string) error {
	for _, step := range []func(rawFlags) error{c.completeMode, c.completeHold, c.completeProcs, c.completeLoad} {
		if err := step(raw); err != nil {
			return err
		}
	}
	c.apiKey = getenv("PUSHBENCH_API_KEY")
	if raw.keyFile != "" {
		text, err := os.ReadFile(raw.keyFile)
		if err != nil {
			return fmt.Errorf("-api-key-file: %w", err)
		}
		c.apiKey = strings.TrimSpace(string(text))
	}
	if strings.ContainsAny(c.apiKey, " \t\r\n") {
		return errors.New("-api-key-file: want a file with nothing but one key")
	}
	return c.server.check(c.most())
}

func (c *config) completeMode(raw rawFlags) error {
	switch c.mode {
	case "connect":
	case "unicast":
		c.weights[unicast] = 1
	case "multicast":
		c.weights[multicast] = 1
	case "broadcast":
		c.weights[broadcast] = 1
	case "mixed":
		return c.parseMix(raw.mix)
	default:
		return fmt.Errorf("unknown mode %q: want connect, unicast, multicast, broadcast or mixed", c.mode)
	}
	return nil
}

func (c *config) parseMix(mix string) error {
	sum := 0
	for part := range strings.SplitSeq(mix, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), "=")
		k := slices.IndexFunc([]kind{unicast, multicast, broadcast}, func(k kind) bool { return k.String() == name })
		w, err := strconv.Atoi(weight)
		if k < 0 || err != nil || w < 0 {
			return fmt.Errorf("-mix: %q: want unicast=80,multicast=15,broadcast=5 with whole numbers", part)
		}
		c.weights[k] = w
		sum += w
	}
	if sum == 0 {
		return errors.New("-mix: every weight is 0")
	}
	return nil
}

func (c *config) completeHold(raw rawFlags) error {
	h := &c.hold
	switch {
	case h.Conns < 1:
		return fmt.Errorf("-conns %d: want at least 1", h.Conns)
	case h.Users < 0 || h.Users > h.Conns:
		return fmt.Errorf("-users %d: want 1 to %d, the number of connections", h.Users, h.Conns)
	case h.Stuck < 0 || h.Stuck > h.Conns:
		return fmt.Errorf("-stuck %d: want 0 to %d, the number of connections", h.Stuck, h.Conns)
	case h.InFlight < 1 || h.Rate < 0:
		return errors.New("-in-flight must be at least 1, -connect-rate not negative")
	}
	if h.Users == 0 {
		h.Users = h.Conns
	}
	if h.Hello < 0 {
		h.Hello = 1
		if c.publish.url != "" {
			h.Hello = 0
		}
	}
	if h.TokenKeyFile != "" && !strings.Contains(h.URL+strings.Join(h.Headers, ""), "{token}") {
		h.URL = strings.TrimSuffix(h.URL, "?user={user}")
		h.Headers = append(h.Headers, "Authorization: Bearer {token}")
	}
	for _, line := range slices.Concat(h.Headers, c.headers) {
		if name, _, ok := strings.Cut(line, ":"); !ok || name == "" || strings.ContainsAny(line, "\r\n") {
			return fmt.Errorf("%q: want a header line, Name: value", line)
		}
	}
	if _, err := newHandshakes(*h); err != nil {
		return err
	}
	if err := c.parseSteps(raw.steps); err != nil {
		return err
	}
	return c.parseSources(raw.sources)
}

func (c *config) parseSteps(text string) error {
	n := c.hold.Conns
	if text == "" && c.mode == "connect" && n >= 4 {
		c.steps = []int{n / 4}
	}
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		step, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || step < 1 || step > n || len(c.steps) > 0 && step <= c.steps[len(c.steps)-1] {
			return fmt.Errorf("-steps: %q: want rising numbers from 1 to %d, the number of connections", part, n)
		}
		c.steps = append(c.steps, step)
	}
	if len(c.steps) == 0 || c.steps[len(c.steps)-1] < n {
		c.steps = append(c.steps, n)
	}
	return nil
}

// most is how many connections there are in the end.
func (c *config) most() int { return c.hold.Conns + c.storm }

// crowd is what the storm's connections are; the processes that hold them hold
// no others.
func (c *config) crowd() holdConfig {
	h := c.hold
	h.First = c.hold.Conns
	return h
}

// parseSources spreads connections to a server on this machine over several
// addresses: each has about 28,000 ports, fewer if connections ended recently.
func (c *config) parseSources(text string) error {
	const perAddress, most = 4000, 250
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		if _, err := netip.ParseAddr(strings.TrimSpace(part)); err != nil {
			return fmt.Errorf("-sources: %w", err)
		}
		c.hold.Sources = append(c.hold.Sources, strings.TrimSpace(part))
	}
	_, host, _, err := splitURL(c.hold.URL, "ws")
	if err != nil || text != "" {
		return err
	}
	addr, err := resolveTCP(host)
	if err != nil {
		return fmt.Errorf("-connect-url: %w", err)
	}
	if addr.Addr().IsLoopback() && addr.Addr().Is4() {
		for i := range min(most, (c.most()+perAddress-1)/perAddress) {
			c.hold.Sources = append(c.hold.Sources, fmt.Sprintf("127.0.0.%d", i+1))
		}
	}
	return nil
}

// completeProcs makes sure that the processes may open files enough.
func (c *config) completeProcs(rawFlags) error {
	const others = 32 // files that a process has besides connections
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	// Go programs raise the soft limit to the hard one when they start.
	each := int(min(limit.Max, 1<<30)) - others
	if each < 1 {
		return fmt.Errorf("the limit of open files is %d: raise it with ulimit -n", limit.Max)
	}
	least := func(conns int) int { return (conns + each - 1) / each }
	n := c.hold.Conns
	switch {
	case c.procs < 0:
		return fmt.Errorf("-procs %d: want at least 1", c.procs)
	case c.procs == 0:
		c.procs = least(n)
	case c.procs < least(n):
		return fmt.Errorf("%d connections in %d processes need %d open files each, and the limit is %d: raise it with ulimit -n or use -procs %d",
			n, c.procs, (n+c.procs-1)/c.procs+others, limit.Max, least(n))
	}
	c.procs = min(c.procs, n)
	c.stormProcs = least(max(0, c.storm))
	return nil
}

func (c *config) completeLoad(raw rawFlags) error {
	l := &c.load
	switch {
	case c.via != "rest" && c.via != "grpc" && c.via != "stream":
		return fmt.Errorf("-via %q: want rest, grpc or stream", c.via)
	case c.via != "rest" && c.publish.url != "":
		return fmt.Errorf("-publish-url is for servers that take messages over HTTP; it does not go with -via %s", c.via)
	case l.rate < 0 || l.callers < 1 || l.messages < 0 || l.messages > maxSeq || l.duration <= 0 || c.warmup < 0:
		return fmt.Errorf("-callers must be at least 1, -duration more than 0, -messages 0 to %d, -rate and -warmup not negative", maxSeq)
	case l.size < minData:
		return fmt.Errorf("-size %d: want at least %d, as much as the number and time in it need", l.size, minData)
	case c.storm < 0 || c.storm > 0 && c.mode == "connect":
		return errors.New("-storm: want how many connections to open while messages go on; with connect there are none")
	case c.fan < 1:
		return fmt.Errorf("-fan %d: want at least 1", c.fan)
	}
	if raw.dataFile != "" {
		text, err := os.ReadFile(raw.dataFile)
		if err != nil {
			return fmt.Errorf("-data: %w", err)
		}
		if l.data = bytes.TrimSpace(text); !json.Valid(l.data) {
			return fmt.Errorf("-data: %s is not one JSON value", raw.dataFile)
		}
		l.size = len(newData(l.size, l.data))
	}
	if l.messages > 0 && !slices.Contains(raw.set, "duration") {
		l.duration = 24 * time.Hour
	}
	if l.outstanding < 0 {
		l.outstanding = max(10_000, 8*c.hold.Conns)
	}
	if c.api == "" {
		c.api = map[string]string{"rest": "http://127.0.0.1:8081", "grpc": "http://127.0.0.1:9090", "stream": "http://127.0.0.1:9090"}[c.via]
	}
	return nil
}
