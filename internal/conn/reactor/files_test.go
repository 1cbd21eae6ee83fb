//go:build unix

package reactor_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pushd.example/internal/conn/echo/handler"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/testkit"
)

// fewFiles, set, makes the test's binary a server that may open so few files
// that connections use them up.
const fewFiles = "REACTOR_TEST_FEW_FILES"

func TestMain(m *testing.M) {
	if os.Getenv(fewFiles) != "" {
		serveWithFewFiles()
		return
	}
	testkit.Main(m)
}

func serveWithFewFiles() {
	// Go lets the limit be, once it was set.
	limit := unix.Rlimit{Cur: 40, Max: 40}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		panic(err)
	}
	r, err := reactor.New(reactor.Config{
		Listen: "127.0.0.1:0", Handler: handler.New,
		Limits: reactor.Limits{MaxConnections: 1000},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Addr())
	r.Run()
}

func TestOutOfFiles(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fewFiles+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr = strings.TrimSpace(addr)

	var in []*raw
	refused := 0
	for range 60 {
		c := dialAddr(t, addr)
		c.write(request)
		line, err := c.in.Peek(12)
		switch {
		case err == nil && string(line) == "HTTP/1.1 101":
			c.want(101)
			in = append(in, c)
		case err == nil && string(line) == "HTTP/1.1 503":
			if c.want(503).Header.Get("Retry-After") == "" {
				t.Error("the response does not say when to come back")
			}
			refused++
		default:
			t.Fatalf("got %q, %v", line, err)
		}
	}
	if len(in) < 10 || refused < 10 {
		t.Fatalf("%d were let in and %d refused", len(in), refused)
	}
	for _, c := range in {
		c.write(text("still here"))
		c.wantText("still here")
	}
	for _, c := range in[:5] {
		c.Close()
	}
	testkit.WaitFor(t, "a client to be let in again", func() bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		fmt.Fprint(c, request)
		line, _ := bufio.NewReader(c).Peek(12)
		return string(line) == "HTTP/1.1 101"
	})
}
