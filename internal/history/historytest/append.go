package historytest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"pushd.example/internal/history"
)

func appendPromises() []promise {
	return []promise{
		{name: "UnicastLiesInTheInboxOfItsUserOnly", check: unicastIsPrivate},
		{name: "MulticastLiesInEachInboxUnderOneID", check: multicastIsOneMessage},
		{name: "MulticastCountsAUserNamedTwiceOnce", check: multicastUnique},
		{name: "MulticastReachesManyUsers", check: multicastMany},
		{name: "BroadcastIsEverybodysAndOfThoseWhoComeLater", check: broadcastIsEverybodys},
		{name: "UsersAreToldApartByteByByte", check: usersApart},
		{name: "DataIsKeptByteForByte", check: dataIsKept},
		{name: "DataIsTheCallersAgainAfterwards", check: dataIsReleased},
		{name: "IDTellsTheTime", check: idTellsTime},
		{name: "IDsRiseWithinOneMillisecond", check: idsRiseInAMillisecond},
		{name: "IDsRiseWhenTheClockIsSetBack", check: idsRiseWhenClockIsSetBack},
		{name: "ReceiptCountsAttachedConnections", check: receiptCountsOnline},
		{name: "ReceiptCountsUnknownUsers", retention: history.Retention{InboxAge: time.Hour}, check: receiptCountsUnknown},
		{name: "BadPushStoresNothing", check: badPush},
		{name: "EndedContextDoesNothing", check: endedContext},
	}
}

func unicastIsPrivate(r *rig) {
	a, b := r.unicast("ann"), r.unicast("bob")
	c := r.unicast("ann")
	r.wantHistory("ann", a, c)
	r.wantHistory("bob", b)
	r.wantHistory("nobody")
}

func multicastIsOneMessage(r *rig) {
	first := r.unicast("bob")
	m := r.multicast("ann", "bob", "cleo")
	last := r.unicast("ann")
	r.wantHistory("ann", m, last)
	r.wantHistory("bob", first, m)
	r.wantHistory("cleo", m)
	r.wantHistory("dan")
}

func multicastUnique(r *rig) {
	r.attach("ann", history.Start{})
	result := r.push(history.Push{
		Kind: history.Multicast, Users: []string{"ann", "bob", "ann", "ann"}, Data: []byte("x"),
	})
	if result.Recipients != 2 || result.Online != 1 {
		r.Errorf("result %+v, want 2 recipients and 1 online", result)
	}
	m := history.Message{ID: result.ID, Kind: history.Multicast, Data: []byte("x")}
	r.wantHistory("ann", m)
	r.wantHistory("bob", m)
}

func multicastMany(r *rig) {
	users := make([]string, 1000)
	for i := range users {
		users[i] = "user" + history.ID(i).String()
	}
	// One body below and one far above what an engine might hold inline.
	short := r.send(history.Push{Kind: history.Multicast, Users: users, Data: []byte("s")})
	long := r.send(history.Push{Kind: history.Multicast, Users: users, Data: bytes.Repeat([]byte("l"), 5000)})
	for _, user := range []string{users[0], users[499], users[999]} {
		r.wantHistory(user, short, long)
	}
	r.wantHistory("user1000")
}

func broadcastIsEverybodys(r *rig) {
	a := r.broadcast()
	mine := r.unicast("ann")
	b := r.broadcast()
	r.wantHistory("ann", a, mine, b)
	r.wantHistory("new", a, b)
	if n := r.unread("newer"); n != 2 {
		r.Errorf("unread of a new user: %d, want the 2 broadcasts kept", n)
	}
}

// usersApart sends to users whose names are prefixes of each other or look
// like something else to a careless key encoding.
func usersApart(r *rig) {
	users := []string{"a", "a\x00", "a\x00\x00", "a\x00b", "ab", "a/b", "a:b", "{a}", "é", "0", strings.Repeat("u", 128), strings.Repeat("u", 127)}
	sent := map[string]history.Message{}
	for _, user := range users {
		sent[user] = r.unicast(user)
	}
	for _, user := range users {
		r.wantMessages("history of "+user, r.forward(user, history.Cursor{}).Messages, sent[user])
	}
}

func dataIsKept(r *rig) {
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	bodies := [][]byte{{}, {0}, []byte(`{"n":9007199254740993}`), binary, bytes.Repeat([]byte("x"), 31),
		bytes.Repeat([]byte("x"), 32), bytes.Repeat([]byte("x"), 33), bytes.Repeat(binary, 1024)}
	var want []history.Message
	for _, data := range bodies {
		want = append(want,
			r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: data}),
			r.send(history.Push{Kind: history.Multicast, Users: []string{"ann", "bob"}, Data: data}),
			r.send(history.Push{Kind: history.Broadcast, Data: data}))
	}
	r.wantHistory("ann", want...)
}

