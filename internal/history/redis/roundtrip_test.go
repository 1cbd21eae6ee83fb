package redis_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pushd.example/internal/history"
	"pushd.example/internal/history/redis"
	"pushd.example/internal/redistest"
)

// TestOneRoundTrip counts how often Redis is asked for each operation.
func TestOneRoundTrip(t *testing.T) {
	registry := prometheus.NewRegistry()
	// Beats and probes come six times in a lease: none during the test.
	s := openStore(t, redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Lease: time.Hour, Metrics: registry})
	connect(t, s, "ann")
	unread := appended(t, s, history.Push{Kind: history.Unicast, Users: []string{"ann"}})
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprint("u", i))
	}
	for name, call := range map[string]func() error{
		"a unicast with live routing": func() error {
			r, err := s.Append(t.Context(), history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: body200})
			if err == nil && r.Online != 1 {
				err = fmt.Errorf("online %d, want 1", r.Online)
			}
			return err
		},
		"a multicast in one chunk": func() error {
			_, err := s.Append(t.Context(), history.Push{Kind: history.Multicast, Users: many, Data: body200})
			return err
		},
		"a broadcast": func() error {
			_, err := s.Append(t.Context(), history.Push{Kind: history.Broadcast, Data: body200})
			return err
		},
		"a page": func() error {
			_, err := s.Page(t.Context(), "u0", history.Query{Direction: history.Newest, Limit: 50})
			return err
		},
		"an ack that others are told of": func() error {
			mark, err := s.Ack(t.Context(), "ann", history.Cursor{Inbox: unread}, "")
			if err == nil && mark.Cursor.Inbox != unread {
				err = fmt.Errorf("the mark lies at %v, want %d", mark.Cursor, unread)
			}
			return err
		},
		"attach": func() error {
			_, err := s.Attach(t.Context(), "u0", history.Start{At: history.StartUnread, Limit: 50})
			return err
		},
	} {
		before := exchanges(t, registry)
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := exchanges(t, registry) - before; n != 1 {
			t.Errorf("%s asks Redis %d times, want once", name, n)
		}
	}
}

// TestMulticastIsRefs: a multicast's body is stored once, however many get it.
func TestMulticastIsRefs(t *testing.T) {
	const users, times, most = 10_000, 10, 30
	server := redistest.Start(t, redistest.Options{})
	s := openStore(t, redis.Config{URL: server.URL(), Node: "n"})
	multicast(t, s, users, body200)
	before := info(t, server, "used_memory_dataset")
	for range times {
		multicast(t, s, users, bytes.Repeat([]byte("x"), 1024))
	}
	if each := (info(t, server, "used_memory_dataset") - before) / times / users; each > most {
		t.Errorf("a multicast of 1 KiB takes %.1f bytes of each user, want at most %d", each, most)
	}
}

// exchanges returns how many pipelines were sent.
func exchanges(t *testing.T, g prometheus.Gatherer) uint64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "pushd_history_exchange_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	t.Fatal("no pipeline is counted")
	return 0
}
