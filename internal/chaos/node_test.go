package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"pushd.example/internal/chaos"
	"pushd.example/internal/history"
)

// node is one pushd, in this process or in its own.
type node interface {
	// addr is where clients connect, "" while the node is down.
	addr() string
	// push makes one attempt; the error wraps errFailed if it is sure that
	// nothing was done.
	push(ctx context.Context, p history.Push) (history.ID, error)
	// page reads what of user's history lies after a cursor.
	page(ctx context.Context, user string, after history.Cursor) (page, error)
	// ready returns nil while the node is well.
	ready(ctx context.Context) error
}

var errFailed = errors.New("nothing was done")

type page struct {
	messages []chaos.Seen
	cursor   history.Cursor
	more     bool
	unread   int
}

// body is the data of the message called key: more than a key, so that it is
// sometimes stored inline and sometimes by reference, and always JSON.
func body(key string, pad int) []byte {
	b, err := json.Marshal(map[string]string{"key": key, "pad": strings.Repeat(".", pad)})
	if err != nil {
		panic(err)
	}
	return b
}

// keyOf returns what body was called with, or the data if it is nobody's.
func keyOf(data []byte) string {
	var m struct{ Key string }
	if err := json.Unmarshal(data, &m); err != nil || m.Key == "" {
		return "data " + string(data)
	}
	return m.Key
}
