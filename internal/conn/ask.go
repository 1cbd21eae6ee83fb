package conn

import (
	"context"
	"fmt"

	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// question is what another goroutine wants of a shard's loop: to run answer,
// or else drop.
type question struct {
	answer func()
	drop   func()
}

// questions are what others want of a shard.
type questions struct {
	mailbox reactor.Mailbox[question]
}

func (q *questions) empty() bool { return q.mailbox.Empty() }

// answer answers what was asked since the last turn.
func (q *questions) answer() {
	for _, one := range q.mailbox.Take(nil) {
		one.answer()
	}
}

// close drops what nobody will answer any more.
func (q *questions) close() {
	for _, one := range q.mailbox.Close() {
		one.drop()
	}
}

// ask runs f on the loop of sh and returns what f does. The error wraps
// history.ErrClosed if the loop has ended.
func ask[T any](ctx context.Context, sh *shard, f func(*shard) T) (answer T, err error) {
	answers := make(chan T, 1) // so that the loop never waits for who has given up
	q := question{
		answer: func() {
			defer close(answers)
			defer sh.loop.Recovered(0)
			answers <- f(sh)
		},
		drop: func() { close(answers) },
	}
	if !sh.questions.mailbox.Put(1, q) {
		q.drop()
	}
	sh.loop.Wake()
	select {
	case answer, ok := <-answers:
		if !ok {
			return answer, fmt.Errorf("asking for connections: %w", history.ErrClosed)
		}
		return answer, nil
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}
