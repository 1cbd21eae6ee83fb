package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	pushv1 "pushd.example/api/push/v1"
)

// publisher sends messages over one Publish stream and prints the replies in
// the order of the messages, although they come in any order.
type publisher struct {
	*call
	stream grpc.BidiStreamingClient[pushv1.PublishRequest, pushv1.PublishResponse]

	// replies are those that wait for one before them, by number; only the
	// receiver uses them. pushd reads about 1,000 requests ahead of its replies at
	// most, so there are no more than that.
	replies map[uint64]*pushv1.PublishResponse

	// mu guards what the sender and the receiver share.
	mu      sync.Mutex
	names   map[uint64]string // messages without a printed reply, by number
	overdue *time.Timer       // runs while a reply is awaited
}

func (c *call) publish(ctx context.Context, api pushv1.PushServiceClient, e envelope, next source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := api.Publish(ctx)
	if err != nil {
		return c.explain(err)
	}
	p := &publisher{call: c, stream: stream, names: map[uint64]string{}, replies: map[uint64]*pushv1.PublishResponse{}}
	p.overdue = time.AfterFunc(c.timeout, func() { cancel(errLate) })
	input := make(chan error, 1)
	go func() { input <- p.sendAll(e, next) }()
	refused, err := p.receiveAll()
	if err != nil {
		if errors.Is(context.Cause(ctx), errLate) {
			err = fmt.Errorf("%s gave no answer within %v (-timeout)", c.grpc, c.timeout)
		}
		return p.broken(c.explain(err))
	}
	// The server ends the stream only after the sender closed it.
	if err := <-input; err != nil {
		return err
	}
	if refused > 0 {
		return fmt.Errorf("%s refused, see above", count(int32(refused), "message"))
	}
	return nil
}

var errLate = errors.New("a reply is overdue")

// sendAll sends what next gives and closes the stream's sending side, also when
// the input fails, so that what was sent is answered.
func (p *publisher) sendAll(e envelope, next source) error {
	defer p.closeSend()
	for n := uint64(1); ; n++ {
		data, name, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p.sending(n, name)
		if err := p.stream.Send(e.request(n, data, e.keyOf(n))); err != nil {
			return nil // the receiver learns why
		}
	}
}

func (p *publisher) closeSend() {
	p.mu.Lock()
	p.overdue.Reset(p.timeout)
	p.mu.Unlock()
	_ = p.stream.CloseSend()
}

// sending notes that message n awaits its reply.
func (p *publisher) sending(n uint64, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names[n] = name
	p.overdue.Reset(p.timeout)
}

// receiveAll prints replies until the server ends the stream, and returns how
// many of them were refusals.
func (p *publisher) receiveAll() (refused int, err error) {
	for n := uint64(1); ; {
		r, err := p.stream.Recv()
		if errors.Is(err, io.EOF) {
			return refused, nil
		}
		if err != nil {
			return refused, err
		}
		p.replies[r.GetNumber()] = r
		for ; p.replies[n] != nil; n++ {
			bad, err := p.answer(p.answered(n), p.replies[n])
			if err != nil {
				return refused, err
			}
			if bad {
				refused++
			}
			delete(p.replies, n)
		}
	}
}

// answered forgets message n and returns its name. The clock stops when no reply
// is awaited any more: stdin may be a person who thinks.
func (p *publisher) answered(n uint64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := p.names[n]
	delete(p.names, n)
	if len(p.names) == 0 {
		p.overdue.Stop()
	} else {
		p.overdue.Reset(p.timeout)
	}
	return name
}

// broken says which messages have no reply when the stream broke.
func (p *publisher) broken(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.names) == 0 {
		return err
	}
	first := slices.Min(slices.Collect(maps.Keys(p.names)))
	return fmt.Errorf("%w; %s from %s on may be stored or not: send again, with the same -idempotency-key", err, count(int32(len(p.names)), "message"), p.names[first])
}
