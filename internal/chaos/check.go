package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"pushd.example/internal/history"
)

// Check returns what is wrong with r, user by user.
func (r *Record) Check() []Violation {
	c := checker{record: r, byKey: map[string]*Push{}, ids: map[string]history.ID{}, holders: map[string]int{}}
	for i := range r.Pushes {
		c.byKey[r.Pushes[i].Key] = &r.Pushes[i]
	}
	for _, user := range slices.Sorted(maps.Keys(r.Histories)) {
		c.user = user
		c.checkUser(r.Histories[user])
	}
	c.checkAllOrNone()
	return c.found
}

// checker collects violations.
type checker struct {
	record *Record
	byKey  map[string]*Push
	found  []Violation
	user   string // the user being checked
	// Over all histories so far, by key: the id, and how many have it.
	ids     map[string]history.ID
	holders map[string]int
}

func (c *checker) report(kind Kind, format string, args ...any) {
	c.found = append(c.found, Violation{kind, c.user, fmt.Sprintf(format, args...)})
}

func (c *checker) checkUser(h History) {
	stored := c.checkHistory(h)
	c.checkAnswered(stored)
	c.checkRealTime(stored)
	// The key of the message at each place, from the history and all sessions.
	names := map[place]string{}
	for _, s := range h.Messages {
		names[placeOf(s)] = s.Key
	}
	for _, client := range c.record.Clients {
		if client.User == c.user {
			c.checkClient(client, h, names)
		}
	}
}

// place is where a message of one user lies.
type place struct {
	log string
	id  history.ID
}

func placeOf(s Seen) place { return place{s.Kind.Log(), s.ID} }

// checkHistory checks one history, and returns its ids by key.
func (c *checker) checkHistory(h History) map[string]history.ID {
	stored := map[string]history.ID{}
	at := map[place]string{}
	var last history.ID
	for _, s := range h.Messages {
		if other, ok := at[placeOf(s)]; ok && other != s.Key {
			c.report(OneID, "%v and %q in the history", s, other)
		}
		at[placeOf(s)] = s.Key
		if s.ID < last {
			c.report(OutOfOrder, "%v after %d in the history", s, last)
		}
		last = s.ID
		if id, ok := stored[s.Key]; ok {
			c.report(Twice, "%v in the history, and at %d", s, id)
			continue
		}
		stored[s.Key] = s.ID
		c.checkSent(s)
		c.checkOthers(s)
	}
	if h.Unread != len(h.Messages) {
		c.report(Unread, "%d, with %d messages", h.Unread, len(h.Messages))
	}
	return stored
}

// checkSent checks that somebody sent s to this user.
func (c *checker) checkSent(s Seen) {
	switch p := c.byKey[s.Key]; {
	case p == nil:
		c.report(Phantom, "%v was never sent", s)
	case p.Kind != s.Kind:
		c.report(Phantom, "%v was sent as %v", s, p.Kind)
	case !p.to(c.user):
		c.report(Phantom, "%v was sent to %v", s, p.Users)
	case p.Outcome == Failed:
		c.report(Phantom, "%v was said to have failed", s)
	case p.Outcome == OK && p.ID != s.ID && !c.record.mayGo(p) && !(c.mayDiffer(p.Kind) && p.ID < s.ID):
		// A key that was lost with its message lets a retry store it anew.
		c.report(OtherID, "%v was answered with %d", s, p.ID)
	}
}

// checkOthers checks that a message has one id, whosever history it is in.
func (c *checker) checkOthers(s Seen) {
	if id, ok := c.ids[s.Key]; ok && id != s.ID && !c.mayDiffer(s.Kind) {
		c.report(OtherID, "%v, in somebody else's history at %d", s, id)
	}
	c.ids[s.Key] = s.ID
	c.holders[s.Key]++
}

// mayDiffer reports whether a message of this kind may have several ids.
func (c *checker) mayDiffer(k history.Kind) bool {
	return c.record.Partitioned && k == history.Multicast
}

// checkAllOrNone checks that a message which several users should have, and
// nobody knows of, is stored for all or for none of them.
func (c *checker) checkAllOrNone() {
	if c.record.Partitioned {
		return
	}
	c.user = "all"
	for _, p := range c.record.Pushes {
		want := len(p.Users)
		if p.Kind == history.Broadcast {
			want = len(c.record.Histories)
		}
		if got := c.holders[p.Key]; p.Outcome == Unknown && got != 0 && got != want {
			c.report(Torn, "%q is in %d histories, of %d", p.Key, got, want)
		}
	}
}

