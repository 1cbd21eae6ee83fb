package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pushd.example/internal/testkit"
)

// pushctlEnv is the environment in which pushctl talks to s, and reads no
// configuration of whoever runs the test.
func (s *server) pushctlEnv() []string {
	home := filepath.Join(binaryDir, "home")
	return append(os.Environ(), "PUSHCTL_GRPC="+s.GRPC, "PUSHCTL_URL=ws://"+s.Listen+"/push", "PUSHCTL_KEY="+s.Key,
		"XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
}

// pushctl runs pushctl with stdin and returns what it printed and its status.
func (s *server) pushctl(stdin string, args ...string) (out, errOut string, status int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), binary(s.t, "pushctl"), args...)
	cmd.Env = s.pushctlEnv()
	cmd.Stdin = strings.NewReader(stdin)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	return o.String(), e.String(), status
}

// ctl is pushctl for a command that must succeed and be silent on stderr.
func (s *server) ctl(args ...string) string {
	s.t.Helper()
	out, errOut, status := s.pushctl("", args...)
	if status != 0 || errOut != "" {
		s.t.Fatalf("pushctl %s: status %d\n%s", strings.Join(args, " "), status, errOut)
	}
	return out
}

// TestE2EPushctl does with pushctl what the API can, and looks at the effects by
// REST or another command.
func TestE2EPushctl(t *testing.T) {
	s := startDev(t, t.TempDir())
	expect := func(want string, args ...string) {
		t.Helper()
		if got := s.ctl(args...); !matches(got, want) {
			t.Errorf("$ pushctl %s\n%s\nwant %s", strings.Join(args, " "), got, want)
		}
	}
	c := mustDial(t, s, "42", "")
	expect(`sent … to 1 user, 1 connection online; 1 user never got a message before`, "send", "-user", "42", `"<b>"`)
	if f := c.next(t); string(f.Data) != `"<b>"` || f.Kind != "unicast" {
		t.Errorf("got %+v", f)
	}
	expect(`added 2 users`, "groups", "add", "-group", "vip", "-user", "42", "-user", "43")
	expect("42\n43", "groups", "list", "-group", "vip")
	expect(`{"group":"vip"}`, "groups", "of", "-user", "43", "-json")
	expect(`{"id":"…","duplicate":false,"online":1,"recipients":1,"online_users":1,"unknown":0}`,
		"-json", "send", "-group", "vip", "-except", "43", "-collapse-key", "k", "-ttl", "1h", "-notify-unacked-after", "30m", "2")
	expect(`sent … to everyone, 1 connection online`, "send", "-everyone", "-idempotency-key", "once", "3")
	expect(`sent before as …; nothing stored now`, "send", "-everyone", "-idempotency-key", "once", "3")
	expect(`sent … to 0 users, 1 connection online`, "send", "-user", "42", "-ephemeral", "4")
	expect("removed 1 user", "groups", "remove", "-group", "vip", "-user", "43")
	expect("removed 1 user", "groups", "delete", "-group", "vip")
	expect("sent to nobody: the groups have no members", "send", "-group", "vip", "5")
	for _, data := range []string{"2", "3", "4"} {
		if f := c.next(t); string(f.Data) != data {
			t.Fatalf("got %+v, want data %s", f, data)
		}
	}

	var page page
	if err := json.Unmarshal([]byte(s.ctl("history", "-user", "42", "-json", "-kind", "unicast", "-kind", "broadcast")), &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Messages) != 2 || string(page.Messages[0].Data) != `"<b>"` || string(page.Messages[1].Data) != "3" || page.Unread != 3 {
		t.Errorf("history %+v", page)
	}
	first := page.Messages[0].ID
	expect("… … unicast "+first+` "<b>"`+"\n3 unread, cursor …; more with -before … or -after …", "history", "-user", "42", "-after", "0", "-limit", "1")
	expect("2 unread", "ack", "-user", "42", s.history("42", "after=0&limit=1").Cursor)
	testkit.WaitForSuccess(t, "the delivery to be in the receipt", func() error {
		want := "unicast: 1 recipient, delivered to 1, acked by 1\n42: delivered …, acked …"
		if got := s.ctl("receipt", first); !matches(got, want) {
			return fmt.Errorf("receipt\n%s", got)
		}
		return nil
	})
	expect("0 unread", "ack", "-user", "42")
	expect("recalled "+first, "recall", first)
	if len(s.history("42", "kinds=unicast").Messages) > 0 {
		t.Error("the recalled message is still in the history")
	}

	expect("42", "presence")
	expect("42: online, 1 connection\nnobody: offline", "presence", "-user", "42", "-user", "nobody")
	expect("42 "+c.hello.Connection+" node …, from … by websocket since …, …", "presence", "-user", "42", "-connections")
	expect("closed 1 connection", "kick", "-user", "42", "-reason", "bye", "-refuse", "10s")
	if code := c.closeCode(t); code != 4002 {
		t.Errorf("close code %d, want 4002", code)
	}
	expect("0 unread, cursor …", "history", "-user", "42", "-unread")
}

