package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// recipientList packs the recipients of one chunk: the flags of the message, then
// the users as [engine.AppendName] does.
func recipientList(flags byte, users []string) []byte {
	list := make([]byte, 1, 1+len(users)*8+len(users[0]))
	list[0] = flags
	last := ""
	for _, user := range users {
		list = engine.AppendName(list, last, user)
		last = user
	}
	return list
}

// parseRecipientList reads what recipientList packs.
func parseRecipientList(list string) (flags byte, users []string, err error) {
	if list == "" {
		return 0, nil, fmt.Errorf("%w: an empty list of recipients", errEntry)
	}
	users, ok := engine.ParseNames([]byte(list[1:]), 0, math.MaxInt)
	if !ok {
		return 0, nil, fmt.Errorf("%w: a list of recipients of %d bytes", errEntry, len(list))
	}
	return list[0], users, nil
}

// addressed is a message and its recipients.
type addressed struct {
	id    history.ID // that Append returned
	kind  history.Kind
	parts []recipients
}

// recipients are those of one message in a partition.
type recipients struct {
	*partition
	users []string
	// ownIDs are those of users who have the message under another id than the
	// one that Append returned.
	ownIDs map[string]history.ID
}

// Outcomes of recipients.lua.
const (
	notFound = iota
	toUsers
	toAll
	ownID
)

// recipientsCall is what recipients.lua is called with.
type recipientsCall struct {
	clock    any
	inboxAge time.Duration
	logRetention
	id history.ID
}

func (c recipientsCall) declare(w *wire, k *keys) {
	w.key("RECIPIENTS", k.recipients)
	w.key("RECIPIENT_INDEX", k.recipientIndex)
	w.time(c.clock)
	w.duration("inbox_age", c.inboxAge)
	c.logRetention.declare(w, k)
	w.id("id", c.id)
}

// sent is what a partition knows of a message.
type sent struct {
	kind history.Kind // 0: the partition does not know it
	id   history.ID   // that Append returned, unless the partition does not know it
	recipients
}

// lookUp asks one partition for its recipients of message id. If id is an inbox's
// own, sent has the message's id and no kind.
func (p *partition) lookUp(ctx context.Context, id history.ID) (sent, error) {
	s := p.store
	c := recipientsCall{s.clock(), s.conf.Retention.InboxAge, s.logRetention(), id}
	reply, err := p.reads.do(ctx, recipientsScript.call(&p.keys, c), false)
	if err != nil {
		return sent{}, harmless(err)
	}
	in := reader{reply: reply}
	found := sent{id: id}
	switch outcome := in.int(); {
	case in.err != nil || outcome == notFound:
		return found, in.err
	case outcome == toAll:
		found.kind = history.Broadcast
		return found, nil
	case outcome == ownID:
		found.id, err = history.ParseID(in.text())
		return found, cmp.Or(in.err, err)
	}
	found.recipients = recipients{partition: p, ownIDs: map[string]history.ID{}}
	for range len(reply.([]any)) - 1 {
		if err := found.add(in.next()); err != nil {
			return sent{}, err
		}
	}
	return found, nil
}

// add reads a list of recipients and the id under which they have the message.
func (s *sent) add(pair any) error {
	in := reader{reply: pair}
	list, own := in.text(), in.text()
	flags, users, err := parseRecipientList(list)
	if err := cmp.Or(in.err, err); err != nil {
		return err
	}
	s.kind = history.Unicast
	if flags&flagMulticast != 0 {
		s.kind = history.Multicast
	}
	if own == "" {
		s.users = append(s.users, users...)
		return nil
	}
	id, err := history.ParseID(own)
	for _, user := range users {
		s.ownIDs[user] = id
	}
	return err
}

// first finds the message that id names, in the partition that gave the id.
func (s *Store) first(ctx context.Context, id history.ID) (sent, error) {
	giver := func(id history.ID) *partition { return s.partitions[uint64(id)%uint64(len(s.partitions))] }
	found, err := giver(id).lookUp(ctx, id)
	if err == nil && found.kind == 0 && found.id != id {
		found, err = giver(found.id).lookUp(ctx, found.id)
	}
	if err == nil && found.kind == 0 {
		err = history.ErrNotFound
	}
	return found, err
}

// find returns all recipients of the message that id names.
func (s *Store) find(ctx context.Context, id history.ID) (addressed, error) {
	first, err := s.first(ctx, id)
	a := addressed{first.id, first.kind, []recipients{first.recipients}}
	if err != nil || first.kind != history.Multicast {
		return a, err
	}
	type result struct {
		sent
		error
	}
	results := make(chan result, len(s.partitions)-1)
	for _, p := range s.partitions {
		if p != first.partition {
			go func() {
				found, err := p.lookUp(ctx, first.id)
				results <- result{found, err}
			}()
		}
	}
	for range len(s.partitions) - 1 {
		r := <-results
		err = errors.Join(err, r.error)
		if len(r.users) > 0 {
			a.parts = append(a.parts, r.recipients)
		}
	}
	return a, err
}

// KindOf implements history.Messages.
func (s *Store) KindOf(ctx context.Context, id history.ID) (history.Kind, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.life.RUnlock()
	found, err := s.first(ctx, id)
	return found.kind, err
}
