package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestE2ERecipes types what docs/recipes.md says, each recipe at a server of
// its own, and compares with what it says comes back.
func TestE2ERecipes(t *testing.T) {
	doc, err := os.ReadFile("../../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, recipe := range strings.Split(string(doc), "\n## ")[1:] {
		title, text, _ := strings.Cut(recipe, "\n")
		t.Run(title, func(t *testing.T) {
			steps := recipeSteps(text)
			if len(steps) < 3 {
				t.Fatalf("%d commands found", len(steps))
			}
			cook(t, steps)
		})
		ran++
	}
	if ran < 3 {
		t.Errorf("%d recipes found", ran)
	}
}

// step is a command of a recipe and what comes back.
type step struct{ command, want string }

// recipeSteps finds the commands in the indented lines of text: one begins with
// "$ " and goes on as long as the shell would ask for more, or lines are
// indented further and nothing has come back yet.
func recipeSteps(text string) (steps []step) {
	inside := false // a command
	for line := range strings.Lines(text) {
		line, ok := strings.CutPrefix(line, "    ")
		if !ok {
			inside = false
			continue
		}
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			steps = append(steps, step{command: command})
			inside = true
			continue
		}
		if len(steps) == 0 {
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
	return steps
}

func cook(t *testing.T, steps []step) {
	s := startDev(t, t.TempDir())
	sh := startShell(t, s)
	var listeners []func()
	for _, step := range steps {
		if strings.HasPrefix(step.command, "pushd listen ") || strings.HasPrefix(step.command, "pushd watch ") {
			listeners = append(listeners, sh.listen(step))
			continue
		}
		if got := sh.run(step.command); !matches(got, step.want) {
			t.Errorf("$ %s got  %s\nwant %s", step.command, got, step.want)
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

// shell is a terminal in a directory of its own, on which the addresses of the
// document are those of s.
type shell struct {
	t    *testing.T
	dir  string
	env  []string
	here *strings.Replacer
	in   io.Writer
	out  *bufio.Reader
}

func startShell(t *testing.T, s *server) *shell {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	sh := &shell{
		t: t, dir: t.TempDir(),
		env: append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH")),
		here: strings.NewReplacer(
			"127.0.0.1:8081", s.HTTP, "127.0.0.1:9090", s.GRPC, "127.0.0.1:8080", s.Listen,
			"pushd listen ", "pushd listen -url ws://"+s.Listen+"/push ",
			"pushd watch ", "pushd watch -addr "+s.GRPC+" ",
			// Nobody here has a minute.
			`"notify_unacked_after":"60s"`, `"notify_unacked_after":"5s"`),
	}
	cmd := exec.Command("sh")
	cmd.Dir, cmd.Env = sh.dir, sh.env
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sh.in, sh.out = in, bufio.NewReader(out)
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return sh
}

// run types a command and returns what it prints. It must succeed.
func (sh *shell) run(command string) string {
	sh.t.Helper()
	const end = "--that was it--"
	if _, err := fmt.Fprintf(sh.in, "%s\nstatus=$?; echo; echo %q $status\n", sh.here.Replace(command), end); err != nil {
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
				sh.t.Fatalf("$ %s: status %s", command, status)
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
	cmd := exec.Command("sh", "-c", "exec "+sh.here.Replace(st.command))
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