// TestE2EPushctlStdin sends lines of which some are bad: those fail alone, named
// by their line, and answers come in the order of the lines.
func TestE2EPushctlStdin(t *testing.T) {
	s := startDev(t, t.TempDir())
	var in strings.Builder
	for i := range 3000 { // more than pushd reads ahead of its replies
		fmt.Fprintln(&in, i)
	}
	out, errOut, status := s.pushctl(in.String(), "send", "-user", "42", "-json")
	ids := frameIDs(s.wholeHistory("42")) // the newest 1,000 are kept
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != 0 || errOut != "" || len(lines) != 3000 {
		t.Fatalf("status %d, %d answers to 3000 lines\n%s", status, len(lines), errOut)
	}
	for i, id := range ids {
		var r receipt
		if err := json.Unmarshal([]byte(lines[3000-len(ids)+i]), &r); err != nil || r.ID != id {
			t.Fatalf("answer %d is %+v, %v; history has %s in its place", 3000-len(ids)+i, r, err, id)
		}
	}

	bad := "1\n\n{\"a\":1}\nhello\n" + strings.Repeat("9", 70_000) + "\n5"
	for round, want := range []string{"sent", "sent before as"} {
		out, errOut, status = s.pushctl(bad, "send", "-user", "43", "-idempotency-key", "import")
		if status != 1 || strings.Count(out, "\n") != 3 || !regexp.MustCompile("^(?:"+want+" [0-9]+.*\n){3}$").MatchString(out) {
			t.Errorf("round %d: status %d\n%s", round, status, out)
		}
		for _, says := range []string{"stdin line 4: data: not valid JSON at byte 1", `'"hello"'`, "stdin line 5: data: at most 65536 bytes, got 70000", "2 messages refused"} {
			if !strings.Contains(errOut, says) {
				t.Errorf("round %d: no %q in\n%s", round, says, errOut)
			}
		}
	}
	if n := len(s.wholeHistory("43")); n != 3 {
		t.Errorf("%d messages kept, want 3", n)
	}

	out, errOut, status = s.pushctl("1\n"+strings.Repeat("9", 5<<20)+"\n3\n", "send", "-user", "44")
	if status != 1 || !strings.Contains(errOut, "-max-data") || !strings.Contains(errOut, "from stdin line 2 on may be stored or not") {
		t.Errorf("5 MiB: status %d\n%s%s", status, out, errOut)
	}
}

// TestE2EPushctlListenAndWatch reads what happens as people see it, and as JSON.
func TestE2EPushctlListenAndWatch(t *testing.T) {
	dir := t.TempDir()
	s := startDev(t, dir)
	sh := startShell(t, s)
	check := sh.listen(step{
		command: "pushctl watch -kind acked -user 42 -json\n",
		want:    `{"position":"…","lost":false,"events":[]}` + "\n" + `{"position":"…","lost":false,"events":[{"kind":"acked","time":"…","user":"42","cursor":"…","message":""}]}`,
	})
	heard := sh.listen(step{
		command: "pushctl listen -user 42 -cursor-file none\n",
		want:    "connected as 42, connection …, 0 unread\n… … unicast … 1\nacked, 0 unread\nrecalled …\n",
	})
	id := s.push("unicast", `{"user":"42","data":1}`).ID
	s.ctl("ack", "-user", "42")
	s.ctl("recall", id)
	check()
	heard()
}

