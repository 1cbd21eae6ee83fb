package redis

import (
	"context"
	"errors"
	"fmt"

	"pushd.example/internal/history"
)

// noteOf packs the recipients of one chunk: the flags of the message, and of
// each user the number of bytes that it begins with as the one before it, the
// number of those that follow, and these.
func noteOf(flags byte, users []string) []byte {
	note := make([]byte, 1, 1+len(users)*8+len(users[0]))
	note[0] = flags
	last := ""
	for _, user := range users {
		same := 0
		for same < min(len(last), len(user)) && last[same] == user[same] {
			same++
		}
		note = append(note, byte(same), byte(len(user)-same))
		note = append(note, user[same:]...)
		last = user
	}
	return note
}

// parseNote appends the recipients in a note to users.
func parseNote(users []string, note string) ([]string, error) {
	last := ""
	for b := note[1:]; len(b) > 0; {
		if len(b) < 2 || int(b[0]) > len(last) || int(b[1]) > len(b)-2 {
			return nil, fmt.Errorf("%w: a note of recipients", errEntry)
		}
		end := 2 + int(b[1])
		last = last[:b[0]] + b[2:end]
		users = append(users, last)
		b = b[end:]
	}
	return users, nil
}

// addressed is to whom a message went.
type addressed struct {
	id     history.ID // that Append returned
	kind   history.Kind
	shares []share
}

// share is the users of one partition.
type share struct {
	*partition
	users []string
	// apart are those of users who have the message under an id of its own.
	apart map[string]history.ID
}

// Outcomes of sent.lua.
const (
	sentNot = iota
	sentToUsers
	sentToAll
	sentApart
)

// look asks one partition for its share of message id. The kind is 0 if it has
// none; at is the message's id, another than id if that is an inbox's own.
func (p *partition) look(ctx context.Context, id history.ID) (kind history.Kind, at history.ID, sh share, err error) {
	s := p.store
	r := &s.conf.Retention
	reply, err := p.reads.do(ctx, sentScript.call([]string{p.notes, p.moved, p.log},
		s.clock(), uint64(id), millis(r.InboxAge), r.BroadcastCount, millis(r.BroadcastAge)), false)
	if err != nil {
		return 0, 0, share{}, harmless(err)
	}
	in := reader{reply: reply}
	switch outcome := in.int(); {
	case in.err != nil || outcome == sentNot:
		return 0, id, share{}, in.err
	case outcome == sentToAll:
		return history.Broadcast, id, share{}, nil
	case outcome == sentApart:
		text, _ := in.next().(string)
		at, err = history.ParseID(text)
		return 0, at, share{}, err
	}
	sh = share{partition: p, apart: map[string]history.ID{}}
	for range len(reply.([]any)) - 1 {
		if kind, err = sh.read(in.next()); err != nil {
			return 0, 0, share{}, err
		}
	}
	return kind, id, sh, nil
}

// read adds a note and the id that its users have the message under.
func (sh *share) read(pair any) (history.Kind, error) {
	in := reader{reply: pair}
	note, _ := in.next().(string)
	own, _ := in.next().(string)
	if in.err != nil || note == "" {
		return 0, fmt.Errorf("%w: a note of recipients", errEntry)
	}
	kind := history.Unicast
	if note[0]&flagMulticast != 0 {
		kind = history.Multicast
	}
	users, err := parseNote(nil, note)
	if err != nil {
		return 0, err
	}
	if own == "" {
		sh.users = append(sh.users, users...)
		return kind, nil
	}
	id, err := history.ParseID(own)
	for _, user := range users {
		sh.apart[user] = id
	}
	return kind, err
}

// kindOf returns the message that id names: how it was sent, its id, and the
// share of the partition that gave it.
func (s *Store) kindOf(ctx context.Context, id history.ID) (history.Kind, history.ID, share, error) {
	first := func(id history.ID) *partition { return s.partitions[uint64(id)%uint64(len(s.partitions))] }
	kind, at, sh, err := first(id).look(ctx, id)
	if err == nil && kind == 0 && at != id {
		kind, at, sh, err = first(at).look(ctx, at)
	}
	if err == nil && kind == 0 {
		err = history.ErrNotFound
	}
	return kind, at, sh, err
}

// find returns to whom the message went that id names.
func (s *Store) find(ctx context.Context, id history.ID) (addressed, error) {
	kind, id, first, err := s.kindOf(ctx, id)
	a := addressed{id: id, kind: kind, shares: []share{first}}
	if err != nil || kind != history.Multicast {
		return a, err
	}
	type result struct {
		share
		error
	}
	results := make(chan result, len(s.partitions))
	others := 0
	for _, p := range s.partitions {
		if p == first.partition {
			continue
		}
		others++
		go func() {
			_, _, sh, err := p.look(ctx, id)
			results <- result{sh, err}
		}()
	}
	for range others {
		r := <-results
		err = errors.Join(err, r.error)
		if len(r.users) > 0 {
			a.shares = append(a.shares, r.share)
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
	kind, _, _, err := s.kindOf(ctx, id)
	return kind, err
}
