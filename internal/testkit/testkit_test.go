package testkit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// recorder is a test that notes how it failed; Fatal ends its goroutine.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatal(args ...any) {
	r.failure = fmt.Sprint(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }

// failureOf returns how test fails, "" if it passes.
func failureOf(test func(testing.TB)) string {
	r, ended := &recorder{}, make(chan struct{})
	go func() {
		defer close(ended)
		test(r)
	}()
	<-ended
	return r.failure
}

func TestWaitFor(t *testing.T) {
	n := 0
	WaitFor(t, "the third try", func() bool { n++; return n == 3 })
	if n != 3 {
		t.Errorf("%d tries, want 3", n)
	}
	WaitForSuccess(t, "the fifth try", func() error {
		if n++; n < 5 {
			return errors.New("too early")
		}
		return nil
	})
	if n != 5 {
		t.Errorf("%d tries, want 5", n)
	}
}

func TestWaitInVain(t *testing.T) {
	got := failureOf(func(t testing.TB) {
		waitFor(t, time.Millisecond, "rain", func() error { return errors.New("the sky is blue") })
	})
	if want := "waited in vain for rain: the sky is blue"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMust(t *testing.T) {
	Must(t, nil)
	if got := failureOf(func(t testing.TB) { Must(t, errors.New("broken")) }); got != "broken" {
		t.Errorf("got %q, want %q", got, "broken")
	}
}

// tests are run as a package's tests are.
type tests func() int

func (f tests) Run() int { return f() }

func TestRunFindsLeaks(t *testing.T) {
	release := make(chan struct{})
	var file *os.File
	for _, c := range []struct {
		name  string
		tests tests
		want  int
	}{
		{"nothing left", func() int { return 0 }, 0},
		{"a failure", func() int { return 3 }, 3},
		{"a goroutine", func() int { go func() { <-release }(); return 0 }, 1},
		{"a file", func() (code int) { file, _ = os.Open(os.DevNull); return 0 }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "a file" && runtime.GOOS != "linux" {
				t.Skip("open files are counted on Linux only")
			}
			// This test's own goroutines are no leak.
			if got := run(c.tests, []string{"testing.(*T).Run"}); got != c.want {
				t.Errorf("status %d, want %d", got, c.want)
			}
			if c.name == "a goroutine" {
				close(release)
			}
		})
	}
	_ = file.Close()
}

func TestRunIgnores(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	leaking := tests(func() int { go lingering(release); return 0 })
	if got := run(leaking, []string{"testing.(*T).Run", "pushd.example/internal/testkit.lingering"}); got != 0 {
		t.Errorf("status %d for a goroutine to be ignored", got)
	}
}

func lingering(release chan struct{}) { <-release }

func TestShared(t *testing.T) {
	var dir string
	cleaned := false
	setup := func(d string) (func(), error) {
		dir = d
		return func() { cleaned = true }, os.WriteFile(filepath.Join(d, "file"), nil, 0o600)
	}
	code := shared{tests(func() int {
		if _, err := os.Stat(filepath.Join(dir, "file")); err != nil || cleaned {
			t.Errorf("cleaned up (%v) before the tests ran, %v", cleaned, err)
		}
		return 7
	}), setup}.Run()
	if _, err := os.Stat(dir); code != 7 || !cleaned || !os.IsNotExist(err) {
		t.Errorf("status %d, cleaned up %v, the directory: %v", code, cleaned, err)
	}
	broken := shared{tests(func() int { t.Error("ran without its setup"); return 0 }), func(string) (func(), error) { return nil, errors.New("no setup") }}
	if code := broken.Run(); code != 1 {
		t.Errorf("status %d without a setup, want 1", code)
	}
}

func TestProcessStops(t *testing.T) {
	p := Start(t, exec.Command("sh", "-c", `trap 'echo bye >&2; exit 0' TERM; echo ready; while :; do sleep 0.01; done`))
	WaitFor(t, "its first line", func() bool { return p.Output.Len() > 0 })
	Must(t, p.Stop())
	if got := p.Output.String(); got != "ready\nbye\n" {
		t.Errorf("output %q", got)
	}
	if got := p.Output.Tail(4); got != "bye\n" {
		t.Errorf("tail %q", got)
	}
	if err := syscall.Kill(p.PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}

func TestProcessThatDoesNotStop(t *testing.T) {
	p := Start(t, exec.Command("sh", "-c", `trap '' TERM; echo ready; while :; do sleep 0.01; done`))
	WaitFor(t, "its first line", func() bool { return p.Output.Len() > 0 })
	if err := p.stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "did not end within 50ms") {
		t.Errorf("Stop of a process that goes on: %v", err)
	}
	p.Kill()
	if err := p.Err(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("killed, it ended with %v", err)
	}
}

// TestProcessEndsWithTest also kills the children of a process group.
func TestProcessEndsWithTest(t *testing.T) {
	var p *Process
	child := 0
	t.Run("one that starts another", func(t *testing.T) {
		cmd := exec.Command("sh", "-c", `sleep 60 & echo $!; wait`)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		p = Start(t, cmd)
		WaitForSuccess(t, "the child's id", func() error {
			_, err := fmt.Sscan(p.Output.String(), &child)
			return err
		})
	})
	select {
	case <-p.Done():
	default:
		t.Error("the process outlives its test")
	}
	WaitFor(t, "the child's end", func() bool { return gone(child) })
}

// gone reports whether the process has ended. A child whose parent has died may
// stay as a zombie where nobody reaps it.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || err == nil && strings.Contains(string(stat), ") Z ")
}

func TestFreeAddr(t *testing.T) {
	addr := FreeAddr(t)
	l, err := net.Listen("tcp", addr)
	Must(t, err)
	defer l.Close()
	if port := l.Addr().(*net.TCPAddr).Port; port >= 20_000 {
		t.Errorf("port %d is of redistest or of clients", port)
	}
}
