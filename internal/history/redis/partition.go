package redis

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pushd.example/internal/history"
)

// partition is one part of the data, and what the node has there.
type partition struct {
	keys

	// Set once.
	store  *Store
	number int
	writes *pipeline // one worker: what is put in later is done later
	reads  *pipeline
	wake   chan struct{} // has room for one: the keeper checks its session at once

	highest atomic.Uint64            // id that was seen
	nodes   atomic.Pointer[[]string] // that live
	logTop  atomic.Uint64            // id of the last broadcast, as of the last beat

	mu          sync.Mutex       // guards what follows, and keeps its changes in the order of their puts
	node        string           // number of the node
	connections map[string]int32 // of the node, by user

	probes probes
}

// readWorkers is how many batches of pages may be under way: while Redis answers
// one, this process reads the replies of the other.
const readWorkers = 2

func newPartition(s *Store, number int, tag string) *partition {
	p := &partition{
		keys: newKeys(s.conf.Prefix, tag), store: s, number: number,
		wake: make(chan struct{}, 1), connections: map[string]int32{},
	}
	p.nodes.Store(&[]string{})
	p.probes.init()
	p.writes, p.reads = newPipeline(p, 1), newPipeline(p, readWorkers)
	return p
}

// saw keeps the highest id, so that a master that lost its tail and has a slow
// clock gives none again.
func (p *partition) saw(id history.ID) {
	for {
		old := p.highest.Load()
		if uint64(id) <= old || p.highest.CompareAndSwap(old, uint64(id)) {
			return
		}
	}
}

// floor is the id that new ones must lie above.
func (p *partition) floor() history.ID { return history.ID(p.highest.Load()) }

// nodesNow returns the nodes that live, as of the last beat.
func (p *partition) nodesNow() []string { return *p.nodes.Load() }

// nodeStreams are the streams that a script may write to.
type nodeStreams struct {
	nodes   []string
	backlog int // about how many entries a stream keeps
}

func (p *partition) nodeStreams() nodeStreams { return nodeStreams{p.nodesNow(), p.store.conf.Backlog} }

// declareSingle declares what is no list.
func (n nodeStreams) declareSingle(w *wire, k *keys) {
	w.key("LEASES", k.leases)
	w.number("backlog", int64(n.backlog))
}

func (n nodeStreams) declare(w *wire, k *keys) {
	w.texts("nodes", n.nodes)
	w.keyEach("STREAMS", n.nodes, k.stream)
}

func (p *partition) setNodes(nodes []string) { p.nodes.Store(&nodes) }

// refreshNodes asks which nodes there are.
func (p *partition) refreshNodes(ctx context.Context) error {
	reply, err := p.reads.do(ctx, []any{"zrange", p.leases, 0, -1}, false)
	if err != nil {
		return harmless(err)
	}
	p.setNodes(texts(reply))
	return nil
}

// online returns how many connections all nodes hold in the partition, and how
// many users have them.
func (p *partition) online(ctx context.Context) (history.AppendResult, error) {
	reply, err := ints(p.reads.do(ctx, onlineScript.call(&p.keys, onlineCall{}), false))
	if err != nil {
		return history.AppendResult{}, harmless(err)
	}
	return history.AppendResult{Online: int(reply[0]), OnlineUsers: int(reply[1])}, nil
}

// onlineCall is what online.lua is called with.
type onlineCall struct{}

func (onlineCall) declare(w *wire, k *keys) { declareCounts(w, k) }

// texts reads a reply that is a list of strings.
func texts(reply any) (out []string) {
	list, _ := reply.([]any)
	for _, v := range list {
		if name, ok := v.(string); ok {
			out = append(out, name)
		}
	}
	return out
}

// lost closes the partition to calls: Redis is away, or does not answer.
func (p *partition) lost(err error) {
	p.writes.fail(err)
	p.reads.fail(err)
	p.nudge()
}

// nudge makes the keeper check its session at once.
func (p *partition) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// ready returns nil if pushes go through and come back.
func (p *partition) ready() error {
	if err := p.writes.state(); err != nil {
		return unavailable(fmt.Errorf("partition %d: %w", p.number, err))
	}
	if silence := p.probes.silence(); silence > maxSilence {
		return unavailable(fmt.Errorf("partition %d: none of this node's pushes to itself came back for %v", p.number, silence.Round(time.Second)))
	}
	return nil
}
