package historytest

import (
	"errors"
	"time"

	"pushd.example/internal/history"
)

func closePromises() []promise {
	return []promise{
		{name: "OpenStoreIsReady", check: openIsReady},
		{name: "EverythingAfterwardsIsErrClosed", check: closedStore},
		{name: "WaitsForRunningAppends", check: closeWaits},
	}
}

func openIsReady(r *rig) {
	if err := r.store.Ready(); err != nil {
		r.Errorf("new store: %v", err)
	}
	mixed(r, 5)
	if err := r.store.Ready(); err != nil {
		r.Errorf("store in use: %v", err)
	}
}

func closedStore(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	for range 2 {
		if err := r.store.Close(); err != nil {
			r.Fatalf("closing: %v", err)
		}
	}
	_, push := r.store.Append(r.ctx, history.Push{Kind: history.Unicast, Users: []string{"ann"}})
	_, attach := r.store.Attach(r.ctx, "ann", history.Start{})
	_, page := r.store.Page(r.ctx, "ann", history.Query{Limit: 1})
	_, ack := r.store.Ack(r.ctx, "ann", history.Cursor{}, "")
	for method, err := range map[string]error{
		"Append": push, "Attach": attach, "Page": page, "Ack": ack, "Ready": r.store.Ready(),
	} {
		if !errors.Is(err, history.ErrClosed) {
			r.Errorf("%s after Close: %v, want ErrClosed", method, err)
		}
	}
	r.store.Detach("ann")
	f.stop()
	r.store.Follow(func([]history.Delivery) { r.Error("delivered after Close") })()
}

func closeWaits(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	release := blocked(r, f)
	closed := make(chan error, 1)
	go func() { closed <- r.store.Close() }()
	select {
	case err := <-closed:
		r.Errorf("Close returned (%v) while an append ran", err)
	case <-time.After(grace):
	}
	release()
	if err := await(r, "Close", closed); err != nil {
		r.Errorf("closing: %v", err)
	}
	if got := f.take(); len(got) != 1 {
		r.Errorf("delivered %+v, want the running append", got)
	}
}
