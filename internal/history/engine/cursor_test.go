package engine_test

import (
	"errors"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

func TestClamp(t *testing.T) {
	now := after(1 << 40)
	edge := history.FirstIDAt(now.Add(time.Minute))
	heads := history.Cursor{Inbox: 10, Broadcast: 20}
	ahead := history.Cursor{Inbox: edge + 10, Broadcast: edge + 20} // the clock was set back
	for _, c := range []struct {
		cursor, head, want history.Cursor // want zero: refused
	}{
		{history.Cursor{Inbox: 5, Broadcast: 5}, heads, history.Cursor{Inbox: 5, Broadcast: 5}},
		{heads, heads, heads},
		{history.Cursor{Inbox: 11, Broadcast: 5}, heads, history.Cursor{Inbox: 10, Broadcast: 5}},
		{history.Cursor{Inbox: 5, Broadcast: edge}, heads, history.Cursor{Inbox: 5, Broadcast: 20}},
		{history.Cursor{Inbox: 5, Broadcast: edge + 1}, heads, history.Cursor{}},
		{history.Cursor{Inbox: edge + 1, Broadcast: 5}, heads, history.Cursor{}},
		{history.Cursor{Inbox: history.MaxID, Broadcast: 5}, heads, history.Cursor{}},
		{ahead, ahead, ahead},
		{history.Cursor{Inbox: edge + 1, Broadcast: 5}, ahead, history.Cursor{Inbox: edge + 1, Broadcast: 5}},
		{history.Cursor{Inbox: edge + 11, Broadcast: edge}, ahead, history.Cursor{}},
	} {
		got, err := engine.Clamp(c.cursor, c.head, now)
		refused := c.want == history.Cursor{}
		if got != c.want || (err != nil) != refused || refused && !errors.Is(err, history.ErrCursor) {
			t.Errorf("%+v with heads %+v: %+v, %v, want %+v", c.cursor, c.head, got, err, c.want)
		}
	}
}