func dataIsReleased(r *rig) {
	data := []byte("before")
	for _, p := range []history.Push{
		{Kind: history.Unicast, Users: []string{"ann"}},
		{Kind: history.Multicast, Users: []string{"ann", "bob"}},
		{Kind: history.Broadcast},
	} {
		p.Data = data
		r.push(p)
	}
	copy(data, "after!")
	for _, m := range r.forward("ann", history.Cursor{}).Messages {
		if string(m.Data) != "before" {
			r.Errorf("%v kept the caller's buffer: %q", m.Kind, m.Data)
		}
	}
}

func idTellsTime(r *rig) {
	for range 3 {
		r.clock.Advance(time.Hour)
		m := r.unicast("ann")
		if !m.ID.Time().Equal(r.clock.Now()) {
			r.Errorf("id %d is of %v, want %v", m.ID, m.ID.Time(), r.clock.Now())
		}
	}
}

// idsRiseInAMillisecond gives more ids than a millisecond has numbers for.
func idsRiseInAMillisecond(r *rig) {
	seen := map[history.ID]bool{}
	for _, ids := range inParallel(r, 50, 100) {
		for i, id := range ids {
			if i > 0 && id <= ids[i-1] {
				r.Fatalf("id %d after %d", id, ids[i-1])
			}
			if seen[id] {
				r.Fatalf("id %d was given twice", id)
			}
			seen[id] = true
		}
	}
	if len(seen) != 5000 {
		r.Errorf("%d ids, want 5,000", len(seen))
	}
}

// inParallel lets each of the callers send ann one message after the other,
// the clock standing still, and returns each caller's ids. Many callers are
// quicker than one where each append waits for the disk.
func inParallel(r *rig, callers, each int) [][]history.ID {
	ids := make([][]history.ID, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range each {
				result, err := r.store.Append(r.ctx, history.Push{Kind: history.Unicast, Users: []string{"ann"}})
				if err != nil {
					r.Errorf("appending: %v", err)
					return
				}
				ids[i] = append(ids[i], result.ID)
			}
		})
	}
	wg.Wait()
	return ids
}

func idsRiseWhenClockIsSetBack(r *rig) {
	before := r.broadcast()
	mine := r.unicast("ann")
	r.clock.Advance(-48 * time.Hour)
	after, mineAfter := r.broadcast(), r.unicast("ann")
	if after.ID <= before.ID || mineAfter.ID <= mine.ID {
		r.Errorf("ids %d, %d fell to %d, %d", before.ID, mine.ID, after.ID, mineAfter.ID)
	}
	r.wantHistory("ann", byID(before, mine, after, mineAfter)...)
}

func receiptCountsOnline(r *rig) {
	for user, n := range map[string]int{"ann": 2, "bob": 1} {
		for range n {
			r.attach(user, history.Start{})
		}
	}
	check := func(want history.AppendResult, k history.Kind, users ...string) {
		r.Helper()
		got := r.push(history.Push{Kind: k, Users: users})
		if want.ID = got.ID; got != want {
			r.Errorf("%v to %v: result %+v, want %+v", k, users, got, want)
		}
	}
	check(history.AppendResult{Recipients: 1, Online: 2, OnlineUsers: 1, Unknown: 1}, history.Unicast, "ann")
	check(history.AppendResult{Recipients: 1, Unknown: 1}, history.Unicast, "cleo")
	check(history.AppendResult{Recipients: 3, Online: 3, OnlineUsers: 2, Unknown: 1}, history.Multicast, "ann", "bob", "cleo")
	check(history.AppendResult{Online: 3, OnlineUsers: 2}, history.Broadcast)
	r.store.Detach("ann")
	check(history.AppendResult{Recipients: 3, Online: 2, OnlineUsers: 2}, history.Multicast, "ann", "bob", "cleo")
	r.store.Detach("ann")
	check(history.AppendResult{Online: 1, OnlineUsers: 1}, history.Broadcast)
	r.store.Detach("bob")
	check(history.AppendResult{Recipients: 3}, history.Multicast, "ann", "bob", "cleo")
}

