package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pushd.example/internal/auth"
	"pushd.example/internal/chaos"
	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// inProcess is a node in this process: the same store and the same clients'
// door as pushd's, without the backends' door between, so that
// the test sees the store's own answers.
type inProcess struct {
	store  history.Store
	server *conn.Server
}

// newInProcess serves store, which it closes, until the test ends.
func newInProcess(t testing.TB, store history.Store) *inProcess {
	t.Helper()
	anybody, err := auth.New(auth.Config{Open: true})
	if err != nil {
		t.Fatal(err)
	}
	server, err := conn.New(conn.Config{Listen: "127.0.0.1:0", Store: store, Auth: anybody})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served, store.Close()); err != nil {
			t.Errorf("closing a node: %v", err)
		}
	})
	return &inProcess{store, server}
}

func (n *inProcess) addr() string { return n.server.Addr().String() }

func (n *inProcess) ready(context.Context) error { return n.store.Ready() }

func (n *inProcess) push(ctx context.Context, p history.Push) (history.ID, error) {
	r, err := n.store.Append(ctx, p)
	if errors.Is(err, history.ErrUnavailable) && !errors.Is(err, history.ErrUnknown) {
		return 0, fmt.Errorf("%w: %w", errFailed, err)
	}
	return r.ID, err
}

func (n *inProcess) page(ctx context.Context, user string, after history.Cursor) (page, error) {
	p, err := n.store.Page(ctx, user, history.Query{Direction: history.Forward, After: after, Limit: 200})
	out := page{cursor: p.Cursor, more: p.HasMore, unread: p.Unread}
	for _, m := range p.Messages {
		out.messages = append(out.messages, chaos.Seen{ID: m.ID, Kind: m.Kind, Key: keyOf(m.Data)})
	}
	return out, err
}
