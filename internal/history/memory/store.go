package memory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
	"pushd.example/internal/history/eventlog"
	"pushd.example/internal/history/watch"
)

// Config is what a Store needs; the zero value works.
type Config struct {
	// Retention says what is shown; its zero fields take the defaults.
	Retention history.Retention
	// Events is how many events are kept. Default watch.EventsKept.
	Events int
	// Now is the clock of ids, TTLs and ages; nil means time.Now.
	Now func() time.Time
	// Align, if set, returns the first id from the given one on that a push may
	// have: engines whose partitions share out the ids are compared with it.
	Align func(history.Push, history.ID) history.ID
}

// Store is a history.Store that keeps everything in memory.
type Store struct {
	// Set once.
	retention history.Retention
	now       func() time.Time
	align     func(history.Push, history.ID) history.ID
	events    *eventlog.Log

	// turn has room for one token, whose owner alone stores and delivers. So
	// deliveries come in id order, while readers, who need only mu, continue. It is
	// a channel so that waiting for it can end with a context. Taken before mu.
	turn chan struct{}

	// mu makes what each method does to the fields below one step.
	mu          sync.Mutex
	closed      bool
	last        history.ID
	inboxes     map[string]log
	broadcasts  log
	keys        map[string]history.ID
	marks       map[string]history.Cursor
	acks        map[string][]ack // of inboxes, the last few
	delivered   map[string]engine.DeliveredRanges
	deliveredTo map[history.ID]int // broadcasts, to how many connections
	asked       []asked            // pushes with UnackedAfter, in the order of ids
	attached    map[string]int     // connections by user
	groups      map[string]set     // members by group; none is empty
	deliver     func([]history.Delivery)
}

var (
	_ history.Store    = (*Store)(nil)
	_ history.Groups   = (*Store)(nil)
	_ watch.Events     = (*Store)(nil)
	_ history.Messages = (*Store)(nil)
)

// New returns an empty Store, or an error if c.Retention is negative.
func New(c Config) (*Store, error) {
	if err := c.Retention.Check(); err != nil {
		return nil, fmt.Errorf("opening history in memory: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Align == nil {
		c.Align = func(_ history.Push, id history.ID) history.ID { return id }
	}
	if c.Events == 0 {
		c.Events = watch.EventsKept
	}
	return &Store{
		retention:   c.Retention.WithDefaults(),
		now:         c.Now,
		align:       c.Align,
		events:      eventlog.New(c.Now, c.Events),
		turn:        make(chan struct{}, 1),
		inboxes:     map[string]log{},
		keys:        map[string]history.ID{},
		marks:       map[string]history.Cursor{},
		acks:        map[string][]ack{},
		delivered:   map[string]engine.DeliveredRanges{},
		deliveredTo: map[history.ID]int{},
		attached:    map[string]int{},
		groups:      map[string]set{},
	}, nil
}

// Append implements history.Store.
func (s *Store) Append(ctx context.Context, p history.Push) (history.AppendResult, error) {
	if err := ctx.Err(); err != nil {
		return history.AppendResult{}, err
	}
	if err := p.Check(); err != nil {
		return history.AppendResult{}, err
	}
	var result history.AppendResult
	err := s.inTurn(ctx, func() (handOver func(), err error) {
		result, handOver, err = s.store(p)
		return handOver, err
	})
	if err != nil {
		return history.AppendResult{}, err
	}
	return result, nil
}

// inTurn calls change, and then the delivery that it returns, nil if there is none,
// while no other call stores or delivers.
func (s *Store) inTurn(ctx context.Context, change func() (handOver func(), err error)) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	handOver, err := change()
	if err != nil || handOver == nil {
		<-s.turn
		return err
	}
	// In a goroutine of its own, so that a caller whose context ends need not
	// wait for a slow follower; the turn ends with the delivery all the same.
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { <-s.turn }()
		handOver()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// store makes p visible and returns what is left to do before Append may
// return, nil if that is nothing. Its caller has the turn.
func (s *Store) store(p history.Push) (history.AppendResult, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return history.AppendResult{}, nil, history.ErrClosed
	}
	now := s.now()
	if id, ok := s.keys[p.IdempotencyKey]; ok && now.Before(id.Time().Add(s.retention.IdempotencyKeys)) {
		return history.AppendResult{ID: id, Duplicate: true}, nil, nil
	}
	s.last = s.align(p, engine.NextID(s.last, now))
	if p.IdempotencyKey != "" {
		s.keys[p.IdempotencyKey] = s.last
	}
	e := newEntry(s.last, now, p, bytes.Clone(p.Data))
	d, result := history.Delivery{Message: e.Message, ExcludeConnection: p.ExcludeConnection}, history.AppendResult{ID: e.ID}
	switch {
	case p.Ephemeral:
		s.ephemeralLocked(p, &d, &result)
	case p.Kind == history.Broadcast:
		s.broadcastLocked(e, &d, &result)
	default:
		s.inboxLocked(e, p.Users, &d, &result)
		s.askLocked(e.ID, now, p)
	}
	if s.deliver == nil || result.Online == 0 {
		return result, nil, nil
	}
	deliver := s.deliver
	return result, func() { deliver([]history.Delivery{d}) }, nil
}

