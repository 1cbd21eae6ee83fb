package redis

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"pushd.example/internal/history"
)

// dueNote is a note of recipients of whom it is to be found out who has not acked.
type dueNote struct {
	*partition
	since int64      // when it was due, in milliseconds
	place string     // among the notes
	users []string   // none: the note is damaged
	own   history.ID // that the message has in these inboxes
	id    history.ID // that Append returned
}

// readDue reads what events_read.lua says of notes.
func (p *partition) readDue(reply any) ([]dueNote, error) {
	list, _ := reply.([]any)
	due := make([]dueNote, 0, len(list))
	for _, item := range list {
		in := reader{reply: item}
		d := dueNote{partition: p, since: int64(in.int()), place: in.text()}
		names, own, id := in.text(), in.text(), in.text()
		if in.err != nil {
			return nil, in.err
		}
		if err := d.read(names, own, id); err != nil {
			d.users = nil
			p.store.conf.Log.Error("history: finding out who has not acked", "partition", p.number, "note", d.place, "error", err)
		}
		due = append(due, d)
	}
	return due, nil
}

// read reads what a note says.
func (d *dueNote) read(names, own, id string) (err error) {
	if names == "" {
		return fmt.Errorf("%w: a note of recipients", errEntry)
	}
	if d.users, err = parseNote(nil, names); err != nil {
		return err
	}
	if d.own, err = history.ParseID(own); err != nil {
		return err
	}
	d.id, err = history.ParseID(id)
	return err
}

// recordUnacked records who has not acked what is due, the oldest first: of one
// note at least, of about so many users at most, and of no more in a partition than
// it keeps events. The rest is for the next who ask. Others may do the same at the
// same time.
func (s *Store) recordUnacked(ctx context.Context, due []dueNote, most int) error {
	slices.SortStableFunc(due, func(a, b dueNote) int { return cmp.Compare(a.since, b.since) })
	taken := make([]int, len(s.partitions))
	var ops []*op
	for _, d := range due {
		if len(ops) > 0 && most <= 0 || taken[d.number] > 0 && taken[d.number]+len(d.users) > s.eventsKept() {
			break
		}
		o := &op{ctx: ctx, cmd: d.command()}
		if err := d.writes.put(o); err != nil {
			return err
		}
		ops = append(ops, o)
		taken[d.number] += len(d.users)
		most -= len(d.users)
	}
	return waitForAll(ctx, ops)
}

// command takes the note out; those whom it names are looked up.
func (d *dueNote) command() []any {
	if len(d.users) == 0 {
		return []any{"zrem", d.due, d.place}
	}
	s := d.store
	keys, args := make([]string, 0, 4+2*len(d.users)), make([]any, 0, 7+len(d.users))
	keys = append(keys, d.due, d.events, d.watch, d.recalled)
	args = append(args, s.clock(), d.place, uint64(d.own), uint64(d.id), s.conf.Retention.InboxCount,
		millis(s.conf.Retention.InboxAge), s.eventsKept())
	for _, user := range d.users {
		keys, args = append(keys, d.inbox(user), d.meta(user)), append(args, user)
	}
	return unackedScript.call(keys, args...)
}
