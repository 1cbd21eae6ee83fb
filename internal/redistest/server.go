package redistest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options are settings of a server.
type Options struct {
	// AOF keeps answered writes when the server is killed: the append-only file is
	// synced before each answer. Without it the server comes back empty.
	AOF bool
	// Password that clients must show, and that URL contains.
	Password string
	// GuardSentinels makes Sentinels want it too.
	GuardSentinels bool
	// Args are lines of the configuration file, such as "maxmemory 10mb".
	Args []string
}

// Server is one redis-server. All methods may be called from any goroutine.
type Server struct {
	// Set once.
	dir      string
	port     *port
	password string
	argv     []string

	mu   sync.Mutex // guards proc, which Restart replaces
	proc *process
}

// patience bounds every wait for a server. Only a wait that fails takes so long.
const patience = 30 * time.Second

// Start starts a server that ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Launch(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(t) })
	return s
}

// end closes s. A test that failed shows the end of its log.
func (s *Server) end(t testing.TB) {
	s.Close()
	if t.Failed() {
		t.Logf("redis-server at %s said:\n%s", s.Addr(), s.log())
	}
}

// Launch starts a server with its data in dir. Close ends it.
func Launch(dir string, o Options) (*Server, error) {
	s, err := newServer(dir, o)
	if err != nil {
		return nil, err
	}
	if err := s.Restart(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// newServer reserves a port and writes a configuration file: a file, since
// Sentinel makes servers rewrite theirs.
func newServer(dir string, o Options, more ...string) (*Server, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	p, err := reservePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "redis.conf")
	s := &Server{dir: dir, port: p, password: o.Password, argv: []string{path, conf}}
	lines := append([]string{
		fmt.Sprintf("port %d", p.number), "bind 127.0.0.1", "dir " + dir, "daemonize no", "logfile \"\"",
		`save ""`, "repl-diskless-sync-delay 0", "shutdown-timeout 0",
	}, more...)
	if o.AOF {
		lines = append(lines, "appendonly yes", "appendfsync always")
	}
	if o.Password != "" {
		quoted := strconv.Quote(o.Password)
		lines = append(lines, "requirepass "+quoted, "masterauth "+quoted)
	}
	lines = append(lines, o.Args...)
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		p.release()
		return nil, err
	}
	return s, nil
}

// Close ends the server and releases its port.
func (s *Server) Close() {
	s.Kill()
	s.port.release()
}

// Addr returns "127.0.0.1:port", which stays the same after Restart.
func (s *Server) Addr() string { return s.port.addr() }

// URL returns where the server is, as pushd's -redis takes it.
func (s *Server) URL() string { return "redis://" + userinfo(s.password) + s.Addr() + "/0" }

func userinfo(password string) string {
	if password == "" {
		return ""
	}
	return url.UserPassword("", password).String() + "@"
}

// PID returns the process's id, 0 while there is none.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || s.proc.ended() {
		return 0
	}
	return s.proc.pid
}

// Kill ends the process as kill -9 does and returns when it is gone.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.kill()
	}
}

// Restart starts the server, after a Kill at the same address with the same
// data, and returns when it has loaded them.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && !s.proc.ended() {
		return errors.New("the server is running")
	}
	proc, err := spawn(filepath.Join(s.dir, "log"), s.argv...)
	if err != nil {
		return err
	}
	s.proc = proc
	return await("redis-server at "+s.Addr()+" to answer", func() error {
		if proc.ended() {
			return permanent{fmt.Errorf("it ended: %w; it said:\n%s", proc.err, s.log())}
		}
		_, err := s.Do(context.Background(), "PING")
		return err
	})
}

// Pause stops the process as kill -STOP does: connections stay open, nothing
// answers.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.signal(sig)
}

// KillClients cuts all connections of a type: "normal", "pubsub", "replica" or
// "master".
func (s *Server) KillClients(kind string) error {
	_, err := s.Do(context.Background(), "CLIENT", "KILL", "TYPE", kind)
	return err
}

// Info returns one field of INFO, "" if there is none.
func (s *Server) Info(ctx context.Context, field string) (string, error) {
	text, err := s.Do(ctx, "INFO")
	if err != nil {
		return "", err
	}
	return infoField(text.(string), field), nil
}

func infoField(info, field string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// log returns the end of the server's log.
func (s *Server) log() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}
