//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func parse(args ...string) (*config, error) {
	return parseConfig(args, func(string) string { return "" }, &strings.Builder{})
}

func TestMistakesOnTheCommandLineAreNamed(t *testing.T) {
	for line, says := range map[string]string{
		"":                                "say what to do",
		"-conns 5":                        "say what to do",
		"shout":                           `unknown mode "shout"`,
		"unicast please":                  `unexpected argument "please"`,
		"unicast -conns 0":                "-conns 0",
		"unicast -conns 5 -users 6":       "-users 6: want 1 to 5",
		"unicast -conns 5 -stuck 6":       "-stuck 6",
		"unicast -in-flight 0":            "-in-flight",
		"unicast -user bob":               "-user: want {n}",
		"unicast -user {n}/x":             "-user: \"/x\"",
		"unicast -user {token}":           "{token} has no meaning here; possible are {n}",
		"unicast -connect-url wss://h:1/": "no TLS",
		"unicast -connect-url ws://h/":    "with the port",
		"unicast -connect-url ws://127.0.0.1:1/{token}": "needs -token-key-file",
		"unicast -connect-header nonsense":              "want a header line",
		"unicast -token-key-file /no/such":              "no such file",
		"unicast -api-key-file /no/such":                "-api-key-file",
		"unicast -via smoke":                            "want rest, grpc or stream",
		"unicast -via grpc -publish-url http://h:1/":    "does not go with -via grpc",
		"unicast -size 5":                               "-size 5: want at least 22",
		"unicast -callers 0":                            "-callers must be",
		"unicast -duration 0s":                          "-duration",
		"unicast -fan 0":                                "-fan 0",
		"unicast -storm -1":                             "-storm",
		"connect -storm 5":                              "-storm",
		"unicast -steps 5,4":                            "-steps",
		"unicast -steps 5000":                           "-steps",
		"unicast -sources nowhere":                      "-sources",
		"mixed -mix unicast":                            "-mix",
		"mixed -mix unicast=0":                          "every weight is 0",
		"mixed -mix shout=1":                            `"shout=1"`,
		"unicast -procs -1":                             "-procs -1",
		"unicast -conns 2000000000 -procs 1":            "raise it with ulimit -n or use -procs ",
		"unicast -pid 2147483647":                       "no such process",
	} {
		_, err := parse(strings.Fields(line)...)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("pushbench %s: got %v, want an error that says %q", line, err, says)
		}
	}
}

func TestWhatFlagsLeaveOpenIsFilledIn(t *testing.T) {
	for line, check := range map[string]func(*config) any{
		"unicast": func(c *config) any {
			return []any{c.hold.Users, c.hold.Hello, c.load.duration, c.load.outstanding, c.procs, c.api, c.steps}
		},
		"unicast -via grpc":                    func(c *config) any { return c.api },
		"connect -conns 100":                   func(c *config) any { return c.steps },
		"connect -conns 9 -steps 3":            func(c *config) any { return c.steps },
		"unicast -messages 5":                  func(c *config) any { return c.load.duration },
		"unicast -messages 5 -duration 1s":     func(c *config) any { return c.load.duration },
		"unicast -publish-url http://h:1/x":    func(c *config) any { return c.hold.Hello },
		"unicast -conns 9000":                  func(c *config) any { return c.hold.Sources },
		"unicast -connect-url ws://10.1.2.3:1": func(c *config) any { return len(c.hold.Sources) },
		"unicast -sources 127.0.0.9,::1":       func(c *config) any { return c.hold.Sources },
		"mixed -mix broadcast=3,unicast=1":     func(c *config) any { return c.weights },
	} {
		want := map[string]string{
			"unicast":                              "[1000 1 10s 10000 1 http://127.0.0.1:8081 [1000]]",
			"unicast -via grpc":                    "http://127.0.0.1:9090",
			"connect -conns 100":                   "[25 100]",
			"connect -conns 9 -steps 3":            "[3 9]",
			"unicast -messages 5":                  "24h0m0s",
			"unicast -messages 5 -duration 1s":     "1s",
			"unicast -publish-url http://h:1/x":    "0",
			"unicast -conns 9000":                  "[127.0.0.1 127.0.0.2 127.0.0.3]",
			"unicast -connect-url ws://10.1.2.3:1": "0",
			"unicast -sources 127.0.0.9,::1":       "[127.0.0.9 ::1]",
			"mixed -mix broadcast=3,unicast=1":     "[1 0 3]",
		}[line]
		c, err := parse(strings.Fields(line)...)
		if err != nil {
			t.Errorf("pushbench %s: %v", line, err)
		} else if got := fmt.Sprint(check(c)); got != want {
			t.Errorf("pushbench %s: %s, want %s", line, got, want)
		}
	}
}

