package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A listener or watcher that lost its server pauses for a random time below a
// ceiling that doubles (full jitter), so that many do not return in one moment.
const (
	firstCeiling = 250 * time.Millisecond
	lastCeiling  = 10 * time.Second
)

// again runs session again and again until ctx ends, which is no error, or
// session fails for good. It says on stderr why it pauses.
func (c *call) again(ctx context.Context, session func(ctx context.Context) error) error {
	ceiling := firstCeiling
	for {
		began := time.Now()
		err := session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !temporary(err) {
			return err
		}
		var r retriable
		_ = errors.As(err, &r)
		if r.atOnce || time.Since(began) > lastCeiling {
			ceiling = firstCeiling
		}
		pause := r.after + rand.N(ceiling)
		fmt.Fprintf(c.err, "pushctl: %v; trying again in %v\n", c.explain(err), pause.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		ceiling = min(2*ceiling, lastCeiling)
	}
}