// TestE2EPushctlCredentials: keys come from files and the environment, a flag
// beats the environment beats the file, and mistakes are named.
func TestE2EPushctlCredentials(t *testing.T) {
	s, token := startKeyed(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, send := file("all.key", allKey+"\n"), file("send.key", sendKey)
	config := file("config.yaml", "key-file: "+good+"\ntimeout: 20s\njson: true\n")
	s.Key = "" // nothing in the environment
	for name, c := range map[string]struct {
		env    string
		args   []string
		status int
		says   string
	}{
		"no credential":     {"", []string{"presence"}, 1, "PUSHCTL_KEY"},
		"wrong key":         {"PUSHCTL_KEY=" + strings.Repeat("x", 32), []string{"presence"}, 1, "pushd refused the credential"},
		"key by flag":       {"PUSHCTL_KEY=" + strings.Repeat("x", 32), []string{"presence", "-user", "a", "-key-file", good}, 0, "a: offline"},
		"key in config":     {"PUSHCTL_CONFIG=" + config, []string{"presence", "-user", "a"}, 0, `{"user":"a","online":false`},
		"env beats config":  {"PUSHCTL_JSON=false", []string{"presence", "-user", "a", "-config", config}, 0, "a: offline"},
		"scope":             {"PUSHCTL_KEY_FILE=" + send, []string{"presence"}, 1, `"read"`},
		"scope that does":   {"PUSHCTL_KEY_FILE=" + send, []string{"send", "-user", "a", "1"}, 0, "sent "},
		"pushd's key file":  {"", []string{"presence", "-key-file", s.keyFile}, 2, "third column"},
		"no such file":      {"", []string{"presence", "-key-file", filepath.Join(dir, "none")}, 2, "no such file"},
		"key as an option":  {"", []string{"presence", "-key", allKey}, 2, "unknown flag -key"},
		"unknown setting":   {"", []string{"presence", "-config", file("bad.yaml", "tls: true\nkye-file: x\n")}, 2, `bad.yaml:2: unknown setting "kye-file"`},
		"bad value in env":  {"PUSHCTL_TIMEOUT=soon", []string{"presence"}, 2, "PUSHCTL_TIMEOUT: want a time such as 10s"},
		"no user":           {"", []string{"history"}, 2, "set -user"},
		"nobody":            {"", []string{"send", "1"}, 2, "nobody to send to"},
		"long user":         {"PUSHCTL_CONFIG=" + config, []string{"history", "-user", strings.Repeat("u", 129)}, 1, "user: at most 128 bytes, got 129"},
		"no command":        {"", nil, 2, "no command"},
		"unknown command":   {"", []string{"sned"}, 2, `unknown command "sned"`},
		"no server":         {"", []string{"presence", "-grpc", "127.0.0.1:1"}, 1, "cannot reach pushd at 127.0.0.1:1"},
		"the wrong door":    {"", []string{"presence", "-grpc", s.HTTP}, 1, "does not speak gRPC"},
		"a token that ends": {"PUSHCTL_TOKEN=" + token("a", "1h"), []string{"history", "-user", "b"}, 1, "not allowed"},
		"own history":       {"PUSHCTL_TOKEN=" + token("a", "1h"), []string{"history", "-user", "a"}, 0, "unread"},
		"listen, bad token": {"PUSHCTL_TOKEN=x.y.z", []string{"listen", "-cursor-file", "none"}, 1, "pushd refused with 401"},
		"token by API":      {"PUSHCTL_CONFIG=" + config, []string{"token", "-user", "a", "-ttl", "5m"}, 0, `{"token":"ey`},
		"token, short ttl":  {"", []string{"token", "-user", "a", "-ttl", "5ms", "-sign-with", s.keyFile}, 2, "-ttl: want at least 1s"},
		"token, no secret":  {"", []string{"token", "-user", "a", "-sign-with", file("short", "short")}, 2, "got 5"},
	} {
		t.Run(name, func(t *testing.T) {
			if name, value, ok := strings.Cut(c.env, "="); ok {
				t.Setenv(name, value)
			}
			cmd := exec.CommandContext(t.Context(), binary(t, "pushctl"), c.args...)
			cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+dir)
			if !strings.Contains(strings.Join(c.args, " "), "-grpc") {
				cmd.Env = append(cmd.Env, "PUSHCTL_GRPC="+s.GRPC, "PUSHCTL_URL=ws://"+s.Listen+"/push")
			}
			out, err := cmd.CombinedOutput()
			if status := cmd.ProcessState.ExitCode(); status != c.status || !strings.Contains(string(out), c.says) {
				t.Errorf("pushctl %q: status %d, %v\n%s\nwant status %d and %q", c.args, status, err, out, c.status, c.says)
			}
		})
	}
}

// TestE2EBanner types what pushd prints in development mode.
func TestE2EBanner(t *testing.T) {
	s := startDev(t, t.TempDir())
	sh := startShell(t, nil)
	var typed int
	testkit.WaitForSuccess(t, "the banner", func() error {
		if !strings.Contains(s.log.String(), "everything") {
			return errors.New("no banner yet")
		}
		return nil
	})
	for _, found := range regexp.MustCompile(`(?m)^  \S+ +((?:\S*pushctl|curl) .*)$`).FindAllStringSubmatch(s.log.String(), -1) {
		typed++
		command := found[1] + "\n"
		if listeningCommand.MatchString(command) {
			defer sh.listen(step{command, "connected as 42, connection …, 0 unread\n… unicast … {\"title\":\"Hi\"}\n… broadcast … {\"title\":\"Hi, all\"}\n"})()
			continue
		}
		sh.run(command)
	}
	if typed != 6 {
		t.Errorf("%d commands in the banner, want 6\n%s", typed, s.log)
	}
}
