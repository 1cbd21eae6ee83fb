package rpc

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// sent is what the tests of History find again: ids in the order of sending.
type sent struct {
	id   string
	kind history.Kind
}

// fill sends n messages to user 42, of all kinds in turn.
func (r *rig) fill(n int) (all []sent) {
	r.t.Helper()
	for i := range n {
		kind := history.Kind(i%3) + history.Unicast
		all = append(all, sent{r.append(kind, fmt.Sprint(i)), kind})
	}
	return all
}

func (r *rig) append(kind history.Kind, data string) string {
	r.t.Helper()
	push := history.Push{Kind: kind, Users: []string{"42", "43"}, Data: []byte(data)}
	switch kind {
	case history.Unicast:
		push.Users = push.Users[:1]
	case history.Broadcast:
		push.Users = nil
	}
	receipt, err := r.store.Append(context.Background(), push)
	testkit.Must(r.t, err)
	return receipt.ID.String()
}

func ids(all []sent, wanted func(int, sent) bool) (out []string) {
	for i, s := range all {
		if wanted(i, s) {
			out = append(out, s.id)
		}
	}
	return out
}

// history asks at both doors, which must agree.
func (r *rig) history(req *pushv1.HistoryRequest) *pushv1.HistoryResponse {
	r.t.Helper()
	req.User = "42"
	reply, err := r.invoke(r.as(keyRead), req)
	testkit.Must(r.t, err)
	text, err := newCodec().Marshal(reply)
	testkit.Must(r.t, err)
	re := r.restOfAs(keyRead, req, "")
	equal(r.t, "status of "+re.body, re.status, 200)
	equal(r.t, "REST and gRPC", re.body, string(text))
	return reply.(*pushv1.HistoryResponse)
}

func idsOf(p *pushv1.HistoryResponse) (out []string) {
	for _, m := range p.GetMessages() {
		out = append(out, m.GetId())
	}
	return out
}

