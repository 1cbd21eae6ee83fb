package conn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pushd.example/internal/history"
)

// ErrTruncated: retention dropped messages that a subscription had not read
// yet, or more recalls wait for it than are kept. Its client begins again with
// the cursor that it has, and learns of a gap in history; of recalls it learns
// by reading history anew.
var ErrTruncated = errors.New("more was dropped or recalled than was read in time; subscribe again with the cursor")

// DisconnectedError is how a subscription ends that a backend disconnected.
type DisconnectedError struct{ Reason string }

func (e *DisconnectedError) Error() string {
	if e.Reason == "" {
		return "disconnected by the backend"
	}
	return "disconnected by the backend: " + e.Reason
}

// RefusedError is what a user gets whom a backend does not let in for now.
type RefusedError struct{ For time.Duration }

func (e *RefusedError) Error() string { return "the backend does not let this user connect for now" }

// ErrCrowd: the user has as many connections as one may have.
var ErrCrowd = errors.New("this user has as many connections as one may have")

// Subscriber says who subscribes, and from where on.
type Subscriber struct {
	User      string
	Start     history.Start // its Limit and MaxBytes bound every batch
	Address   string        // the peer's
	UserAgent string
}

// Batch is what comes next on a subscription.
type Batch struct {
	// Recalls are messages that were taken back, without their data. None of
	// them is among Messages, nor comes later.
	Recalls []history.Message
	// Messages, oldest first.
	Messages []history.Message
}

// Subscription is a connection that does not live on a loop: its owner calls
// Next for messages, one goroutine at a time. It holds no messages: deliveries
// only say how far there is something to read, and Next reads the history after
// the cursor. So its order is the history's, nothing is lost or sent twice, and
// a slow reader costs no memory.
// Only of ephemeral messages and of recalls it holds a few.
type Subscription struct {
	// Set once.
	server  *Server
	user    string
	id      string
	since   time.Time
	address string
	agent   string
	bounds  history.Start

	// Start is where the subscription begins, and what Hello tells of it.
	start    history.Attachment
	attached atomic.Bool

	// Next's own.
	cursor history.Cursor
	first  *history.Page // came with Attach, not handed out yet
	more   bool          // the last page was not the last
	live   bool          // it has caught up
	track  track
	handed handed // what Next returned last

	mu   sync.Mutex // guards what follows
	told told
	done handed // what the owner has dealt with

	something chan struct{} // has a token when there may be something to read
	ended     chan struct{} // closed by end
	once      sync.Once
	why       error // why it ended; read after ended is closed
}

