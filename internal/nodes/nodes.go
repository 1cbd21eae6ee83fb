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

// Directory is what one node says about its own connections; *conn.Server is
// one.
type Directory interface {
	Presence(ctx context.Context, users []string) ([]int, error)
	Online(ctx context.Context, after string, limit int) (users []string, more bool, err error)
	Connections(ctx context.Context, user string) ([]conn.Connection, error)
	Disconnect(ctx context.Context, d conn.Departure) (int, error)
}

// Config is what Nodes need. Redis, Prefix and Local must be set.
type Config struct {
	// Redis carries questions and answers. It is the caller's to close, after
	// Close.
	Redis redis.UniversalClient
	// Prefix begins the channels' names; only nodes with the same one hear each
	// other.
	Prefix string
	// Node names this node in errors and in the log.
	Node string
	// Local is this node's own directory.
	Local Directory
	// Patience is how long the nodes have to answer. Default 2 s.
	Patience time.Duration
	// Log; nil discards.
	Log *slog.Logger
}

// Nodes is the directory of all nodes together.
type Nodes struct {
	// Set once.
	cfg    Config
	member string // what this process is called in answers' channels
	sub    *redis.PubSub
	cancel context.CancelFunc
	done   sync.WaitGroup
	busy   chan struct{} // a token for each question being answered

	mu      sync.Mutex // guards what follows
	asked   uint64
	waiting map[uint64]chan answer
}

// atOnce is how many questions of others a node answers at the same time; more
// wait.
const atOnce = 16

// Join takes part, until Close. Redis need not be there yet.
func Join(cfg Config) (*Nodes, error) {
	if cfg.Redis == nil || cfg.Prefix == "" || cfg.Local == nil {
		return nil, errors.New("nodes: Config.Redis, Config.Prefix and Config.Local are required")
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 2 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Nodes{
		cfg: cfg, member: rand.Text(), cancel: cancel,
		busy: make(chan struct{}, atOnce), waiting: map[uint64]chan answer{},
	}
	n.sub = cfg.Redis.SSubscribe(ctx, n.questions(), n.answers(n.member))
	n.done.Go(func() { n.listen(ctx) })
	return n, nil
}

// Close leaves. Questions that are under way fail.
func (n *Nodes) Close() error {
	n.cancel()
	err := n.sub.Close()
	n.done.Wait()
	return err
}

func (n *Nodes) questions() string            { return "{" + n.cfg.Prefix + "}ask" }
func (n *Nodes) answers(member string) string { return "{" + n.cfg.Prefix + "}answer:" + member }

// listen is the goroutine that takes in what the channels bring. go-redis
// subscribes again by itself when the connection breaks.
func (n *Nodes) listen(ctx context.Context) {
	for m := range n.sub.Channel(redis.WithChannelSize(1024)) {
		if m.Channel != n.questions() {
			n.take([]byte(m.Payload))
			continue
		}
		select {
		case n.busy <- struct{}{}:
		case <-ctx.Done():
			return
		}
		n.done.Go(func() {
			defer func() { <-n.busy }()
			n.answer(ctx, []byte(m.Payload))
		})
	}
}

// take brings an answer to who waits for it, if anybody still does.
func (n *Nodes) take(payload []byte) {
	var a answer
	if err := json.Unmarshal(payload, &a); err != nil {
		n.cfg.Log.Warn("an answer of another node makes no sense", "error", err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.waiting[a.ID]; c != nil {
		select {
		case c <- a:
		default: // more answers than nodes: somebody answered twice
		}
	}
}

// answer asks the local directory and sends what it says.
func (n *Nodes) answer(ctx context.Context, payload []byte) {
	var q question
	if err := json.Unmarshal(payload, &q); err != nil {
		n.cfg.Log.Warn("a question of another node makes no sense", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Patience)
	defer cancel()
	a := n.look(ctx, &q)
	text, err := json.Marshal(a)
	if err == nil {
		err = n.cfg.Redis.SPublish(ctx, n.answers(q.From), text).Err()
	}
	if err != nil && ctx.Err() == nil {
		n.cfg.Log.Warn("answering another node", "error", err)
	}
}

func (n *Nodes) look(ctx context.Context, q *question) answer {
	a := answer{ID: q.ID, Node: n.cfg.Node}
	var err error
	switch local := n.cfg.Local; {
	case q.Presence != nil:
		a.Counts, err = local.Presence(ctx, q.Presence)
	case q.Online != nil:
		a.Users, a.More, err = local.Online(ctx, q.Online.After, q.Online.Limit)
	case q.Connections != nil:
		a.Connections, err = local.Connections(ctx, *q.Connections)
	case q.Disconnect != nil:
		a.Closed, err = local.Disconnect(ctx, *q.Disconnect)
	default:
		err = errors.New("an unknown question: this node is older than the one that asks")
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// ask puts q to all nodes and returns what they say, in no particular order.
// Errors wrap history.ErrUnavailable.
func (n *Nodes) ask(ctx context.Context, q question) ([]answer, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Patience)
	defer cancel()
	const mostNodes = 1024
	answers := make(chan answer, mostNodes)
	q.From = n.member
	n.mu.Lock()
	n.asked++
	q.ID = n.asked
	n.waiting[q.ID] = answers
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.waiting, q.ID)
	}()
	text, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("asking all nodes: %w", err)
	}
	receivers, err := n.cfg.Redis.SPublish(ctx, n.questions(), text).Result()
	if err != nil {
		return nil, fmt.Errorf("asking all nodes: %w: %w", history.ErrUnavailable, err)
	}
	if receivers == 0 { // not even this one
		return nil, fmt.Errorf("asking all nodes: %w: none listens", history.ErrUnavailable)
	}
	return n.collect(ctx, answers, int(receivers))
}

func (n *Nodes) collect(ctx context.Context, answers <-chan answer, want int) ([]answer, error) {
	got := make([]answer, 0, want)
	for len(got) < want {
		select {
		case a := <-answers:
			if a.Error != "" {
				return nil, fmt.Errorf("asking all nodes: %w: %s says: %s", history.ErrUnavailable, a.Node, a.Error)
			}
			got = append(got, a)
		case <-ctx.Done():
			return nil, fmt.Errorf("asking all nodes: %w: %d of %d answered in %v", history.ErrUnavailable, len(got), want, n.cfg.Patience)
		}
	}
	return got, nil
}
