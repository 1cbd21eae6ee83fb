package embedded

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// prepareFrom is the number of recipients from which an append is prepared. The
// committer needs about 3 µs for each recipient, during which all other appends
// wait.
const prepareFrom = 1000

// preparation is what the committer must know of the recipients of a large
// append, read by its caller meanwhile. Reading takes two thirds of the time
// that such an append takes, and trimming can take as much again; without
// either, and with the recipients in the order of their keys, in which Pebble
// wants them, the committer is done with 100,000 in a quarter of the time.
//
// The committer learns of it first, and from then on marks as stale each member
// whose meta changes, so that nobody uses what was read before a change.
type preparation struct {
	index   map[string]int32 // by user, where in members
	members []member
	// newest, with a collapse key: what the push takes the place of, as of members.
	newest []entry
	stale  []bool // the committer's: whom to read again

	// left: the append will not come.
	left atomic.Bool
}

func (p *preparation) outdate(user string) {
	if i, ok := p.index[user]; ok {
		p.stale[i] = true
	}
}

func (p *preparation) abandon() {
	if p != nil {
		p.left.Store(true)
	}
}

// prepare reads what r, a large append, will need. A result that is a
// duplicate's means that there is nothing left to do. Unless there is an
// error, r.prep is set.
func (s *Store) prepare(ctx context.Context, r *request) (history.AppendResult, error) {
	slices.SortFunc(r.targets, func(a, b target) int { return compareUsers(a.user, b.user) })
	p := &preparation{
		index:   make(map[string]int32, len(r.targets)),
		members: make([]member, len(r.targets)),
		stale:   make([]bool, len(r.targets)),
	}
	for i, t := range r.targets {
		p.index[t.user] = int32(i)
		p.members[i].user = t.user
	}
	known, err := s.announce(ctx, p, r.IdempotencyKey)
	if err == nil && !known.Duplicate {
		err = s.read(ctx, p)
	}
	if err == nil && !known.Duplicate && r.CollapseKey != "" {
		err = s.readNewest(ctx, p, r.CollapseKey)
	}
	if err != nil || known.Duplicate {
		p.abandon()
		return known, err
	}
	r.prep = p
	return history.AppendResult{}, nil
}

// announce tells the committer of p, and asks whether key was seen before.
func (s *Store) announce(ctx context.Context, p *preparation, key string) (history.AppendResult, error) {
	r := s.newRequest(opPrepare)
	r.IdempotencyKey, r.prep = key, p
	if err := s.submit(ctx, r); err != nil {
		p.abandon()
		return history.AppendResult{}, err
	}
	known, err := r.result, r.err
	s.recycle(r)
	return known, err
}

func (c *committer) beginPreparation(r *request) error {
	if seen, err := c.seen(r); err != nil || seen {
		return err
	}
	c.preps = append(c.preps, r.prep)
	return nil
}

// endPreparation forgets the one that ended, and those whose append will not
// come.
func (c *committer) endPreparation(ended *preparation) {
	c.preps = slices.DeleteFunc(c.preps, func(p *preparation) bool { return p == ended || p.left.Load() })
}

// trimmedAtOnce bounds the inboxes that are trimmed while others wait.
const trimmedAtOnce = 32

// read reads the metas, and has the inboxes that are due trimmed, some at a time.
func (s *Store) read(ctx context.Context, p *preparation) error {
	due, err := s.readMetas(ctx, p)
	if err != nil {
		return err
	}
	return s.trimDue(ctx, due, false)
}

// trimDue has the inboxes of due trimmed, some at a time. Lax trims need not be
// synced on their own.
func (s *Store) trimDue(ctx context.Context, due []target, lax bool) error {
	for some := range slices.Chunk(due, trimmedAtOnce) {
		r := s.newRequest(opTrim)
		r.targets, r.lax = append(r.targets, some...), lax
		if err := s.submit(ctx, r); err != nil {
			return err
		}
		err := r.err
		s.recycle(r)
		if err != nil {
			return err
		}
	}
	return nil
}

// readMetas reads the metas with one iterator, and returns the targets whose
// inboxes are due to be trimmed.
func (s *Store) readMetas(ctx context.Context, p *preparation) (due []target, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagMeta}, UpperBound: []byte{tagMeta + 1}})
	if err != nil {
		return nil, fmt.Errorf("reading metas: %w", err)
	}
	defer it.Close()
	now := s.conf.Now()
	var key []byte
	for i := range p.members {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		m := &p.members[i]
		key = appendMetaKey(key[:0], m.user)
		if !it.SeekGE(key) || !bytes.Equal(it.Key(), key) {
			continue
		}
		if m.meta, err = parseMeta(it.Value()); err != nil {
			return nil, fmt.Errorf("reading meta of a user: %w", err)
		}
		if _, _, trim := s.dueToTrim(m, now); trim {
			due = append(due, target{user: m.user})
		}
	}
	if err := it.Error(); err != nil {
		return nil, fmt.Errorf("reading metas: %w", err)
	}
	return due, nil
}

// readNewest reads the newest entries with a collapse key.
func (s *Store) readNewest(ctx context.Context, p *preparation, key string) error {
	p.newest = make([]entry, len(p.members))
	for i := range p.members {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var err error
		if p.newest[i], err = s.newest(&p.members[i], key); err != nil {
			return fmt.Errorf("reading what a message replaces: %w", err)
		}
	}
	return nil
}

// trimAll trims the inboxes of r's targets where they are due: touching does.
func (c *committer) trimAll(r *request) error {
	for _, t := range r.targets {
		if _, err := c.member(t.user); err != nil {
			return err
		}
	}
	return nil
}

// memberOf returns the state of r's target i in the running group: what is at
// hand, else what was prepared, else what the database says.
func (c *committer) memberOf(r *request, i int) (*member, error) {
	user := r.targets[i].user
	if r.prep == nil || r.prep.stale[i] {
		return c.member(user)
	}
	if c.members.get(user) != nil {
		return c.member(user)
	}
	m := &r.prep.members[i]
	return m, c.touch(m)
}
