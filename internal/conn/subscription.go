package conn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pushd.example/internal/conn/fanout"
	"pushd.example/internal/conn/feed"
	"pushd.example/internal/conn/receipts"
	"pushd.example/internal/history"
)

// ErrTruncated: retention dropped messages that a subscription had not read
// yet, or more recalls wait for it than are kept. Its client subscribes again
// with the cursor that it has, and is told of the gap. To learn of the recalls it
// reads history anew.
var ErrTruncated = errors.New("more was dropped or recalled than was read in time; subscribe again with the cursor")

// DisconnectedError ends a subscription that a backend disconnected.
type DisconnectedError struct{ Reason string }

func (e *DisconnectedError) Error() string {
	if e.Reason == "" {
		return "disconnected by the backend"
	}
	return "disconnected by the backend: " + e.Reason
}

// RefusedError is the answer to a user whom a backend does not let in for now.
type RefusedError struct{ For time.Duration }

func (e *RefusedError) Error() string { return "the backend does not let this user connect for now" }

// ErrCrowd: the user has as many connections as one may have.
var ErrCrowd = errors.New("this user has as many connections as one may have")

// Subscriber says who subscribes, and from where on.
type Subscriber struct {
	User      string
	Start     history.Start // its Limit and MaxBytes bound every page
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
	// Acked, unless nil, is where the user's read mark lies since an ack. It comes
	// after the first Before of Messages, and before the others.
	Acked  *history.ReadMark
	Before int
}

// Subscription is a connection that does not live on a loop: its owner calls
// Next for messages, one goroutine at a time. Live messages wait in a short
// queue; if the owner does not keep up, the subscription replays from history,
// so a slow reader costs no memory and loses nothing.
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

	mu      sync.Mutex // guards what follows
	reader  feed.Reader
	queue   []history.Message // the reader was moved past them
	recalls []history.Message
	// acked is the newest read mark that the owner does not know, nil if it knows
	// it. It comes after so many of queue.
	acked      *history.ReadMark
	ackedAfter int
	// excluded are messages that pages would bring although this connection
	// was excluded from them; the last few.
	excluded []history.ID
	sent     receipts.Sent
	handed   history.Cursor // where the reader was when Next returned

	something chan struct{} // has a token when there may be something to do
	ended     chan struct{} // closed by end
	once      sync.Once
	why       error // why it ended; read after ended is closed
}

// Bounds of what waits for the owner of a subscription.
const (
	maxQueued      = 256      // messages
	maxQueuedBytes = 64 << 10 // of their data
	// Ephemeral messages among them; those beyond are dropped.
	maxEphemeral      = 16
	maxEphemeralBytes = 64 << 10
	maxRecalls        = 1024
	maxExcluded       = 256
)

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
	if sub.begin() {
		// The unread of hello may be from before the ack.
		mark, err := s.cfg.Store.Ack(ctx, c.User, history.Cursor{}, "") // moves nothing
		if err != nil {
			sub.Close()
			return nil, err
		}
		sub.readMark(mark)
	}
	return sub, nil
}

// begin takes what came with Attach. It reports whether the read mark moved
// meanwhile.
func (s *Subscription) begin() (acked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acked, s.acked = s.acked != nil, nil
	s.reader.Begin(s.start.From)
	s.handed = s.start.From
	s.takePageLocked(&s.start.Page)
	return acked
}

// readMark takes a read mark that was asked for, unless a newer one came meanwhile.
func (s *Subscription) readMark(mark history.ReadMark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acked == nil {
		s.acked, s.ackedAfter = &mark, len(s.queue)
	}
}

// Hello returns the connection's id and where the subscription begins; the
// messages of its page come by Next.
func (s *Subscription) Hello() (id string, begin history.Attachment) { return s.id, s.start }