// receiptCountsUnknown: who once had an entry is known for ever, also when it
// is dropped.
func receiptCountsUnknown(r *rig) {
	p := history.Push{Kind: history.Multicast, Users: []string{"ann", "bob", "ann"}}
	if n := r.push(p).Unknown; n != 2 {
		r.Errorf("%d unknown of two newcomers", n)
	}
	r.ack("cleo", history.Cursor{})
	r.broadcast()
	p.Users = append(p.Users, "cleo")
	if n := r.push(p).Unknown; n != 1 {
		r.Errorf("%d unknown of three, one of them new", n)
	}
	r.clock.Advance(24 * time.Hour)
	if n := r.push(p).Unknown; n != 0 {
		r.Errorf("%d unknown when their entries are too old", n)
	}
	if got := r.push(history.Push{Kind: history.Broadcast}); got.Unknown+got.OnlineUsers != 0 {
		r.Errorf("result %+v of a broadcast to nobody", got)
	}
}

func badPush(r *rig) {
	ok := []string{"ann"}
	long := strings.Repeat("u", history.MaxUser+1)
	cases := map[string]struct {
		push history.Push
		bad  error // nil: any error
	}{
		"no kind":            {history.Push{Users: ok}, nil},
		"unknown kind":       {history.Push{Kind: history.Broadcast + 1}, nil},
		"unicast to none":    {history.Push{Kind: history.Unicast}, nil},
		"unicast to two":     {history.Push{Kind: history.Unicast, Users: []string{"ann", "bob"}}, nil},
		"multicast to none":  {history.Push{Kind: history.Multicast}, nil},
		"broadcast to one":   {history.Push{Kind: history.Broadcast, Users: ok}, nil},
		"negative ttl":       {history.Push{Kind: history.Unicast, Users: ok, TTL: -1}, nil},
		"empty user":         {history.Push{Kind: history.Unicast, Users: []string{""}}, history.ErrUser},
		"long user":          {history.Push{Kind: history.Unicast, Users: []string{long}}, history.ErrUser},
		"user not UTF-8":     {history.Push{Kind: history.Unicast, Users: []string{"\xff"}}, history.ErrUser},
		"last user is empty": {history.Push{Kind: history.Multicast, Users: []string{"ann", ""}}, history.ErrUser},
		"first user is long": {history.Push{Kind: history.Multicast, Users: []string{long, "ann"}}, history.ErrUser},
	}
	r.attach("ann", history.Start{})
	f := r.follow()
	for name, c := range cases {
		r.Run(name, func(t *testing.T) {
			c.push.IdempotencyKey, c.push.Data = "taken?", []byte("x")
			result, err := r.store.Append(r.ctx, c.push)
			if err == nil || result != (history.AppendResult{}) {
				t.Errorf("result %+v, error %v", result, err)
			}
			if isUser := errors.Is(err, history.ErrUser); isUser != (c.bad != nil) {
				t.Errorf("error %v: wraps ErrUser: %v", err, isUser)
			}
		})
	}
	r.wantHistory("ann")
	if got := f.take(); len(got) != 0 {
		r.Errorf("bad pushes were delivered: %+v", got)
	}
	if m := r.push(history.Push{Kind: history.Unicast, Users: ok, IdempotencyKey: "taken?"}); m.Duplicate {
		r.Error("a bad push took its key")
	}
}

func endedContext(r *rig) {
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	kept := r.unicast("ann")
	calls := map[string]func() error{
		"Append": func() (err error) {
			for range 20 { // one that looks only now and then is found out
				if _, err = r.store.Append(ctx, history.Push{Kind: history.Unicast, Users: []string{"ann"}, IdempotencyKey: "k"}); err == nil {
					break
				}
			}
			return err
		},
		"Attach": func() error {
			_, err := r.store.Attach(ctx, "ann", history.Start{})
			return err
		},
		"Page": func() error {
			_, err := r.store.Page(ctx, "ann", history.Query{Limit: 1})
			return err
		},
		"Ack": func() error {
			_, err := r.store.Ack(ctx, "ann", history.Cursor{Inbox: kept.ID}, "")
			return err
		},
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			r.Errorf("%s with an ended context: %v", name, err)
		}
	}
	r.wantHistory("ann", kept)
	if n := r.unread("ann"); n != 1 {
		r.Errorf("unread %d: the ack came through", n)
	}
	result := r.push(history.Push{Kind: history.Unicast, Users: []string{"ann"}, IdempotencyKey: "k"})
	if result.Duplicate || result.Online != 0 {
		r.Errorf("result %+v: the key is taken or the connection attached", result)
	}
}
