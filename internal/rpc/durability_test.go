package rpc

import (
	"context"
	"sync"
	"testing"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// recording is a store that notes what it is asked to append.
type recording struct {
	history.Store

	mu     sync.Mutex
	pushes []history.Push
}

func (r *recording) Append(ctx context.Context, p history.Push) (history.AppendResult, error) {
	r.mu.Lock()
	r.pushes = append(r.pushes, p)
	r.mu.Unlock()
	return r.Store.Append(ctx, p)
}

func (r *recording) last() history.Push {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pushes[len(r.pushes)-1]
}

// TestExcludeConnection: by every door, what the caller names is what the store
// is told.
func TestExcludeConnection(t *testing.T) {
	var store *recording
	r := newRig(t, options{store: func(s history.Store) history.Store {
		store = &recording{Store: s}
		return store
	}})
	_, err := r.push.Unicast(r.as(keyAll), &pushv1.UnicastRequest{User: "42", Data: hi, ExcludeConnection: "c1"})
	testkit.Must(t, err)
	equal(t, "unicast", store.last().ExcludeConnection, "c1")
	_, err = r.push.Broadcast(r.as(keyAll), &pushv1.BroadcastRequest{Data: hi, ExcludeConnection: "c2"})
	testkit.Must(t, err)
	equal(t, "broadcast", store.last().ExcludeConnection, "c2")
	re := r.rest(keyAll, "POST", "/v1/multicast", `{"users":["42"],"data":1,"exclude_connection":"c3"}`)
	equal(t, "status", re.status, 200)
	equal(t, "multicast", store.last().ExcludeConnection, "c3")
}

// TestDurability: what the caller asks for is what the store is asked for.
func TestDurability(t *testing.T) {
	var store *recording
	r := newRig(t, options{store: func(s history.Store) history.Store {
		store = &recording{Store: s}
		return store
	}})
	for name, want := range map[string]history.Durability{
		"": history.AsConfigured, "memory": history.Memory, "replicated": history.Replicated,
	} {
		_, err := r.push.Unicast(r.as(keyAll), &pushv1.UnicastRequest{User: "42", Data: hi, Durability: name})
		testkit.Must(t, err)
		equal(t, "unicast", store.last().Durability, want)
		_, err = r.push.Multicast(r.as(keyAll), &pushv1.MulticastRequest{Users: []string{"42", "43"}, Data: hi, Durability: name})
		testkit.Must(t, err)
		equal(t, "multicast", store.last().Durability, want)
		re := r.rest(keyAll, "POST", "/v1/broadcast", `{"data":1,"durability":"`+name+`"}`)
		equal(t, "status", re.status, 200)
		equal(t, "broadcast", store.last().Durability, want)
	}
}
