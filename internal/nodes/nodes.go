package nodes

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"pushd.example/internal/conn"
	"pushd.example/internal/history"
)

// Directory lists and closes the connections of one node. *conn.Server implements
// it.
type Directory interface {
	Presence(ctx context.Context, users []string) ([]int, error)
	Online(ctx context.Context, after string, limit int) (users []string, more bool, err error)
	Connections(ctx context.Context, user string) ([]conn.Connection, error)
	Disconnect(ctx context.Context, d conn.Departure) (int, error)
}

// Config configures Nodes. Redis, Prefix and Local are required.
type Config struct {
	// Redis carries requests and replies. The caller closes it, after Close.
	Redis redis.UniversalClient
	// Prefix begins the channels' names. Nodes with different prefixes do not see
	// each other.
	Prefix string
	// Node names this node in errors and in the log.
	Node string
	// Local is this node's own directory.
	Local Directory
	// Timeout is how long the nodes have to reply. Default 2 s.
	Timeout time.Duration
	// Log gets failed replies. Nil discards them.
	Log *slog.Logger
}

// Nodes is the directory of all nodes together.
type Nodes struct {
	// Set once.
	cfg    Config
	member string // names this process in the channel for its replies
	sub    *redis.PubSub
	cancel context.CancelFunc
	done   sync.WaitGroup
	slots  chan struct{} // one value for each request being served

	mu      sync.Mutex            // guards what follows
	lastID  uint64                // of this node's own requests
	waiting map[uint64]chan reply // by request id
}

// maxServing is the number of requests that a node serves at the same time. More
// requests wait.
const maxServing = 16

// Join makes this node a member until Close. Redis need not be reachable yet.
func Join(cfg Config) (*Nodes, error) {
	if cfg.Redis == nil || cfg.Prefix == "" || cfg.Local == nil {
		return nil, errors.New("nodes: Config.Redis, Config.Prefix and Config.Local are required")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Nodes{
		cfg: cfg, member: rand.Text(), cancel: cancel,
		slots: make(chan struct{}, maxServing), waiting: map[uint64]chan reply{},
	}
	n.sub = cfg.Redis.SSubscribe(ctx, n.requestChannel(), n.replyChannel(n.member))
	n.done.Go(func() { n.listen(ctx) })
	return n, nil
}

// Close ends the membership. Requests in flight fail.
func (n *Nodes) Close() error {
	n.cancel()
	err := n.sub.Close()
	n.done.Wait()
	return err
}

func (n *Nodes) requestChannel() string            { return "{" + n.cfg.Prefix + "}ask" }
func (n *Nodes) replyChannel(member string) string { return "{" + n.cfg.Prefix + "}answer:" + member }

// listen receives requests and replies. go-redis subscribes again automatically
// when the connection breaks.
func (n *Nodes) listen(ctx context.Context) {
	for m := range n.sub.Channel(redis.WithChannelSize(1024)) {
		if m.Channel != n.requestChannel() {
			n.deliver([]byte(m.Payload))
			continue
		}
		select {
		case n.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		n.done.Go(func() {
			defer func() { <-n.slots }()
			n.serve(ctx, []byte(m.Payload))
		})
	}
}

// deliver passes a reply to the call that waits for it, if there still is one.
func (n *Nodes) deliver(payload []byte) {
	var r reply
	if err := json.Unmarshal(payload, &r); err != nil {
		n.cfg.Log.Warn("cannot decode another node's reply", "error", err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.waiting[r.ID]; c != nil {
		select {
		case c <- r:
		default: // more replies than nodes: a node replied twice
		}
	}
}

// serve asks the local directory and sends its reply.
func (n *Nodes) serve(ctx context.Context, payload []byte) {
	var req request
	if err := json.Unmarshal(payload, &req); err != nil {
		n.cfg.Log.Warn("cannot decode another node's request", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
	defer cancel()
	text, err := json.Marshal(n.askLocal(ctx, &req))
	if err == nil {
		err = n.cfg.Redis.SPublish(ctx, n.replyChannel(req.From), text).Err()
	}
	if err != nil && ctx.Err() == nil {
		n.cfg.Log.Warn("replying to another node", "error", err)
	}
}

func (n *Nodes) askLocal(ctx context.Context, req *request) reply {
	r := reply{ID: req.ID, Node: n.cfg.Node}
	var err error
	switch local := n.cfg.Local; {
	case req.Presence != nil:
		r.Counts, err = local.Presence(ctx, req.Presence)
	case req.Online != nil:
		r.Users, r.More, err = local.Online(ctx, req.Online.After, req.Online.Limit)
	case req.Connections != nil:
		r.Connections, err = local.Connections(ctx, *req.Connections)
	case req.Disconnect != nil:
		r.Closed, err = local.Disconnect(ctx, *req.Disconnect)
	default:
		err = errors.New("unknown request: this node has an older version than the one that sent it")
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// ask sends req to all nodes and returns their replies, in any order. Errors wrap
// history.ErrUnavailable.
func (n *Nodes) ask(ctx context.Context, req request) ([]reply, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
	defer cancel()
	const maxNodes = 1024
	replies := make(chan reply, maxNodes)
	req.From = n.member
	n.mu.Lock()
	n.lastID++
	req.ID = n.lastID
	n.waiting[req.ID] = replies
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.waiting, req.ID)
	}()
	text, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("asking all nodes: %w", err)
	}
	receivers, err := n.cfg.Redis.SPublish(ctx, n.requestChannel(), text).Result()
	if err != nil {
		return nil, fmt.Errorf("asking all nodes: %w: %w", history.ErrUnavailable, err)
	}
	if receivers == 0 { // not even this node
		return nil, fmt.Errorf("asking all nodes: %w: no node is subscribed, this one included", history.ErrUnavailable)
	}
	return n.collect(ctx, replies, int(receivers))
}

func (n *Nodes) collect(ctx context.Context, replies <-chan reply, want int) ([]reply, error) {
	got := make([]reply, 0, want)
	for len(got) < want {
		select {
		case r := <-replies:
			if r.Error != "" {
				return nil, fmt.Errorf("asking all nodes: %w: node %s: %s", history.ErrUnavailable, r.Node, r.Error)
			}
			got = append(got, r)
		case <-ctx.Done():
			return nil, fmt.Errorf("asking all nodes: %w: %d of %d replied within %v", history.ErrUnavailable, len(got), want, n.cfg.Timeout)
		}
	}
	return got, nil
}