// checkAnswered checks that everything that was answered OK is there.
func (c *checker) checkAnswered(stored map[string]history.ID) {
	for i := range c.record.Pushes {
		p := &c.record.Pushes[i]
		if _, ok := stored[p.Key]; !ok && p.Outcome == OK && p.to(c.user) && !c.record.mayGo(p) {
			c.report(Lost, "%q was answered OK with %d", p.Key, p.ID)
		}
	}
}

// checkRealTime checks, log by log, that a push which was answered before
// another one began has the lower id.
func (c *checker) checkRealTime(stored map[string]history.ID) {
	logs := map[string][]*Push{}
	for i := range c.record.Pushes {
		p := &c.record.Pushes[i]
		if _, ok := stored[p.Key]; ok && p.Outcome == OK && p.to(c.user) {
			logs[p.Kind.Log()] = append(logs[p.Kind.Log()], p)
		}
	}
	for _, pushes := range logs {
		c.checkRealTimeOf(pushes)
	}
}

// checkRealTimeOf walks the pushes by when they began, and carries along the
// greatest id that was answered by then.
func (c *checker) checkRealTimeOf(pushes []*Push) {
	byReturn := slices.Clone(pushes)
	slices.SortFunc(byReturn, func(a, b *Push) int { return cmp.Compare(a.Returned, b.Returned) })
	slices.SortFunc(pushes, func(a, b *Push) int { return cmp.Compare(a.Invoked, b.Invoked) })
	var newest *Push
	for _, p := range pushes {
		for len(byReturn) > 0 && byReturn[0].Returned < p.Invoked {
			if newest == nil || byReturn[0].ID > newest.ID {
				newest = byReturn[0]
			}
			byReturn = byReturn[1:]
		}
		if newest != nil && p.ID <= newest.ID {
			c.report(OutOfOrder, "%q has id %d, though %q with %d was answered before it began", p.Key, p.ID, newest.Key, newest.ID)
		}
	}
}

// checkClient checks what a client was sent, and that in the end it has all
// that the history has.
func (c *checker) checkClient(client Client, h History, names map[place]string) {
	seen := map[place]bool{}
	at := map[string]history.ID{} // by key
	for i, s := range client.Sessions {
		if s.Truncated {
			c.report(Truncated, "session %d, from %+v", i, s.From)
		}
		c.checkSession(i, s, names)
		for _, m := range s.Seen {
			if id, ok := at[m.Key]; ok && id != m.ID && !c.record.MayLose {
				c.report(Twice, "session %d: %v, before at %d", i, m, id)
			}
			if seen[placeOf(m)] && !c.record.MayLose {
				c.report(Twice, "session %d: %v, which a session before had", i, m)
			}
			at[m.Key] = m.ID
		}
		for _, m := range s.Seen {
			seen[placeOf(m)] = true
		}
	}
	for _, m := range h.Messages {
		if !seen[placeOf(m)] {
			c.report(Lost, "%v is in the history, and no session brought it", m)
		}
	}
	if c.record.MayLose {
		return
	}
	for _, m := range h.Messages {
		if at[m.Key] == m.ID {
			delete(at, m.Key)
		}
	}
	for key, id := range at {
		c.report(Lost, "%q was delivered with %d, and is not in the history", key, id)
	}
}

// checkSession checks one session: ids rise in each log from where
// the client stood.
func (c *checker) checkSession(n int, s Session, names map[place]string) {
	last := map[string]history.ID{"inbox": s.From.Inbox, "broadcast": s.From.Broadcast}
	here := map[place]bool{}
	for _, m := range s.Seen {
		switch {
		case here[placeOf(m)]:
			c.report(Twice, "session %d: %v again", n, m)
		case m.ID <= last[m.Kind.Log()]:
			c.report(OutOfOrder, "session %d: %v after %d", n, m, last[m.Kind.Log()])
		}
		here[placeOf(m)] = true
		last[m.Kind.Log()] = max(last[m.Kind.Log()], m.ID)
		if name, ok := names[placeOf(m)]; ok && name != m.Key {
			c.report(OneID, "session %d: %v, elsewhere %q", n, m, name)
		}
		names[placeOf(m)] = m.Key
		c.checkSeen(m)
	}
}

// checkSeen is checkSent for what may since be lost.
func (c *checker) checkSeen(m Seen) {
	switch p := c.byKey[m.Key]; {
	case p == nil:
		c.report(Phantom, "%v was never sent", m)
	case p.Kind != m.Kind || !p.to(c.user):
		c.report(Phantom, "%v was sent as %v to %v", m, p.Kind, p.Users)
	case p.Outcome == Failed:
		c.report(Phantom, "%v was said to have failed", m)
	}
}
