package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"pushd.example/internal/testkit"
)

// TestE2EDocs types every command of README.md and docs/ into a bash that
// stands where a reader stands, in a clone with the programs in build/, and
// compares with what the documents say comes back. Each section has a server of
// its own, unless it starts one.
func TestE2EDocs(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	typed := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, section := range strings.Split("\n"+string(text), "\n## ") {
			title, body, _ := strings.Cut(section, "\n")
			steps, unmarked := docSteps(body)
			for _, line := range unmarked {
				t.Errorf("%s: %q looks like a command and does not begin with \"$ \", so no test types it", filepath.Base(file), line)
			}
			if len(steps) == 0 {
				continue
			}
			typed += len(steps)
			t.Run(filepath.Base(file)+"/"+title, func(t *testing.T) {
				if measuring[filepath.Base(file)] {
					readOnly(t, steps)
					return
				}
				cook(t, steps)
			})
		}
	}
	if typed < 70 {
		t.Errorf("%d commands found in the documents, want at least 70", typed)
	}
}

// step is a command of a document and what comes back.
type step struct{ command, want string }

// programs begin lines that can only be commands.
var programs = regexp.MustCompile(`^([\w./]*pushd|[\w./]*pushctl|[\w./]*pushbench|curl|grpcurl|make|go|git|openssl|docker|systemctl|redis-cli) +\S`)

// docSteps finds the commands in the indented lines of text: one begins with
// "$ " and goes on as long as the shell would ask for more, or lines are
// indented further and nothing has come back yet. unmarked are lines that look
// like commands and lack the "$ ".
func docSteps(text string) (steps []step, unmarked []string) {
	inside, after := false, false // a command; what comes back
	for line := range strings.Lines(text) {
		line, ok := strings.CutPrefix(line, "    ")
		if !ok {
			inside, after = false, false
			continue
		}
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			steps = append(steps, step{command: command})
			inside, after = true, true
			continue
		}
		if programs.MatchString(line) {
			unmarked = append(unmarked, line)
		}
		if !after {
			continue
		}
		last := &steps[len(steps)-1]
		if inside && strings.HasPrefix(line, "  ") {
			last.command += line
			continue
		}
		inside = false
		last.want += line
	}
	return steps, unmarked
}

var (
	// serving commands run until they are stopped.
	serving = regexp.MustCompile(`^(make run|\S*/pushd( -.*)?)(\s*#.*)?\n$`)
	// listening commands run on a terminal of their own.
	listeningCommand = regexp.MustCompile(`^\S*pushctl (listen|watch) `)
	// long commands take minutes, many connections, or another machine: bash reads
	// them without running them, and make says what it would do.
	long = regexp.MustCompile(`^(make (test|bench|chaos|gobench|fuzz|module-path)|go test|build/pushbench|git clone|cd pushd|docker|systemctl)\b`)
	// reading commands change nothing: what they show may need a moment.
	reading = regexp.MustCompile(`^curl '?http|pushctl (history|receipt|presence)`)
)

// measuring are documents whose commands measure: they take minutes, thousands of
// connections or several machines.
var measuring = map[string]bool{"performance.md": true, "cluster.md": true}

// readOnly has a shell read the commands without running them.
func readOnly(t *testing.T, steps []step) {
	sh := startShell(t, nil)
	for _, step := range steps {
		sh.check(step.command)
	}
}

// cook runs the commands of a section, in their order.
func cook(t *testing.T, steps []step) {
	sh := startShell(t, nil)
	for _, step := range steps {
		if serving.MatchString(step.command) {
			sh.serve(step.command)
		}
	}
	if sh.s == nil {
		sh.connect(startDev(t, t.TempDir(), "-api-key-file", filepath.Join(sh.etc, "api.keys"), "-token-key-file", filepath.Join(sh.etc, "token.keys")))
	}
	var listeners []func()
	for _, step := range steps {
		switch {
		case serving.MatchString(step.command):
		case long.MatchString(step.command):
			sh.check(step.command)
		case listeningCommand.MatchString(step.command):
			listeners = append(listeners, sh.listen(step))
		case reading.MatchString(step.command):
			testkit.WaitForSuccess(t, "$ "+step.command, func() error { return sh.compare(step) })
		default:
			if err := sh.compare(step); err != nil {
				t.Error(err)
			}
		}
	}
	for _, check := range listeners {
		check()
	}
}

