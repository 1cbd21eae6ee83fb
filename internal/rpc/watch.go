package rpc

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

const (
	maxWatched = 1000 // users in a question
	maxKinds   = 16   // words in a question
	// eventBatch is how many events are read at a time. No more than these wait
	// for a slow reader.
	eventBatch = 256
	// eventWait is how long one read waits.
	eventWait = 10 * time.Second
	// maxEventWait is how long a call may wait: a request over HTTP has to be
	// over in a minute.
	maxEventWait = 30 * time.Second
)

// Watch implements pushv1.ConnectionServiceServer.
func (c *connections) Watch(req *pushv1.WatchRequest, stream grpc.ServerStreamingServer[pushv1.WatchResponse]) error {
	q, users, err := watchQuery(req)
	if err != nil {
		return err
	}
	ctx, cancel := c.untilDrained(stream.Context())
	defer cancel()
	c.metrics.watching.Inc()
	defer c.metrics.watching.Dec()
	err = c.watch(ctx, q, users, stream)
	if c.draining.Err() != nil {
		return history.ErrClosed
	}
	return err
}

// watch tells what happens until ctx ends.
func (c *connections) watch(ctx context.Context, q watch.Query, users map[string]bool, stream grpc.ServerStreamingServer[pushv1.WatchResponse]) error {
	var told time.Time
	for {
		page, err := c.events.ReadEvents(ctx, q)
		if err != nil {
			return fmt.Errorf("reading events: %w", blame("position", err))
		}
		q.After, q.Wait = page.Next, eventWait
		events := eventsOf(page.Events, users)
		if len(events) == 0 && !page.Lost && time.Since(told) < eventWait {
			continue // of others
		}
		told = time.Now()
		c.metrics.told(events, page.Lost)
		err = stream.Send(&pushv1.WatchResponse{Position: page.Next.String(), Lost: page.Lost, Events: events})
		if err != nil {
			return err
		}
	}
}

// ListEvents implements pushv1.ConnectionServiceServer.
func (c *connections) ListEvents(ctx context.Context, req *pushv1.ListEventsRequest) (*pushv1.ListEventsResponse, error) {
	q, users, err := watchQuery(req)
	if err != nil {
		return nil, err
	}
	var wait time.Duration
	if req.Wait != nil {
		if wait, err = checkDuration("wait", req.GetWait(), 0, maxEventWait); err != nil {
			return nil, err
		}
	}
	ctx, cancel := c.untilDrained(ctx)
	defer cancel()
	resp, err := c.listEvents(ctx, q, users, time.Now().Add(wait))
	if err != nil && c.draining.Err() != nil {
		return nil, history.ErrClosed
	}
	return resp, err
}

// listEvents reads until something has happened or it is time.
func (c *connections) listEvents(ctx context.Context, q watch.Query, users map[string]bool, end time.Time) (*pushv1.ListEventsResponse, error) {
	for {
		begins := len(q.After.Marks) == 0
		q.Wait = max(0, time.Until(end))
		page, err := c.events.ReadEvents(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("reading events: %w", blame("position", err))
		}
		events := eventsOf(page.Events, users)
		if len(events) > 0 || page.Lost || begins || q.Wait == 0 {
			c.metrics.told(events, page.Lost)
			return &pushv1.ListEventsResponse{Position: page.Next.String(), Lost: page.Lost, Events: events}, nil
		}
		q.After = page.Next
	}
}

// eventsOf returns the events of some users, of all if there are none.
func eventsOf(events []watch.Event, users map[string]bool) (out []*pushv1.Event) {
	for _, e := range events {
		if len(users) > 0 && !users[e.User] {
			continue
		}
		one := &pushv1.Event{Kind: e.Kind.String(), Time: timestamppb.New(e.Time), User: e.User}
		switch e.Kind {
		case watch.Acked:
			one.Cursor = e.Cursor.String()
		case watch.Delivered, watch.Unacked:
			one.Message = e.ID.String()
		}
		out = append(out, one)
	}
	return out
}

// untilDrained returns a ctx that also ends when streams must.
func (c *connections) untilDrained(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.draining, cancel)
	return ctx, func() { stop(); cancel() }
}

// eventRequest is what asks for events.
type eventRequest interface {
	GetKinds() []string
	GetUsers() []string
	GetPosition() string
}

// watchQuery reads which events are asked for, of whom (nobody: of all), and from
// where on.
func watchQuery(req eventRequest) (q watch.Query, users map[string]bool, err error) {
	q.Limit = eventBatch
	if n := len(req.GetKinds()); n > maxKinds {
		return q, nil, &FieldError{"kinds", fmt.Sprintf("at most %d kinds, got %d", maxKinds, n)}
	}
	for i, word := range req.GetKinds() {
		kind, ok := watch.ParseKind(word)
		if !ok {
			return q, nil, &FieldError{fmt.Sprintf("kinds[%d]", i), fmt.Sprintf("want one of %v, got %q", watch.AllKinds, clip(word))}
		}
		q.Kinds |= kind
	}
	if q.Kinds == 0 {
		q.Kinds = watch.AllKinds
	}
	if q.After, err = watch.ParsePosition(req.GetPosition()); err != nil {
		return q, nil, blame("position", err)
	}
	users, err = watchedUsers(req.GetUsers())
	return q, users, err
}

// watchedUsers returns the users asked for, none for all.
func watchedUsers(users []string) (map[string]bool, error) {
	if len(users) == 0 {
		return nil, nil
	}
	if err := checkUsers(users, maxWatched); err != nil {
		return nil, err
	}
	set := make(map[string]bool, len(users))
	for _, user := range users {
		set[user] = true
	}
	return set, nil
}

// watchMetrics count what is told.
type watchMetrics struct {
	watching prometheus.Gauge
	events   *prometheus.CounterVec // by kind
	losses   prometheus.Counter
}

func newWatchMetrics(reg prometheus.Registerer) (*watchMetrics, error) {
	m := &watchMetrics{
		watching: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushd_rpc_watches", Help: "Watch streams that are open.",
		}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_rpc_events_total", Help: "Events told to watchers, by kind.",
		}, []string{"kind"}),
		losses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_rpc_events_lost_total", Help: "Times that a watcher was told that it lost something.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.watching, m.events, m.losses} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("rpc: registering metrics: %w", err)
		}
	}
	return m, nil
}

func (m *watchMetrics) told(events []*pushv1.Event, lost bool) {
	for _, e := range events {
		m.events.WithLabelValues(e.GetKind()).Inc()
	}
	if lost {
		m.losses.Inc()
	}
}