func (s *Store) broadcastLocked(e entry, d *history.Delivery, r *history.AppendResult) {
	d.Prev = s.broadcasts.head()
	s.broadcasts.replace(e.CollapseKey, 0)
	s.broadcasts = append(s.broadcasts, e)
	for _, n := range s.attached {
		r.Online += n
	}
	r.OnlineUsers = len(s.attached)
}

func (s *Store) inboxLocked(e entry, users []string, d *history.Delivery, r *history.AppendResult) {
	for i, user := range users {
		if slices.Contains(users[:i], user) {
			continue
		}
		if n := s.attached[user]; n > 0 {
			d.Recipients = append(d.Recipients, history.Recipient{User: user, Prev: s.inboxes[user].head()})
			r.Online += n
			r.OnlineUsers++
		}
		if len(s.inboxes[user]) == 0 {
			r.Unknown++
		}
		s.inboxes[user].replace(e.CollapseKey, s.marks[user].Inbox)
		s.inboxes[user] = append(s.inboxes[user], e)
		r.Recipients++
	}
}

func (s *Store) ephemeralLocked(p history.Push, d *history.Delivery, r *history.AppendResult) {
	for user, n := range s.attached {
		switch {
		case p.Kind == history.Broadcast:
		case slices.Contains(p.Users, user):
			d.Recipients = append(d.Recipients, history.Recipient{User: user})
		default:
			continue
		}
		r.Online += n
		r.OnlineUsers++
	}
}

// Attach implements history.Store.
func (s *Store) Attach(ctx context.Context, user string, start history.Start) (history.Attachment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(ctx, user); err != nil {
		return history.Attachment{}, err
	}
	if err := start.Check(); err != nil {
		return history.Attachment{}, err
	}
	v := s.viewLocked(user)
	a := history.Attachment{From: v.head, Page: history.Page{Cursor: v.head}}
	if start.At != history.StartNow {
		from := s.marks[user]
		if start.At == history.StartAfter {
			from = start.Cursor
		}
		from, err := engine.Clamp(from, v.head, v.now)
		if err != nil {
			return history.Attachment{}, err
		}
		a = history.Attachment{From: from, Page: v.forward(from, start.Limit, start.MaxBytes)}
	}
	a.Page.Unread = len(v.after(s.marks[user]))
	s.attached[user]++
	a.Connections = s.attached[user]
	if a.Connections == 1 {
		s.events.Attached(user)
	}
	return a, nil
}

