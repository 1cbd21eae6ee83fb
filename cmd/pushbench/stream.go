//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/metadata"

	pushv1 "pushd.example/api/push/v1"
)

// stream publishes over one Publish stream that all callers share: each has one
// request in flight, so -callers is how many the stream has. When it breaks, all
// in flight fail, and the next call opens another.
type stream struct {
	rpc *rpc

	mu   sync.Mutex // what is open changes only with it
	open *flow      // nil: to be opened
}

func (s *stream) close() {}

func (s *stream) publish(ctx context.Context, m message, data []byte) error {
	f, err := s.flow()
	if err == nil {
		err = f.do(ctx, s.rpc, m, data)
	}
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	return nil
}

// flow returns the open stream, or opens one. It ends with its connection.
func (s *stream) flow() (*flow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil && !s.open.ended() {
		return s.open, nil
	}
	ctx := context.Background()
	if s.rpc.key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.rpc.key)
	}
	out, err := s.rpc.client.Publish(ctx)
	if err != nil {
		return nil, err
	}
	s.open = &flow{stream: out, waiting: map[uint64]chan error{}}
	go s.open.read()
	return s.open, nil
}

// flow is one Publish stream.
type flow struct {
	stream interface {
		Send(*pushv1.PublishRequest) error
		Recv() (*pushv1.PublishResponse, error)
	}

	sending sync.Mutex // held while Send is called

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan error // callers, by the number of their request
	err     error                 // why it ended
}

func (f *flow) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil
}

// do sends m and waits for its reply.
func (f *flow) do(ctx context.Context, r *rpc, m message, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	number, reply, err := f.enter()
	if err != nil {
		return err
	}
	f.sending.Lock()
	err = f.stream.Send(r.request(number, m, data))
	f.sending.Unlock()
	if err != nil && err != io.EOF { // which means that read learns why
		return err
	}
	select {
	case err = <-reply:
		return err
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.waiting, number)
		return ctx.Err()
	}
}

func (f *flow) enter() (uint64, chan error, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, nil, f.err
	}
	f.last++
	reply := make(chan error, 1)
	f.waiting[f.last] = reply
	return f.last, reply, nil
}

// read gives replies to who waits for them, until the stream ends.
func (f *flow) read() {
	for {
		reply, err := f.stream.Recv()
		f.mu.Lock()
		if err != nil {
			f.err = err
			for number, to := range f.waiting {
				to <- err
				delete(f.waiting, number)
			}
			f.mu.Unlock()
			return
		}
		to, ok := f.waiting[reply.GetNumber()]
		delete(f.waiting, reply.GetNumber())
		f.mu.Unlock()
		if ok {
			to <- replyError(reply)
		}
	}
}

func replyError(reply *pushv1.PublishResponse) error {
	if e := reply.GetError(); e != nil {
		return errors.New(e.GetMessage())
	}
	return nil
}

// request is m as a request on a stream.
func (r *rpc) request(number uint64, m message, data []byte) *pushv1.PublishRequest {
	req := &pushv1.PublishRequest{Number: number}
	switch m.kind {
	case unicast:
		req.Send = &pushv1.PublishRequest_Unicast{Unicast: r.unicast(m, data)}
	case multicast:
		req.Send = &pushv1.PublishRequest_Multicast{Multicast: r.multicast(m, data)}
	default:
		req.Send = &pushv1.PublishRequest_Broadcast{Broadcast: &pushv1.BroadcastRequest{Data: data}}
	}
	return req
}