// readAll reads all that req asks for, page by page in its direction, and checks
// that no page is longer than the limit.
func (r *rig) readAll(req *pushv1.HistoryRequest, forward bool) (got []string) {
	r.t.Helper()
	req = proto.Clone(req).(*pushv1.HistoryRequest)
	if forward && req.GetSince() == nil {
		req.After = "0"
	}
	for range 1000 {
		p := r.history(req)
		if n := len(p.GetMessages()); n > int(req.GetLimit()) {
			r.t.Fatalf("%d messages with limit %d", n, req.GetLimit())
		}
		if forward {
			got = append(got, idsOf(p)...)
			req.After = p.GetCursor()
		} else {
			got = append(idsOf(p), got...)
			req.Before = p.GetBefore()
		}
		if !p.GetHasMore() {
			return got
		}
	}
	r.t.Fatalf("%v never ends", req)
	return nil
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// TestHistoryFilters reads every combination of filters in pages of every
// size, both ways, at both doors.
func TestHistoryFilters(t *testing.T) {
	now := time.Now().Truncate(time.Millisecond)
	r := newRig(t, options{now: func() time.Time { return now }})
	early := r.fill(7)
	now = now.Add(time.Millisecond)
	late := now
	all := append(early, r.fill(8)...)
	// The marks of the two logs differ: read are inbox messages up to index 9,
	// broadcasts up to index 5.
	mark := history.Cursor{Inbox: parseID(t, all[9].id), Broadcast: parseID(t, all[5].id)}
	_, err := r.store.Ack(t.Context(), "42", mark, "")
	testkit.Must(t, err)
	unread := func(i int, s sent) bool {
		return i > 9 || s.kind == history.Broadcast && i > 5
	}
	for _, kinds := range [][]string{nil, {"unicast"}, {"broadcast"}, {"multicast", "unicast"}} {
		for _, since := range []bool{false, true} {
			for _, unreadOnly := range []bool{false, true} {
				want := ids(all, func(i int, s sent) bool {
					return (kinds == nil || slices.Contains(kinds, s.kind.String())) &&
						(!since || i >= len(early)) && (!unreadOnly || unread(i, s))
				})
				for _, limit := range []int32{1, 2, 3, 7, 100} {
					req := &pushv1.HistoryRequest{Kinds: kinds, UnreadOnly: unreadOnly, Limit: &limit}
					if since {
						req.Since = timestamppb.New(late)
					}
					what := fmt.Sprintf("kinds %v, since %v, unread %v, limit %d", kinds, since, unreadOnly, limit)
					same(t, what+", forward", r.readAll(req, true), want)
					if !since {
						same(t, what+", backward", r.readAll(req, false), want)
						continue
					}
					req.Before = history.MaxID.String()
					same(t, what+", backward", r.readAll(req, false), want)
				}
			}
		}
	}
}

func parseID(t testing.TB, s string) history.ID {
	t.Helper()
	id, err := history.ParseID(s)
	testkit.Must(t, err)
	return id
}

// TestHistorySince: a message is in the page that begins at its own time, and
// not in one that begins a nanosecond later.
func TestHistorySince(t *testing.T) {
	r := newRig(t, options{})
	id := r.append(history.Unicast, "1")
	at := parseID(t, id).Time()
	for _, c := range []struct {
		since time.Time
		want  int
	}{
		{at, 1}, {at.Add(-time.Nanosecond), 1}, {at.Add(-time.Hour), 1}, {history.Epoch.Add(-time.Hour), 1},
		{time.Unix(-1e9, 0), 1}, {at.Add(time.Nanosecond), 0}, {at.Add(time.Millisecond), 0},
	} {
		p := r.history(&pushv1.HistoryRequest{Since: timestamppb.New(c.since)})
		equal(t, c.since.String(), len(p.GetMessages()), c.want)
		equal(t, "has more", p.GetHasMore(), false)
		p = r.history(&pushv1.HistoryRequest{Since: timestamppb.New(c.since), Before: history.MaxID.String()})
		equal(t, c.since.String()+", backward", len(p.GetMessages()), c.want)
	}
	// If there is a cursor too, the later of the two counts.
	second := r.append(history.Broadcast, "2")
	cursor := history.Cursor{Inbox: parseID(t, id)}.String()
	same(t, "after the cursor", idsOf(r.history(&pushv1.HistoryRequest{After: cursor, Since: timestamppb.New(at)})), []string{second})
	same(t, "since", idsOf(r.history(&pushv1.HistoryRequest{After: "0", Since: timestamppb.New(at)})), []string{id, second})
}

// TestHistoryHasMoreIsExactSince: with since alone, has_more says whether there
// is more, not whether there may be.
func TestHistoryHasMoreIsExactSince(t *testing.T) {
	now := time.Now()
	r := newRig(t, options{now: func() time.Time { return now }})
	next := parseID(t, r.append(history.Unicast, "1")).Time().Add(time.Millisecond)
	now = now.Add(time.Millisecond)
	want := []string{r.append(history.Unicast, "2"), r.append(history.Broadcast, "3")}
	two := int32(2)
	p := r.history(&pushv1.HistoryRequest{Since: timestamppb.New(next), Before: history.MaxID.String(), Limit: &two})
	same(t, "page", idsOf(p), want)
	equal(t, "has more", p.GetHasMore(), false)
	p = r.history(&pushv1.HistoryRequest{Before: history.MaxID.String(), Limit: &two})
	equal(t, "has more without since", p.GetHasMore(), true)
}

// TestHistoryKindsIsBounded: looking for a kind that is not there takes several
// calls, each of which moves on, and finds what lies at the other end.
func TestHistoryKindsIsBounded(t *testing.T) {
	pages := 0
	r := newRig(t, breaking(func() error { pages++; return nil }))
	first := r.append(history.Broadcast, "1")
	const others = scanPages*scanLimit - 10
	for range others {
		r.append(history.Unicast, "2")
	}
	last := r.append(history.Broadcast, "3")
	for range scanLimit {
		r.append(history.Unicast, "4")
	}
	limit := int32(10)
	req := &pushv1.HistoryRequest{User: "42", Kinds: []string{"broadcast"}, Limit: &limit}
	calls := 0
	for _, forward := range []bool{true, false} {
		var got []string
		req := proto.Clone(req).(*pushv1.HistoryRequest)
		if forward {
			req.After = "0"
		}
		for {
			pages = 0
			reply, err := r.invoke(r.as(keyRead), req)
			testkit.Must(t, err)
			calls++
			if pages > scanPages+1 {
				t.Fatalf("one call read %d pages", pages)
			}
			p := reply.(*pushv1.HistoryResponse)
			got = append(got, idsOf(p)...)
			req.After, req.Before = p.GetCursor(), ""
			if !forward {
				req.After, req.Before = "", p.GetBefore()
			}
			if !p.GetHasMore() {
				break
			}
		}
		slices.Sort(got)
		same(t, "broadcasts", got, []string{first, last})
	}
	if calls < 4 {
		t.Errorf("both ways took %d calls: nothing was bounded", calls)
	}
}

// TestHistoryKindsFitsIntoAnAnswer: what several pages hold together stays
// within what gRPC clients take.
func TestHistoryKindsFitsIntoAnAnswer(t *testing.T) {
	r := newRig(t, options{limits: Limits{MaxData: 1 << 20}})
	large := strconv.Quote(strings.Repeat("x", 1<<20-2))
	var want []string
	for range 5 {
		want = append(want, r.append(history.Unicast, large))
		r.append(history.Broadcast, "1")
	}
	limit := int32(100)
	req := &pushv1.HistoryRequest{Kinds: []string{"unicast"}, Limit: &limit, After: "0"}
	same(t, "forward", r.readAll(req, true), want)
	req.After = ""
	same(t, "backward", r.readAll(req, false), want)
}

// TestHistoryIsStable: while messages arrive, a walk in either direction lists
// each message that was there when it began once, in order.
func TestHistoryIsStable(t *testing.T) {
	r := newRig(t, options{})
	before := r.fill(60)
	stop := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_, _ = r.store.Append(context.Background(), history.Push{Kind: history.Broadcast, Data: []byte("0")})
				_, _ = r.store.Append(context.Background(), history.Push{Kind: history.Unicast, Users: []string{"42"}, Data: []byte("0")})
				if i > 200 { // retention must not reach what was there
					<-stop
					return
				}
			}
		}
	})
	for _, kinds := range [][]string{nil, {"multicast"}, {"unicast", "broadcast"}} {
		limit := int32(7)
		req := &pushv1.HistoryRequest{Kinds: kinds, Limit: &limit}
		want := ids(before, func(_ int, s sent) bool { return kinds == nil || slices.Contains(kinds, s.kind.String()) })
		for _, forward := range []bool{true, false} {
			got := r.walkOverGRPC(req, forward)
			if !slices.IsSorted(got) {
				t.Fatalf("kinds %v, forward %v: not in order", kinds, forward)
			}
			got = slices.DeleteFunc(got, func(id string) bool { return id > before[len(before)-1].id })
			same(t, fmt.Sprintf("kinds %v, forward %v", kinds, forward), got, want)
		}
	}
	close(stop)
	sender.Wait()
}

// walkOverGRPC is readAll without asking twice, where the answers may differ.
func (r *rig) walkOverGRPC(req *pushv1.HistoryRequest, forward bool) (got []string) {
	r.t.Helper()
	req = proto.Clone(req).(*pushv1.HistoryRequest)
	req.User = "42"
	if forward {
		req.After = "0"
	}
	for range 1000 {
		reply, err := r.invoke(r.as(keyRead), req)
		testkit.Must(r.t, err)
		p := reply.(*pushv1.HistoryResponse)
		if forward {
			got, req.After = append(got, idsOf(p)...), p.GetCursor()
		} else {
			got, req.Before = append(idsOf(p), got...), p.GetBefore()
		}
		if !p.GetHasMore() {
			break
		}
	}
	return got
}