// Detach implements history.Store.
func (s *Store) Detach(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached[user]--
	if s.attached[user] <= 0 {
		delete(s.attached, user)
		s.events.Detached(user)
	}
}

// Page implements history.Store.
func (s *Store) Page(ctx context.Context, user string, q history.Query) (history.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(ctx, user); err != nil {
		return history.Page{}, err
	}
	if err := q.Check(); err != nil {
		return history.Page{}, err
	}
	v := s.viewLocked(user)
	unread := v.after(s.marks[user])
	if q.Unread {
		v.shown = unread
	}
	var p history.Page
	switch q.Direction {
	case history.Newest:
		p = v.backward(history.MaxID+1, q.Limit, q.MaxBytes)
	case history.Backward:
		p = v.backward(q.Before, q.Limit, q.MaxBytes)
	case history.Forward:
		after, err := engine.Clamp(q.After, v.head, v.now)
		if err != nil {
			return history.Page{}, err
		}
		if q.Unread {
			after = after.Max(s.marks[user])
		}
		p = v.forward(after, q.Limit, q.MaxBytes)
	}
	p.Unread = len(unread)
	return p, nil
}

// Ack implements history.Store.
func (s *Store) Ack(ctx context.Context, user string, c history.Cursor, exclude string) (mark history.ReadMark, err error) {
	if err := ctx.Err(); err != nil {
		return mark, err
	}
	err = s.inTurn(ctx, func() (handOver func(), err error) {
		mark, handOver, err = s.ack(ctx, user, c, exclude)
		return handOver, err
	})
	if err != nil {
		return history.ReadMark{}, err
	}
	return mark, nil
}

// ack moves the read mark and returns what is left to do. Its caller has the turn.
func (s *Store) ack(ctx context.Context, user string, c history.Cursor, exclude string) (history.ReadMark, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(ctx, user); err != nil {
		return history.ReadMark{}, nil, err
	}
	v := s.viewLocked(user)
	c, err := engine.Clamp(c, v.head, v.now)
	if err != nil {
		return history.ReadMark{}, nil, err
	}
	s.ackLocked(user, c.Inbox)
	to := s.marks[user].Max(c)
	mark := history.ReadMark{Cursor: to, Unread: len(v.after(to))}
	if to == s.marks[user] {
		return mark, nil, nil
	}
	s.marks[user] = to
	s.events.Record(watch.Event{Kind: watch.Acked, User: user, Cursor: to})
	if s.deliver == nil || s.attached[user] == 0 {
		return mark, nil, nil
	}
	deliver, d := s.deliver, history.Delivery{
		Message:           history.Message{ID: max(v.head.Inbox, v.head.Broadcast)},
		Recipients:        []history.Recipient{{User: user}},
		ExcludeConnection: exclude,
		Acked:             &mark,
	}
	return mark, func() { deliver([]history.Delivery{d}) }, nil
}

func (s *Store) usableLocked(ctx context.Context, user string) error {
	if err := s.openLocked(ctx); err != nil {
		return err
	}
	return history.CheckUser(user)
}

func (s *Store) openLocked(ctx context.Context) error {
	if s.closed {
		return history.ErrClosed
	}
	return ctx.Err()
}

// ReadEvents implements watch.Events.
func (s *Store) ReadEvents(ctx context.Context, q watch.Query) (watch.Page, error) {
	return s.events.Read(ctx, q, s.recordUnacked)
}

// Follow implements history.Store.
func (s *Store) Follow(deliver func([]history.Delivery)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return func() {}
	}
	if s.deliver != nil {
		panic("memory: a second follower")
	}
	s.deliver = deliver
	return sync.OnceFunc(func() {
		s.turn <- struct{}{}
		defer func() { <-s.turn }()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.deliver = nil
	})
}

// Ready implements history.Store.
func (s *Store) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return history.ErrClosed
	}
	return nil
}

// Close implements history.Store.
func (s *Store) Close() error {
	s.events.Close()
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