func TestAPIKeyFromFileOrEnvironment(t *testing.T) {
	env := func(string) string { return "from-the-environment" }
	c, err := parseConfig([]string{"unicast"}, env, &strings.Builder{})
	if err != nil || c.apiKey != "from-the-environment" {
		t.Errorf("got %q, %v", c.apiKey, err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("shop send the-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := parseConfig([]string{"unicast", "-api-key-file", path}, env, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "nothing but one key") {
		t.Errorf("a line of pushd's own key file passes as a key: %v", err)
	}
}

func TestTemplates(t *testing.T) {
	all := []variable{varUser, varData}
	for text, want := range map[string]string{
		"":                            "",
		"plain":                       "plain",
		"{user}":                      "<user>",
		`{"u":"{user}","d":{data}}`:   `{"u":"<user>","d":<data>}`,
		`{"a":{"b":{data},"c":{}}}`:   `{"a":{"b":<data>,"c":{}}}`,
		"{{user}}{user":               "{<user>}{user",
		`{"x":[{user},{data}]}{nope}`: `{"x":[<user>,<data>]}{nope}`,
	} {
		tm, err := parseTemplate(text, all...)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := tm.append(nil, func(dst []byte, v variable) []byte { return append(dst, "<"+string(v)+">"...) })
		if string(got) != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if _, err := parseTemplate("{token}", all...); err == nil || !strings.Contains(err.Error(), "{user}, {data}") {
		t.Errorf("got %v", err)
	}
}

func TestRequestsArePushds(t *testing.T) {
	c, err := parse("mixed", "-conns", "3", "-api", "http://127.0.0.1:8081")
	if err != nil {
		t.Fatal(err)
	}
	names, err := parseUserNames(c.hold.UserNames)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAPI(c, names)
	if err != nil {
		t.Fatal(err)
	}
	r := &rest{api: a}
	for _, x := range []struct {
		m    message
		want string
	}{
		{message{unicast, 2, 1}, "POST /v1/unicast HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n" + `{"user":"u2","data":1}`},
		{message{multicast, 2, 2}, "POST /v1/multicast HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n" + `{"users":["u2","u0"],"data":1}`},
		{message{broadcast, 1, 1}, "POST /v1/broadcast HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n" + `{"data":1}`},
	} {
		if r.request(x.m, []byte("1")); string(r.out) != x.want {
			t.Errorf("%v: %q, want %q", x.m.kind, r.out, x.want)
		}
	}
}

func TestServerFiguresAreThoseOfTheProcess(t *testing.T) {
	s := server{os.Getpid()}
	before, err := s.cpu()
	if err != nil {
		t.Fatal(err)
	}
	own := ownCPU()
	for n := uint64(0); ownCPU()-own < 50*time.Millisecond; n = scatter(n) {
	}
	after, err := s.cpu()
	if err != nil {
		t.Fatal(err)
	}
	if used, by := after-before, ownCPU()-own; used < 40*time.Millisecond || used > by+20*time.Millisecond {
		t.Errorf("the process used %v by its CPU clock and %v by getrusage", used, by)
	}
	if err := s.check(1 << 30); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("a limit of open files that is too low: %v", err)
	}
	if m := thisMachine(); m.Cores < 1 || m.Kernel == "" || m.CPU == "" || !slices.Contains([]byte(m.Go), 'g') {
		t.Errorf("machine: %+v", m)
	}
}