// matches compares without white space, which in the document is there for
// people; "…" is anything.
func matches(got, want string) bool {
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
	pattern := strings.ReplaceAll(regexp.QuoteMeta(squeeze(want)), "…", "[^,}]*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(squeeze(got))
}

// shell is a bash in what looks like a clone, on which the addresses and paths
// of the documents are those of the test.
type shell struct {
	t *testing.T
	// dir is the clone, etc takes the place of /etc/pushd.
	dir, etc string
	env      []string
	s        *server // nil before connect
	here     *strings.Replacer
	in       io.Writer
	out      *bufio.Reader
}

// startShell starts a shell that reaches s, which may be nil at first.
func startShell(t *testing.T, s *server) *shell {
	t.Helper()
	sh := &shell{t: t, dir: t.TempDir(), etc: t.TempDir()}
	sh.clone()
	sh.configure()
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	// XDG_CACHE_HOME keeps pushctl's cursors out of the home directory; Go would
	// build everything anew in it. make builds into a folder of its own; all sections share the programs in build/.
	sh.env = append(os.Environ(), "KEY="+allKey, "BUILD="+filepath.Join(sh.etc, "made"), "XDG_CACHE_HOME="+sh.etc, "GOCACHE="+strings.TrimSpace(string(cache)), "XDG_CONFIG_HOME="+sh.etc,
		"PATH="+filepath.Join(sh.dir, "build")+":"+os.Getenv("PATH"))
	sh.here = strings.NewReplacer()
	cmd := exec.Command("bash")
	cmd.Dir, cmd.Env = sh.dir, sh.env
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sh.in, sh.out = in, bufio.NewReader(out)
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	if s != nil {
		sh.connect(s)
	}
	return sh
}

// clone fills dir with the programs in build/ and with the files that make looks
// at when it is asked for its targets.
func (sh *shell) clone() {
	sh.t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		sh.t.Fatal(err)
	}
	build := filepath.Join(sh.dir, "build")
	err = os.Mkdir(build, 0o755)
	for _, name := range []string{"Makefile", "go.mod", "go.sum"} {
		err = errors.Join(err, os.Symlink(filepath.Join(root, name), filepath.Join(sh.dir, name)))
	}
	for _, name := range []string{"pushd", "pushctl"} {
		err = errors.Join(err, os.Symlink(binary(sh.t, name), filepath.Join(build, name)))
	}
	// A pinned tool, so that nothing needs to be installed.
	grpcurl := fmt.Sprintf("#!/bin/sh\nexec go tool -modfile=%s/tools/go.mod grpcurl \"$@\"\n", root)
	err = errors.Join(err, os.WriteFile(filepath.Join(build, "grpcurl"), []byte(grpcurl), 0o755))
	if err != nil {
		sh.t.Fatal(err)
	}
}

// configure fills etc with what docs/configuration.md has in /etc/pushd.
func (sh *shell) configure() {
	sh.t.Helper()
	var err error
	for name, text := range map[string]string{
		"api.keys":   "docs * " + allKey + "\n",
		"token.keys": "a-secret-of-at-least-32-bytes-for-tests\n",
		"pushd.yaml": "api-key-file: " + sh.etc + "/api.keys\ntoken-key-file: " + sh.etc + "/token.keys\n",
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(sh.etc, name), []byte(text), 0o600))
	}
	if err != nil {
		sh.t.Fatal(err)
	}
}

// connect makes the addresses of the documents those of s.
func (sh *shell) connect(s *server) {
	sh.t.Helper()
	sh.s = s
	sh.here = strings.NewReplacer(
		"127.0.0.1:8080", s.Listen, "127.0.0.1:8081", s.HTTP, "127.0.0.1:8082", s.Admin, "127.0.0.1:9090", s.GRPC,
		"/usr/local/bin/", "build/", "/etc/pushd/", sh.etc+"/",
		// A test has no minute to wait.
		`"notify_unacked_after":"60s"`, `"notify_unacked_after":"5s"`)
	// pushctl has the ports of the documents as its defaults.
	here := []string{"PUSHCTL_GRPC=" + s.GRPC, "PUSHCTL_URL=ws://" + s.Listen + "/push"}
	sh.env = append(sh.env, here...)
	sh.run("export " + strings.Join(here, " ") + "\n")
}