// Next waits for something to come. By calling it again the owner says that it
// has sent what Next returned before. Errors: ctx's; ErrTruncated;
// DisconnectedError; history.ErrClosed; those of Store.Page.
func (s *Subscription) Next(ctx context.Context) (Batch, error) {
	s.taken()
	for {
		if batch := s.next(); len(batch.Recalls) > 0 || len(batch.Messages) > 0 || batch.Acked != nil {
			return batch, nil
		}
		select {
		case <-s.ended:
			return Batch{}, s.why
		default:
		}
		read, err := s.read(ctx)
		if err != nil {
			return Batch{}, err
		}
		if read {
			continue
		}
		select {
		case <-s.something:
		case <-s.ended:
			return Batch{}, s.why
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// taken makes what Next returned last ready to report.
func (s *Subscription) taken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent.Taken(s.user, &s.reader, s.handed, time.Now())
}

// next takes what waits, but for messages that were recalled meanwhile.
func (s *Subscription) next() Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := Batch{Recalls: s.recalls, Messages: s.queue, Acked: s.acked, Before: s.ackedAfter}
	s.recalls, s.queue, s.acked, s.ackedAfter, s.handed = nil, nil, nil, 0, s.reader.At()
	if len(batch.Recalls) > 0 {
		before := s.leaveOutLocked(batch.Messages[:batch.Before], batch.Recalls)
		after := s.leaveOutLocked(batch.Messages[batch.Before:], batch.Recalls)
		batch.Messages, batch.Before = append(before, after...), len(before)
	}
	s.sent.HandOut(batch.Messages)
	return batch
}

// leaveOutLocked takes recalled messages out of some that are handed over.
func (s *Subscription) leaveOutLocked(messages, recalled []history.Message) []history.Message {
	gone := make(map[history.ID]bool, len(recalled))
	for i := range recalled {
		gone[recalled[i].ID] = true
	}
	kept := messages[:0]
	for _, m := range messages {
		switch {
		case !gone[m.ID]:
			kept = append(kept, m)
		case m.Kind != history.Broadcast:
			s.sent.Hold(s.reader.Unsent(feed.Inbox, m.ID))
		}
	}
	clear(messages[len(kept):])
	return kept
}

// read reads a page, if the reader wants one, into the queue, which is empty.
func (s *Subscription) read(ctx context.Context) (bool, error) {
	s.mu.Lock()
	if s.reader.State() == feed.Live {
		s.mu.Unlock()
		return false, nil
	}
	after := s.reader.Fetch()
	s.mu.Unlock()
	p, err := s.server.cfg.Store.Page(ctx, s.user, history.Query{
		Direction: history.Forward, After: after, Limit: s.bounds.Limit, MaxBytes: s.bounds.MaxBytes})
	if err != nil {
		return false, err
	}
	if p.Truncated {
		return false, ErrTruncated
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takePageLocked(&p)
	return true, nil
}

// takePageLocked puts a page into the queue. The reader is live when there is
// nothing more to read.
func (s *Subscription) takePageLocked(p *history.Page) {
	feed.LeaveOut(p, func(id history.ID) bool { return slices.Contains(s.excluded, id) })
	s.reader.Page(p, s.sent.Hold)
	s.queue = p.Messages
	if !s.reader.Next() {
		s.excluded = nil
	}
}

// Close ends the subscription and detaches it. Only the first call does
// anything.
func (s *Subscription) Close() {
	s.end(context.Canceled)
	if s.server.subscribers.remove(s) {
		s.server.reporter.Add(s.delivered())
		s.server.cfg.Store.Detach(s.user)
	}
}

// delivered takes what there is to report.
func (s *Subscription) delivered() history.Deliveries {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent.Collect()
}

// offer does with a delivery what the reader says. prev is that of the
// recipient.
func (s *Subscription) offer(d *history.Delivery, prev history.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wake()
	if d.Resync {
		s.reader.FallBehind()
		return
	}
	o := fanout.Offer(d)
	o.Prev = prev
	excluded := d.ExcludeConnection == s.id
	if o.Kind == feed.Message && s.fullLocked(d) {
		s.reader.FallBehind()
	}
	live := s.reader.State() >= feed.Live
	action, ended := s.reader.Offer(o, excluded)
	s.sent.Hold(ended)
	switch {
	case o.Kind == feed.Recall: // also while attaching: its page may have been read before
		s.recallLocked(d.Message)
	case o.Kind == feed.Acked: // also while attaching
		if !excluded {
			s.acked, s.ackedAfter = d.Acked, len(s.queue)
		}
	case action == feed.Send:
		s.queue = append(s.queue, d.Message)
	case action == feed.SendIfIdle:
		s.ephemeralLocked(d.Message)
	case action == feed.Miss:
		s.server.subscribers.dropped[catchingUp].Add(1)
	case action == feed.Read:
		s.reader.FallBehind()
	case excluded && !live && o.Kind == feed.Message:
		s.excluded = append(s.excluded, d.Message.ID)
		s.excluded = s.excluded[max(0, len(s.excluded)-maxExcluded):]
	}
}

// fullLocked reports whether the queue has no room for a message.
func (s *Subscription) fullLocked(d *history.Delivery) bool {
	return len(s.queue) >= maxQueued || len(s.queue) > 0 && dataBytes(s.queue)+len(d.Message.Data) > maxQueuedBytes
}

func dataBytes(messages []history.Message) (n int) {
	for i := range messages {
		n += len(messages[i].Data)
	}
	return n
}

// recallLocked keeps a recall. If too many wait the subscription ends, since no
// page would tell of them.
func (s *Subscription) recallLocked(m history.Message) {
	if len(s.recalls) == maxRecalls {
		s.end(ErrTruncated)
		return
	}
	s.recalls = append(s.recalls, m)
}

// ephemeralLocked queues an ephemeral message, if only few wait.
func (s *Subscription) ephemeralLocked(m history.Message) {
	n, bytes := 0, len(m.Data)
	for i := range s.queue {
		if s.queue[i].Ephemeral {
			n, bytes = n+1, bytes+len(s.queue[i].Data)
		}
	}
	if n == maxEphemeral || n > 0 && bytes > maxEphemeralBytes {
		s.server.subscribers.dropped[slow].Add(1)
		return
	}
	s.queue = append(s.queue, m)
}

// wake makes Next look.
func (s *Subscription) wake() {
	select {
	case s.something <- struct{}{}:
	default: // it will look anyway
	}
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
