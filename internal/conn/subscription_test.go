package conn_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/history/memory"
)

func (r *rig) subscribe(user string, start history.Start) *conn.Subscription {
	r.t.Helper()
	start.Limit, start.MaxBytes = 3, 1<<20
	sub, err := r.server.Subscribe(r.ctx, conn.Subscriber{User: user, Start: start, Address: "192.0.2.1:7", UserAgent: "Bell/7"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(sub.Close)
	return sub
}

// wantNext reads until it has so many messages, and compares their data.
func wantNext(t *testing.T, ctx context.Context, sub *conn.Subscription, data ...string) {
	t.Helper()
	var got []history.Message
	for len(got) < len(data) {
		batch, err := sub.Next(ctx)
		if err != nil {
			t.Fatalf("after %d messages: %v", len(got), err)
		}
		got = append(got, batch.Messages...)
	}
	for i, m := range got {
		if i >= len(data) || string(m.Data) != data[i] {
			t.Fatalf("message %d is %s, want %q", i, m.Data, data)
		}
	}
}

func TestSubscriptionReplaysThenLives(t *testing.T) {
	r := serve(t, nil)
	for _, n := range numbers(0, 7) {
		r.unicast("42", n)
	}
	sub := r.subscribe("42", history.Start{At: history.StartAfter})
	if id, begin := sub.Hello(); id == "" || begin.Page.Unread != 8 {
		t.Errorf("hello %q, %+v", id, begin)
	}
	wantNext(t, r.ctx, sub, numbers(0, 7)...)
	r.unicast("42", "8")
	r.unicast("43", "9")
	r.broadcast("10")
	r.multicast("11", "42", "43")
	wantNext(t, r.ctx, sub, "8", "10", "11")

	live := r.subscribe("42", history.Start{At: history.StartNow})
	r.broadcast("12")
	wantNext(t, r.ctx, live, "12")
	wantNext(t, r.ctx, sub, "12")
}

// A subscription gets each message once and in order while others publish.
func TestSubscriptionLosesNothing(t *testing.T) {
	r := serve(t, nil)
	const messages = 500
	sub := r.subscribe("42", history.Start{At: history.StartNow})
	published := make(chan error, 1)
	go func() {
		for i := range messages {
			p := history.Push{Kind: history.Unicast, Users: []string{"42"}, Data: fmt.Append(nil, i)}
			if i%3 == 0 {
				p.Kind, p.Users = history.Broadcast, nil
			}
			if _, err := r.store.Append(r.ctx, p); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	wantNext(t, r.ctx, sub, numbers(0, messages-1)...)
	if err := <-published; err != nil {
		t.Fatal(err)
	}
}

func TestSubscriptionsAreConnections(t *testing.T) {
	r := serve(t, nil)
	r.connect("42")
	sub := r.subscribe("42", history.Start{})
	id, _ := sub.Hello()
	list := r.connections("42")
	var mine conn.Connection
	for _, c := range list {
		if c.ID == id {
			mine = c
		}
	}
	if len(list) != 2 || mine.Transport != conn.GRPC || mine.Address != "192.0.2.1:7" || mine.UserAgent != "Bell/7" {
		t.Errorf("connections %+v", list)
	}
	presence := func(want int) {
		t.Helper()
		if n, err := r.server.Presence(r.ctx, []string{"42"}); err != nil || n[0] != want {
			t.Errorf("presence %v, %v, want %d", n, err, want)
		}
	}
	presence(2)
	r.subscribe("41", history.Start{})
	if users, more, err := r.server.Online(r.ctx, "", 10); err != nil || more || fmt.Sprint(users) != "[41 42]" {
		t.Errorf("online %q, %v, %v", users, more, err)
	}
	if n, err := r.server.Disconnect(r.ctx, conn.Departure{User: "42", Connection: id, Reason: "go"}); err != nil || n != 1 {
		t.Fatalf("disconnected %d, %v", n, err)
	}
	var gone *conn.DisconnectedError
	if _, err := sub.Next(r.ctx); !errors.As(err, &gone) || gone.Reason != "go" {
		t.Errorf("next: %v", err)
	}
	sub.Close()
	sub.Close()
	presence(1)
	if got := r.append(history.Push{Kind: history.Unicast, Users: []string{"42"}, Data: []byte("1")}); got.Online != 1 {
		t.Errorf("online %d for the store, want 1", got.Online)
	}
}

func TestSubscriptionEnds(t *testing.T) {
	r := serve(t, func(c *conn.Config) {
		small, err := memory.New(memory.Config{Retention: history.Retention{InboxCount: 5}})
		if err != nil {
			t.Fatal(err)
		}
		c.Store = small
	})
	t.Run("context", func(t *testing.T) {
		sub := r.subscribe("42", history.Start{})
		ctx, cancel := context.WithCancel(r.ctx)
		cancel()
		if _, err := sub.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("truncated", func(t *testing.T) {
		r.unicast("cut", "0")
		sub := r.subscribe("cut", history.Start{At: history.StartAfter})
		for _, n := range numbers(1, 300) { // more than are held
			r.unicast("cut", n)
		}
		wantNext(t, r.ctx, sub, numbers(0, 255)...)
		if _, err := sub.Next(r.ctx); !errors.Is(err, conn.ErrTruncated) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("bad cursor", func(t *testing.T) {
		_, err := r.server.Subscribe(r.ctx, conn.Subscriber{User: "42", Start: history.Start{
			At: history.StartAfter, Cursor: history.Cursor{Inbox: history.MaxID}, Limit: 1}})
		if !errors.Is(err, history.ErrCursor) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		if _, err := r.server.Disconnect(r.ctx, conn.Departure{User: "out", Refuse: time.Hour}); err != nil {
			t.Fatal(err)
		}
		var refused *conn.RefusedError
		if _, err := r.server.Subscribe(r.ctx, conn.Subscriber{User: "out"}); !errors.As(err, &refused) || refused.For > time.Hour {
			t.Errorf("got %v", err)
		}
	})
	t.Run("shutdown", func(t *testing.T) {
		sub := r.subscribe("42", history.Start{})
		if err := r.server.Shutdown(r.ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := sub.Next(r.ctx); !errors.Is(err, history.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if _, err := r.server.Subscribe(r.ctx, conn.Subscriber{User: "42"}); !errors.Is(err, history.ErrClosed) {
			t.Errorf("subscribing after it: %v", err)
		}
	})
}
