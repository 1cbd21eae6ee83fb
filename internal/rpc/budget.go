package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"pushd.example/internal/auth"
)

// The bytes that callers may make the server hold: requests that it has read and
// not answered, and answers that the kernel has not taken. A caller that does not
// read its answers uses up its own shares and then waits.
const (
	totalBudget      = 64 << 20 // all callers together
	keyBudget        = 32 << 20 // an API key
	userBudget       = 2 << 20  // the client tokens of one user
	connectionBudget = 16 << 20 // a gRPC connection
)

// budgetWait is the longest that a call waits for its share before it is refused.
const budgetWait = 10 * time.Second

// overBudget is the refusal of a call whose share did not become free in time.
type overBudget struct{ of string }

func (e overBudget) Error() string {
	return fmt.Sprintf("%s has as many unread answers and unfinished requests as it may have: read answers before asking for more", e.of)
}

// quota is a number of bytes that some calls have together.
type quota struct {
	of    string // in errors and metrics
	free  *semaphore.Weighted
	bytes int64
}

func newQuota(of string, bytes int64) *quota {
	return &quota{of, semaphore.NewWeighted(bytes), bytes}
}

// part is what n bytes take from the share. A request that is larger than the
// share takes all of it, so that it is served alone.
func (s *quota) part(n int) int64 { return min(int64(n), s.bytes) }

// budget bounds the bytes that calls hold. A call reserves what it may need before
// it reads the store, keeps what its answer takes, and frees that when the answer is
// written.
type budget struct {
	total   *quota
	held    prometheus.Gauge
	refused *prometheus.CounterVec // by share

	mu      sync.Mutex              // guards what follows
	callers map[string]*callerQuota // with reservations
}

// callerQuota is a caller's share and the number of its reservations.
type callerQuota struct {
	quota
	reservations int
}

func newBudget(reg prometheus.Registerer) (*budget, error) {
	b := &budget{
		total:   newQuota("this node", totalBudget),
		callers: map[string]*callerQuota{},
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushd_rpc_held_bytes",
			Help: "Bytes reserved for answers that are being made or written, and for large requests.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_rpc_held_refused_total",
			Help: "Calls refused because a caller reads too few of its answers, by who has used up its share.",
		}, []string{"of"}),
	}
	if reg == nil {
		return b, nil
	}
	return b, errors.Join(reg.Register(b.held), reg.Register(b.refused))
}

// reservation is a call's part of the budget. Its methods may be called on nil,
// which holds nothing.
type reservation struct {
	budget *budget
	caller string
	quotas []*quota
	conn   *connection // nil for REST

	mu    sync.Mutex // guards what follows
	bytes int
	freed bool
}

// reserve waits until the caller, its gRPC connection and the node have n bytes
// left. Errors: overBudget; ctx's.
func (b *budget) reserve(ctx context.Context, caller auth.Caller, n int) (*reservation, error) {
	if n == 0 {
		return nil, nil
	}
	r := &reservation{budget: b, conn: connectionFrom(ctx), bytes: n}
	r.quotas = append(r.quotas, &b.enter(r, caller).quota, b.total)
	if r.conn != nil {
		r.quotas = append(r.quotas, r.conn.quota)
	}
	// The smallest share comes first: a call that waits for it takes nothing from
	// those whom the larger ones serve too.
	slices.SortFunc(r.quotas, func(a, b *quota) int { return cmp.Compare(a.bytes, b.bytes) })
	for i, s := range r.quotas {
		if err := b.wait(ctx, s, s.part(n)); err != nil {
			for _, s := range r.quotas[:i] {
				s.free.Release(s.part(n))
			}
			b.leave(r)
			return nil, err
		}
	}
	b.held.Add(float64(n))
	return r, nil
}

func (b *budget) wait(ctx context.Context, s *quota, n int64) error {
	if s.free.TryAcquire(n) {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, budgetWait)
	defer cancel()
	if s.free.Acquire(short, n) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.refused.WithLabelValues(s.of).Inc()
	return overBudget{s.of}
}

// enter returns the caller's share, which exists while it has reservations.
func (b *budget) enter(r *reservation, caller auth.Caller) *callerQuota {
	of, size := "this API key", int64(keyBudget)
	r.caller = "key " + caller.Name
	if caller.User != "" {
		of, size, r.caller = "this user", userBudget, "user "+caller.User
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.callers[r.caller]
	if c == nil {
		c = &callerQuota{quota: *newQuota(of, size)}
		b.callers[r.caller] = c
	}
	c.reservations++
	return c
}

func (b *budget) leave(r *reservation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.callers[r.caller]
	if c.reservations--; c.reservations == 0 {
		delete(b.callers, r.caller)
	}
}

// shrink frees all but n bytes.
func (r *reservation) shrink(n int) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.freed {
		r.shrinkLocked(n)
	}
}

func (r *reservation) shrinkLocked(n int) {
	n = min(n, r.bytes)
	for _, s := range r.quotas {
		s.free.Release(s.part(r.bytes) - s.part(n))
	}
	r.budget.held.Sub(float64(r.bytes - n))
	r.bytes = n
}

// free ends the reservation. Only the first call does anything.
func (r *reservation) free() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.freed {
		r.shrinkLocked(0)
		r.freed = true
		r.budget.leave(r)
	}
}
