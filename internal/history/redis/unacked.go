package redis

import (
	"cmp"
	"context"
	"slices"
	"time"

	"pushd.example/internal/history"
)

// unackedCheck is a list of recipients that is due for the check which of them have
// not acked.
type unackedCheck struct {
	*partition
	since    int64      // when it was due, in milliseconds since history.Epoch
	storedAt string     // position of the list
	users    []string   // none: the list is damaged
	own      history.ID // under which these users have the message
	id       history.ID // that Append returned
}

// readChecks reads what events_read.lua returns as due.
func (p *partition) readChecks(reply any) ([]unackedCheck, error) {
	list, _ := reply.([]any)
	checks := make([]unackedCheck, 0, len(list))
	for _, item := range list {
		in := reader{reply: item}
		c := unackedCheck{partition: p, since: int64(in.int()), storedAt: in.text()}
		users, own, id := in.text(), in.text(), in.text()
		if in.err != nil {
			return nil, in.err
		}
		if err := c.read(users, own, id); err != nil {
			c.users = nil
			p.store.conf.Log.Error("history: reading the recipients of a message to check who has not acked it; skipping them",
				"partition", p.number, "position", c.storedAt, "error", err)
		}
		checks = append(checks, c)
	}
	return checks, nil
}

func (c *unackedCheck) read(users, own, id string) (err error) {
	if _, c.users, err = parseRecipientList(users); err != nil {
		return err
	}
	if c.own, err = history.ParseID(own); err != nil {
		return err
	}
	c.id, err = history.ParseID(id)
	return err
}

// recordUnacked does the checks that are due, the oldest first: at least one, then
// no more than have about most users together, and in each partition no more than
// it keeps events for. The next readers do the rest. Several readers may do the
// same checks at the same time.
func (s *Store) recordUnacked(ctx context.Context, checks []unackedCheck, most int) error {
	slices.SortStableFunc(checks, func(a, b unackedCheck) int { return cmp.Compare(a.since, b.since) })
	taken := make([]int, len(s.partitions))
	var ops []*op
	for _, c := range checks {
		if len(ops) > 0 && most <= 0 || taken[c.number] > 0 && taken[c.number]+len(c.users) > s.eventsKept() {
			break
		}
		o := &op{ctx: ctx, cmd: c.command()}
		if err := c.writes.put(o); err != nil {
			return err
		}
		ops = append(ops, o)
		taken[c.number] += len(c.users)
		most -= len(c.users)
	}
	return waitForAll(ctx, ops)
}

func (c *unackedCheck) command() []any {
	if len(c.users) == 0 {
		return []any{"zrem", c.due, c.storedAt}
	}
	s := c.store
	return unackedScript.call(&c.keys, unackedCall{
		unackedCheck: *c, clock: s.clock(), keep: s.conf.Retention.InboxCount, inboxAge: s.conf.Retention.InboxAge,
		eventsKept: s.eventsKept(),
	})
}

// unackedCall is what unacked.lua is called with.
type unackedCall struct {
	unackedCheck
	clock      any
	keep       int // entries that an inbox shows
	inboxAge   time.Duration
	eventsKept int
}

func (c unackedCall) declare(w *wire, k *keys) {
	w.key("DUE", k.due)
	declareEvents(w, k)
	w.key("RECALLED", k.recalled)
	w.time(c.clock)
	w.text("stored_at", c.storedAt)
	w.id("own", c.own)
	w.id("id", c.id)
	w.number("keep", int64(c.keep))
	w.duration("inbox_age", c.inboxAge)
	w.number("events_kept", int64(c.eventsKept))
	w.texts("users", c.users)
	w.keyEach("INBOXES", c.users, k.inbox)
	w.keyEach("METAS", c.users, k.meta)
}
