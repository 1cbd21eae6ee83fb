package fanout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pushd.example/internal/conn/feed"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// idle handles nothing: its loops never run.
type idle struct{ reactor.Handler }

func (idle) Stop() {}

// queues returns a queue for each of some loops.
func queues(t *testing.T, n int) []*Queue {
	var all []*Queue
	r, err := reactor.New(reactor.Config{Listen: "127.0.0.1:0", Path: "/", Limits: reactor.Limits{Loops: n},
		Handler: func(l *reactor.Loop) reactor.Handler {
			all = append(all, &Queue{Loop: l})
			return idle{}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.Shutdown(ctx)
		r.Close()
	})
	return all
}

// Each shard gets what concerns it, in order, and nothing else. Broadcasts that
// follow one another go together, if they exclude the same connection.
func TestFanoutAgainstNaive(t *testing.T) {
	all := queues(t, 2)
	if len(all) != 2 {
		t.Fatalf("%d loops, want 2", len(all))
	}
	rapid.Check(t, func(t *rapid.T) {
		var others []string
		f := New(Config{
			Queues:     all,
			ShardOf:    func(user string) (int, uint32) { return int(user[0]-'a') % 2, 7 },
			Connection: func(id string) reactor.Handle { n, _ := strconv.Atoi(id); return reactor.Handle(n) },
			NewFrame:   all[0].Loop.NewFrame,
			Others:     func(d *history.Delivery) { others = append(others, fmt.Sprint(d.Message.ID)) },
		})
		var want [2][]string
		var wantOthers []string
		last, head := history.ID(0), history.ID(0)
		var batch []history.Delivery
		for range rapid.IntRange(1, 150).Draw(t, "deliveries") {
			last += history.ID(rapid.IntRange(1, 2).Draw(t, "step"))
			d := history.Delivery{Message: history.Message{ID: last, Kind: history.Broadcast}}
			d.Message.Data = []byte(strings.Repeat("1", rapid.SampledFrom([]int{1, 10, 7000}).Draw(t, "bytes")))
			d.ExcludeConnection = rapid.SampledFrom([]string{"", "", "", "9"}).Draw(t, "exclude")
			switch rapid.SampledFrom([]string{"broadcast", "broadcast", "broadcast", "users", "ephemeral", "recall", "ack", "lost"}).Draw(t, "what") {
			case "broadcast":
				d.Prev, head = head, last
			case "users":
				d.Message.Kind = history.Multicast
				for _, user := range []string{"a", "b", "c"} {
					if rapid.Bool().Draw(t, "goes to "+user) {
						d.Recipients = append(d.Recipients, history.Recipient{User: user, Prev: last - 1})
						want[int(user[0]-'a')%2] = append(want[int(user[0]-'a')%2], fmt.Sprint(user, last))
					}
				}
			case "ephemeral":
				d.Message.Ephemeral = true
			case "recall":
				d.Recall, d.Message.Data, d.Message.ID = true, nil, head
			case "ack":
				d.Message = history.Message{ID: last}
				d.Acked = &history.ReadMark{Cursor: history.Cursor{Inbox: head}, Unread: int(last)}
				d.Recipients = []history.Recipient{{User: "b", Prev: last - 1}}
				want[1] = append(want[1], fmt.Sprint("b", last, *d.Acked))
			case "lost": // the next broadcast has it before it
				head = last
				continue
			}
			id := fmt.Sprint(d.Message.ID)
			if d.Message.Kind == history.Broadcast {
				want[0], want[1] = append(want[0], id), append(want[1], id)
			}
			wantOthers = append(wantOthers, id)
			if batch = append(batch, d); rapid.Bool().Draw(t, "end of batch") {
				f.Deliver(batch)
				batch = nil
			}
		}
		f.Deliver(batch)
		for i, q := range all {
			if got := drain(t, q); !slices.Equal(got, want[i]) {
				t.Fatalf("shard %d got %v, want %v", i, got, want[i])
			}
		}
		if !slices.Equal(others, wantOthers) {
			t.Fatalf("others got %v, want %v", others, wantOthers)
		}
	})
}

// drain takes everything out of a queue, checks the groups and returns what goes
// where.
func drain(t *rapid.T, q *Queue) (got []string) {
	var before *Group
	for {
		one, all := q.Next()
		switch {
		case one != nil:
			text := fmt.Sprint(one.User, one.First)
			if one.Kind == feed.Acked {
				text = fmt.Sprint(one.User, one.First, markOf(t, one.Frame.B))
			}
			if got = append(got, text); one.Prev != one.First-1 || one.Hash != 7 {
				t.Fatalf("a user is offered %+v", one)
			}
			q.Done(one, nil)
			before = nil
			continue
		case all == nil:
			if !q.Empty() {
				t.Fatal("nothing is next in a queue that is not empty")
			}
			return got
		}
		var bytes []byte
		for i := range all.Deliveries {
			d := &all.Deliveries[i]
			got = append(got, fmt.Sprint(d.First))
			bytes = append(bytes, d.Frame.B...)
			if i > 0 && (d.Kind != feed.Message || all.Deliveries[0].Kind != feed.Message || d.Prev != all.Deliveries[i-1].First || d.Excluded != all.Excluded()) {
				t.Fatalf("a group joins %+v", all.Deliveries)
			}
		}
		if string(bytes) != string(all.Frame.B) || len(all.Deliveries) > 1 && len(bytes) > maxGroupBytes || len(all.Deliveries) > maxGroup {
			t.Fatalf("a group of %d has a frame of %d bytes, its messages have %d", len(all.Deliveries), len(all.Frame.B), len(bytes))
		}
		whole := all.Delivery()
		if first, last := all.Deliveries[0], all.Deliveries[len(all.Deliveries)-1]; whole.First != first.First || whole.Last != last.First || whole.Prev != first.Prev {
			t.Fatalf("a group is offered as %+v", whole)
		}
		if before != nil && fits(before, all) {
			t.Fatalf("%+v could have been joined with %+v", before.Deliveries, all.Deliveries)
		}
		before = &Group{Deliveries: slices.Clone(all.Deliveries)}
		q.Done(nil, all)
	}
}

// markOf reads a frame that tells of an ack.
func markOf(t *rapid.T, frame []byte) history.ReadMark {
	var m struct {
		Type, Cursor string
		Unread       int
	}
	if err := json.Unmarshal(frame[2:], &m); err != nil || m.Type != "acked" {
		t.Fatalf("the frame of an ack is %q: %v", frame, err)
	}
	cursor, err := history.ParseCursor(m.Cursor)
	if err != nil {
		t.Fatal(err)
	}
	return history.ReadMark{Cursor: cursor, Unread: m.Unread}
}

// fits reports whether the first of b could have gone with a.
func fits(a, b *Group) bool {
	size := len(b.Deliveries[0].Frame.B)
	for _, d := range a.Deliveries {
		size += len(d.Frame.B)
	}
	first, last := b.Deliveries[0], a.Deliveries[len(a.Deliveries)-1]
	return last.Kind == feed.Message && first.Kind == feed.Message && first.Prev == last.First &&
		first.Excluded == last.Excluded && size <= maxGroupBytes && len(a.Deliveries) < maxGroup
}

// A message that comes after its recall does not come at all. A resync is told
// apart from deliveries.
func TestRecallsAndResyncs(t *testing.T) {
	q := queues(t, 1)[0]
	f := New(Config{Queues: []*Queue{q}, NewFrame: q.Loop.NewFrame, KeepRecalls: time.Minute,
		Others: func(*history.Delivery) {}, Connection: func(string) reactor.Handle { return 0 }})
	message := func(id history.ID, recall bool) history.Delivery {
		return history.Delivery{Message: history.Message{ID: id, Kind: history.Broadcast}, Recall: recall}
	}
	f.Deliver([]history.Delivery{message(5, true), {Resync: true}, message(5, false), message(6, false)})
	if q.Empty() || !q.Resync() || q.Resync() {
		t.Error("a resync is told once")
	}
	var got []string
	for {
		_, all := q.Next()
		if all == nil {
			break
		}
		got = append(got, fmt.Sprint(all.Delivery().Kind, all.Delivery().First))
		q.Done(nil, all)
	}
	if want := []string{fmt.Sprint(feed.Recall, 5), fmt.Sprint(feed.Message, 6)}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