// Subscribe attaches a subscription, until Close. Errors: those of
// Store.Attach, RefusedError, ErrCrowd, history.ErrClosed.
func (s *Server) Subscribe(ctx context.Context, c Subscriber) (*Subscription, error) {
	sh, _ := s.shardOf(c.User)
	left, err := ask(ctx, sh, func(sh *shard) time.Duration { return sh.refused.left(c.User, sh.loop.Now()) })
	if err != nil {
		return nil, err
	}
	if left > 0 {
		return nil, &RefusedError{left}
	}
	sub := &Subscription{
		server: s, user: c.User, since: time.Now().UTC().Truncate(time.Second), address: c.Address,
		agent: agentOf([]byte(c.UserAgent)), bounds: c.Start,
		id:        s.idPrefix + "s" + strconv.FormatUint(s.subscribed.Add(1), 36),
		something: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	// Among the subscribers before it is attached: what is appended from then
	// on wakes it.
	if !s.subscribers.add(sub) {
		return nil, fmt.Errorf("subscribing: %w", history.ErrClosed)
	}
	if sub.start, err = s.cfg.Store.Attach(ctx, c.User, c.Start); err != nil {
		s.subscribers.remove(sub)
		return nil, err
	}
	if s.crowded(sub.start) {
		sub.Close()
		return nil, ErrCrowd
	}
	sub.attached.Store(true)
	p := &sub.start.Page
	sub.cursor, sub.first, sub.more, sub.live = p.Cursor, p, p.HasMore, !p.HasMore
	sub.track = track{sub.start.From.Inbox, sub.start.From.Inbox}
	return sub, nil
}

// Hello returns the connection's id and where the subscription begins; the
// messages of its page come by Next.
func (s *Subscription) Hello() (id string, begin history.Attachment) { return s.id, s.start }

// Next waits for something to come. Who calls it again has sent what it returned
// before. Errors: ctx's; ErrTruncated; DisconnectedError; history.ErrClosed; those
// of Store.Page.
func (s *Subscription) Next(ctx context.Context) (Batch, error) {
	s.passOn()
	return s.next(ctx)
}

func (s *Subscription) next(ctx context.Context) (Batch, error) {
	if first := s.first; first != nil {
		s.first = nil
		if s.handOut(first); len(first.Messages) > 0 {
			return Batch{Messages: first.Messages}, nil
		}
	}
	for {
		if !s.more {
			select {
			case <-s.something:
			case <-s.ended:
				return Batch{}, s.why
			case <-ctx.Done():
				return Batch{}, ctx.Err()
			}
		}
		// Before a page is read, which is then without them.
		if recalls := s.takeRecalls(); len(recalls) > 0 {
			s.look() // there may be messages too
			return Batch{Recalls: recalls}, nil
		}
		messages, err := s.read(ctx)
		if err != nil || len(messages) > 0 {
			return Batch{Messages: messages}, err
		}
	}
}

func (s *Subscription) read(ctx context.Context) ([]history.Message, error) {
	select {
	case <-s.ended:
		return nil, s.why
	default:
	}
	told := s.toldSoFar()
	p, err := s.server.cfg.Store.Page(ctx, s.user, history.Query{
		Direction: history.Forward, After: s.cursor, Limit: s.bounds.Limit, MaxBytes: s.bounds.MaxBytes})
	if err != nil {
		return nil, err
	}
	if p.Truncated {
		return nil, ErrTruncated
	}
	s.take(&p, told)
	s.handOut(&p)
	return s.withBrief(p.Messages, told.brief), nil
}

// take moves the cursor past what of a page the subscription may have, and takes
// the rest out. A live one leaves what it has not been told of: what it is told of
// also says who is not to get it.
func (s *Subscription) take(p *history.Page, told told) {
	end := p.Cursor
	if told.missed { // until it has caught up again, whatever number of pages that takes
		s.live = false
	}
	if s.live {
		end = end.Min(told.upTo.Max(s.cursor))
	}
	moved := s.cursor.Max(end) != s.cursor
	s.cursor = s.cursor.Max(end)
	s.more = p.HasMore && moved
	s.live = s.live || !p.HasMore
	p.Cursor = s.cursor
	leaveOut(p, func(m *history.Message) bool {
		return m.ID > s.cursor.In(m.Kind) || slices.Contains(told.excluded, m.ID)
	})
}

// Close ends the subscription and detaches it. Only the first call does
// anything.
func (s *Subscription) Close() {
	s.end(context.Canceled)
	if s.server.subscribers.remove(s) {
		s.server.unnoted.add(s.delivered())
		s.server.cfg.Store.Detach(s.user)
	}
}

// told is what a subscription knows of deliveries.
type told struct {
	brief    []history.Message // ephemeral ones, which are in no history
	upTo     history.Cursor    // the last in each log
	missed   bool              // some may have been left out
	excluded []history.ID      // it is not to get these, the last few
	recalls  []history.Message
}

// maxExcluded bounds told.excluded: a subscription that is so far behind gets
// what it need not.
const maxExcluded = 256

// maxBrief bounds told.brief, in messages and in bytes.
const (
	maxBrief      = 16
	maxBriefBytes = 64 << 10
)

// maxRecalls is how many recalls wait for a subscription at most.
const maxRecalls = 1024

// tell notes a delivery, and makes Next read.
func (s *Subscription) tell(d *history.Delivery) {
	s.mu.Lock()
	switch id := d.Message.ID; {
	case d.Message.Ephemeral:
		s.tellBriefLocked(d)
	case d.Recall && len(s.told.recalls) == maxRecalls:
		s.end(ErrTruncated)
	case d.Recall:
		s.told.recalls = append(s.told.recalls, d.Message)
	case d.Resync:
		s.told.missed = true
	case d.Message.Kind == history.Broadcast:
		s.told.upTo.Broadcast = id
	default:
		s.told.upTo.Inbox = id
	}
	if d.ExcludeConnection != "" && d.ExcludeConnection == s.id && !d.Message.Ephemeral {
		s.told.excluded = append(s.told.excluded, d.Message.ID)
		s.told.excluded = s.told.excluded[max(0, len(s.told.excluded)-maxExcluded):]
	}
	s.mu.Unlock()
	s.look()
}

// look makes Next read.
func (s *Subscription) look() {
	select {
	case s.something <- struct{}{}:
	default: // it will look anyway
	}
}

func (s *Subscription) takeRecalls() []history.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	recalls := s.told.recalls
	s.told.recalls = nil
	return recalls
}

// toldSoFar returns what was told, for one page.
func (s *Subscription) toldSoFar() told {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.told
	s.told.missed, s.told.brief = false, nil
	return t
}

func (s *Subscription) tellBriefLocked(d *history.Delivery) {
	size := len(d.Message.Data)
	for _, m := range s.told.brief {
		size += len(m.Data)
	}
	switch {
	case d.ExcludeConnection == s.id:
	case len(s.told.brief) == maxBrief, len(s.told.brief) > 0 && size > maxBriefBytes:
		s.server.subscribers.dropped[slow].Add(1)
	default:
		s.told.brief = append(s.told.brief, d.Message)
	}
}

// withBrief puts ephemeral messages to where they came among others. Who has
// more to catch up with gets none.
func (s *Subscription) withBrief(batch, brief []history.Message) []history.Message {
	if s.more {
		s.server.subscribers.dropped[catchingUp].Add(uint64(len(brief)))
		return batch
	}
	batch = append(batch, brief...)
	slices.SortStableFunc(batch, func(a, b history.Message) int { return cmp.Compare(a.ID, b.ID) })
	return batch
}

// end makes Next return why.
func (s *Subscription) end(why error) {
	s.once.Do(func() {
		s.why = why
		close(s.ended)
	})
}

func (s *Subscription) describe() Connection {
	return Connection{
		ID: s.id, User: s.user, Node: s.server.cfg.Node, Since: s.since,
		Address: s.address, UserAgent: s.agent, Transport: GRPC,
	}
}
