//go:build linux

package main

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"time"
)

// storm publishes as before while a crowd connects as fast as it can, and until
// the last of it is in. None of the messages is for the crowd, so whatever
// happens to a delivery happens because of it.
func (b *bench) storm(ctx context.Context) error {
	cpu0, err := b.cfg.server.cpu()
	if err != nil {
		return err
	}
	in := make(chan struct{})
	d := &drive{load: b.cfg.load, plan: b.plan, run: 1 + rand.Uint32N(maxRun), clock: b.clock, publisher: b.publisher, fleet: b.fleet, stop: in}
	d.load.duration, d.load.messages = b.cfg.connect+b.cfg.load.wait, 0
	if err := b.fleet.begin(ctx, d.run); err != nil {
		return err
	}
	b.progress.phase("storm", d)
	var driven *driven
	sent := make(chan error)
	go func() {
		out, err := d.send(ctx)
		driven = out
		sent <- err
	}()
	start := time.Now()
	failed := b.open(ctx, b.crowd, b.cfg.storm)
	took := time.Since(start)
	close(in)
	failed = errors.Join(failed, <-sent)
	failed = errors.Join(failed, b.fleet.settle(ctx, uint64(d.expected.Load()), d.load.wait))
	cpu1, err := b.cfg.server.cpu()
	return errors.Join(failed, err, b.stormed(ctx, driven, took, cpu1-cpu0))
}

// stormed collects what became of it.
func (b *bench) stormed(ctx context.Context, driven *driven, took, cpu time.Duration) error {
	ctx = context.WithoutCancel(ctx)
	got, err := b.fleet.report(ctx)
	if err != nil {
		return err
	}
	crowd, err := b.crowd.report(ctx)
	if err != nil {
		return err
	}
	push := b.report.pushed(pushed{
		driven: driven, result: &got, tally: b.fleet.tally(),
		verdict: b.plan.judge(driven.calls, driven.failed, got.Counts),
	})
	cpu -= time.Duration(b.report.Push.ServerCPUMessage * 1e3 * float64(driven.calls))
	b.report.stormed(newConnectReport(b.crowd.tally(), &crowd, took, cpu), push)
	maps.Copy(b.report.Errors, crowd.Errors)
	return nil
}
