package redistest_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pushd.example/internal/redistest"
	"pushd.example/internal/testkit"
)

// childEnv makes the test binary start a server, tell its pid and wait to be
// killed.
const childEnv = "PUSHD_TEST_REDISTEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		s, err := redistest.Launch(dir, redistest.Options{})
		if err != nil {
			panic(err)
		}
		os.Stdout.WriteString(strconv.Itoa(s.PID()) + "\n")
		select {}
	}
	testkit.Main(m)
}

func do(t *testing.T, s *redistest.Server, args ...any) any {
	t.Helper()
	got, err := s.Do(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return got
}

func TestKillKeepsWhatAOFHas(t *testing.T) {
	for _, aof := range []bool{true, false} {
		s := redistest.Start(t, redistest.Options{AOF: aof})
		addr, pid := s.Addr(), s.PID()
		for i := range 20 {
			do(t, s, "RPUSH", "k", i)
		}
		s.Kill()
		if _, err := s.Do(t.Context(), "PING"); err == nil {
			t.Error("a killed server answers")
		}
		if gone(pid) != nil || s.PID() != 0 {
			t.Errorf("process %d is still there", pid)
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		want := int64(0)
		if aof {
			want = 20
		}
		if n := do(t, s, "LLEN", "k"); n != want || s.Addr() != addr {
			t.Errorf("aof %v: %v entries at %s after a kill, want %v at %s", aof, n, s.Addr(), want, addr)
		}
		if err := s.Restart(); err == nil {
			t.Error("a running server was started again")
		}
	}
}

func TestPause(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if got, err := s.Do(ctx, "PING"); err == nil {
		t.Errorf("a paused server says %v", got)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	do(t, s, "PING")
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	s.Kill() // a paused one too
	if err := s.Pause(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("pausing a dead server: %v", err)
	}
}

func TestPassword(t *testing.T) {
	s := redistest.Start(t, redistest.Options{Password: "open/sesame @1", Args: []string{"maxmemory 50mb"}})
	if want := "redis://:open%2Fsesame%20%401@" + s.Addr() + "/0"; s.URL() != want {
		t.Errorf("URL %s, want %s", s.URL(), want)
	}
	if got, err := s.Info(t.Context(), "maxmemory"); err != nil || got != strconv.Itoa(50<<20) {
		t.Errorf("maxmemory is %s, %v", got, err)
	}
	c := dial(t, s.Addr())
	if got := ask(t, c, "PING\r\n"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("without a password: %q", got)
	}
}

func TestKillClients(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	c := dial(t, s.Addr())
	ask(t, c, "PING\r\n")
	if err := s.KillClients("normal"); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes from a connection that was killed", n)
	}
}

// TestBadOptions: a server that does not start says why.
func TestBadOptions(t *testing.T) {
	_, err := redistest.Launch(t.TempDir(), redistest.Options{Args: []string{"no-such-directive 1"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
		t.Errorf("got %v", err)
	}
}

func TestNotInstalled(t *testing.T) {
	t.Setenv("PUSHD_TEST_REDIS", "no-such-redis")
	_, err := redistest.Launch(t.TempDir(), redistest.Options{})
	if err == nil || !strings.Contains(err.Error(), "no-such-redis is not installed") || !strings.Contains(err.Error(), "make tools-redis") {
		t.Errorf("got %v", err)
	}
}

// TestEndsWithTheTest kills a test process that has no chance to clean up.
func TestEndsWithTheTest(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+t.TempDir())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if gone(pid) == nil {
		t.Fatalf("there is no process %d", pid)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	for deadline := time.Now().Add(10 * time.Second); gone(pid) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("redis-server %d outlives the test process", pid)
		}
	}
}

// gone returns nil if there is no process pid.
func gone(pid int) error {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return errors.New("it lives")
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// ask sends text and returns what comes first.
func ask(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}
