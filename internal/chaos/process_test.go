package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pushd.example/internal/chaos"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// process is a node in a process of its own, which can be killed and started
// again. It is spoken to over its doors only.
type process struct {
	t      testing.TB
	args   []string
	dir    string
	client *http.Client

	mu    sync.Mutex // guards what follows
	cmd   *exec.Cmd
	ended chan struct{}
	doors doors // zero while it is down
}

// doors is what a ready file says.
type doors struct{ Listen, HTTP, Admin string }

// newProcess starts a pushd with args that ends with the test.
func newProcess(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args, dir: t.TempDir(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	t.Cleanup(func() {
		p.kill()
		p.client.CloseIdleConnections()
		log, err := os.ReadFile(filepath.Join(p.dir, "log"))
		if err != nil || bytes.Contains(log, []byte("DATA RACE")) || bytes.Contains(log, []byte("panic:")) {
			t.Errorf("pushd said (%v):\n%s", err, log)
		} else if t.Failed() {
			t.Logf("pushd said last:\n%s", log[max(0, len(log)-6000):])
		}
	})
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// start begins a life of the process and waits until it serves.
func (p *process) start() error {
	ready := filepath.Join(p.dir, "ready.json")
	_ = os.Remove(ready)
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	anyPort := []string{"-dev", "-listen", "127.0.0.1:0", "-grpc", "127.0.0.1:0", "-http", "127.0.0.1:0", "-admin", "127.0.0.1:0",
		"-inbox-count", "1000000", "-broadcast-count", "1000000", "-ready-file", ready}
	cmd, ended := exec.Command(pushd, append(anyPort, p.args...)...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait(); close(ended) }()
	p.mu.Lock()
	p.cmd, p.ended = cmd, ended
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	for ctx.Err() == nil {
		var d doors
		if b, err := os.ReadFile(ready); err == nil && json.Unmarshal(b, &d) == nil {
			p.mu.Lock()
			p.doors = d
			p.mu.Unlock()
			return nil
		}
		select {
		case <-ended:
			return errors.New("pushd ended before it served")
		default:
			pause(ctx, tick)
		}
	}
	return errors.New("pushd does not serve")
}

// kill is kill -9.
func (p *process) kill() {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.doors = doors{}
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		<-ended
	}
}

func (p *process) at() doors {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doors
}

func (p *process) addr() string { return p.at().Listen }

func (p *process) ready(ctx context.Context) error {
	return p.call(ctx, "GET", p.at().Admin, "/readyz", nil, nil)
}

func (p *process) push(ctx context.Context, m history.Push) (history.ID, error) {
	req := map[string]any{"data": json.RawMessage(m.Data), "idempotency_key": m.IdempotencyKey}
	switch m.Durability {
	case history.Memory:
		req["durability"] = "memory"
	case history.Replicated:
		req["durability"] = "replicated"
	}
	switch m.Kind {
	case history.Unicast:
		req["user"] = m.Users[0]
	case history.Multicast:
		req["users"] = m.Users
	}
	b, err := json.Marshal(req)
	if err != nil {
		return 0, err
	}
	var receipt struct{ ID string }
	if err := p.call(ctx, "POST", p.at().HTTP, "/v1/"+m.Kind.String(), b, &receipt); err != nil {
		return 0, err
	}
	return history.ParseID(receipt.ID)
}

func (p *process) page(ctx context.Context, user string, after history.Cursor) (page, error) {
	var got struct {
		Messages []message
		Cursor   string
		More     bool `json:"has_more"`
		Unread   int
	}
	path := fmt.Sprintf("/v1/users/%s/history?limit=200&after=%v", user, after)
	if err := p.call(ctx, "GET", p.at().HTTP, path, nil, &got); err != nil {
		return page{}, err
	}
	out := page{more: got.More, unread: got.Unread}
	for _, m := range got.Messages {
		s, err := m.seen()
		if err != nil {
			return page{}, err
		}
		out.messages = append(out.messages, s)
	}
	var err error
	out.cursor, err = history.ParseCursor(got.Cursor)
	return out, err
}

// call makes one HTTP call. That nobody took it, and that the answer says so,
// are the two ways to be sure that nothing was done.
func (p *process) call(ctx context.Context, method, host, path string, body []byte, out any) error {
	if host == "" {
		return fmt.Errorf("%w: the node is down", errFailed)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	// Without this the client may send a POST again by itself.
	req.GetBody = nil
	resp, err := p.client.Do(req)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Errorf("%w: %w", errFailed, err)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusOK && out != nil:
		return json.Unmarshal(answer, out)
	case resp.StatusCode == http.StatusOK:
		return nil
	case strings.Contains(string(answer), "nothing was done"):
		return fmt.Errorf("%w: %s", errFailed, answer)
	}
	return fmt.Errorf("%s: %s", resp.Status, answer)
}

// message is one message in JSON, in a page or in a frame.
type message struct {
	Type      string
	ID        string
	Kind      string
	Data      json.RawMessage
	Cursor    string
	Truncated bool
}

func (m message) seen() (chaos.Seen, error) {
	id, err := history.ParseID(m.ID)
	if err != nil {
		return chaos.Seen{}, err
	}
	for _, k := range []history.Kind{history.Unicast, history.Multicast, history.Broadcast} {
		if k.String() == m.Kind {
			return chaos.Seen{ID: id, Kind: k, Key: keyOf(m.Data)}, nil
		}
	}
	return chaos.Seen{}, fmt.Errorf("a message of kind %q", m.Kind)
}