// serve runs a command that starts pushd, on free ports, and connects to it.
func (sh *shell) serve(command string) {
	sh.t.Helper()
	ready := filepath.Join(sh.t.TempDir(), "ready.json")
	cmd := exec.Command("bash", "-c", strings.NewReplacer("/usr/local/bin/", "build/", "/etc/pushd/", sh.etc+"/").Replace(command))
	cmd.Dir = sh.dir
	if strings.HasPrefix(command, "make ") {
		// In another directory, Go would compile everything again. The first build
		// may take longer than a test waits for a server.
		cmd.Dir = filepath.Join("..", "..")
		build := exec.Command("make", "programs")
		build.Dir, build.Env = cmd.Dir, sh.env
		if out, err := build.CombinedOutput(); err != nil {
			sh.t.Fatalf("make programs: %v\n%s", err, out)
		}
	}
	cmd.Env = append(sh.env, "PUSHD_READY_FILE="+ready, "PUSHD_DATA="+sh.t.TempDir(), "PUSHD_LISTEN=127.0.0.1:0",
		"PUSHD_GRPC=127.0.0.1:0", "PUSHD_HTTP=127.0.0.1:0", "PUSHD_ADMIN=127.0.0.1:0")
	s := &server{t: sh.t, log: &testkit.Buffer{}, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		sh.t.Fatal(err)
	}
	go func() { s.err = cmd.Wait(); close(s.done) }()
	sh.t.Cleanup(func() {
		if s.PID != 0 { // make is between pushd and this test
			_ = syscall.Kill(s.PID, syscall.SIGKILL)
		}
		s.kill()
	})
	testkit.WaitForSuccess(sh.t, "$ "+command+" to serve", func() error {
		select {
		case <-s.done:
			sh.t.Fatalf("$ %s ended: %v\n%s", command, s.err, s.log)
		default:
		}
		b, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, s)
	})
	sh.connect(s)
}

// check has bash read a command that takes too long to run, and make find its
// targets.
func (sh *shell) check(command string) {
	sh.t.Helper()
	if strings.HasPrefix(command, "make ") {
		command = "make -n " + strings.TrimPrefix(command, "make ") // prints, runs nothing
	} else {
		command = "bash -n <<'END OF THE COMMAND'\n" + command + "\nEND OF THE COMMAND\n"
	}
	sh.run(command)
}

// compare types the command of st and compares what it prints, if the document
// says so.
func (sh *shell) compare(st step) error {
	sh.t.Helper()
	if got := sh.run(st.command); st.want != "" && !matches(got, st.want) {
		return fmt.Errorf("$ %s got  %s\nwant %s", st.command, got, st.want)
	}
	return nil
}

// run types a command and returns what it prints. It must succeed.
func (sh *shell) run(command string) string {
	sh.t.Helper()
	const end = "--that was it--"
	// Progress meters of curl would be in what it prints: -s leaves errors away
	// as well, -S brings them back.
	if _, err := fmt.Fprintf(sh.in, "curl() { command curl -sS \"$@\"; }\n%s\nstatus=$?; echo; echo %q $status\n", sh.here.Replace(command), end); err != nil {
		sh.t.Fatal(err)
	}
	var printed strings.Builder
	for {
		line, err := sh.out.ReadString('\n')
		if err != nil {
			sh.t.Fatalf("$ %s: %v after %s", command, err, &printed)
		}
		if status, ok := strings.CutPrefix(line, end); ok {
			if strings.TrimSpace(status) != "0" {
				sh.t.Fatalf("$ %s: status %s\n%s", command, status, &printed)
			}
			return printed.String()
		}
		printed.WriteString(line)
	}
}

// listen runs a listener on another terminal. It returns once the first line is
// there, and a function that compares all lines, in their order.
func (sh *shell) listen(st step) (check func()) {
	sh.t.Helper()
	cmd := exec.Command("bash", "-c", "exec "+sh.here.Replace(st.command))
	cmd.Dir, cmd.Env = sh.dir, sh.env
	out, err := cmd.StdoutPipe()
	if err != nil {
		sh.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		sh.t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		for scan := bufio.NewScanner(out); scan.Scan(); {
			lines <- scan.Text()
		}
		close(lines)
	}()
	sh.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range lines {
		}
		_ = cmd.Wait()
	})
	expect := func(want string) {
		sh.t.Helper()
		select {
		case got := <-lines:
			if !matches(got, want) {
				sh.t.Errorf("$ %s got  %s\nwant %s", st.command, got, want)
			}
		case <-time.After(patience):
			sh.t.Errorf("$ %s prints nothing, want %s", st.command, want)
		}
	}
	wanted := strings.Split(strings.TrimSpace(st.want), "\n")
	expect(wanted[0])
	return func() {
		for _, want := range wanted[1:] {
			expect(want)
		}
	}
}
