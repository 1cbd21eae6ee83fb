//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// stdio is where the program reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// run is the program: args without the program's name.
func run(ctx context.Context, args []string, getenv func(string) string, std stdio) error {
	if len(args) == 1 && args[0] == holdCommand {
		return runHolder(std.in, std.out)
	}
	cfg, err := parseConfig(args, getenv, std.err)
	if err != nil {
		return err
	}
	b, err := newBench(cfg, std.err)
	if err != nil {
		return err
	}
	defer b.close()
	err = b.run(ctx)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	// Figures from before an error are worth printing, too.
	return errors.Join(err, b.report.print(std.out, cfg.json))
}

// bench is one run of the program.
type bench struct {
	cfg       *config
	clock     clock
	fleet     *fleet
	crowd     *fleet // who comes in the storm; of no processes without one
	plan      *plan
	publisher func() (publisher, error)
	close     func()
	progress  *progress
	report    report
}

// newBench checks what can be checked before anything is started, and starts
// the processes that will hold connections.
func newBench(cfg *config, stderr io.Writer) (*bench, error) {
	b := &bench{cfg: cfg, report: newReport(cfg)}
	var err error
	if b.clock, err = newClock(); err != nil {
		return nil, err
	}
	closePublishers := func() {}
	if cfg.mode != "connect" {
		if b.plan, err = newPlan(cfg.weights, cfg.fan, cfg.hold, 1); err != nil {
			return nil, err
		}
		if b.publisher, closePublishers, err = newPublishers(cfg); err != nil {
			return nil, err
		}
	}
	if b.fleet, err = startFleet(cfg.hold, cfg.procs); err != nil {
		closePublishers()
		return nil, err
	}
	if b.crowd, err = startFleet(cfg.crowd(), cfg.stormProcs); err != nil {
		b.fleet.stop()
		closePublishers()
		return nil, err
	}
	b.progress = newProgress(stderr, cfg, b.fleet)
	b.close = func() {
		b.progress.stop()
		b.crowd.stop()
		b.fleet.stop()
		closePublishers()
	}
	return b, nil
}

// run is the order of events.
func (b *bench) run(ctx context.Context) error {
	if err := b.connect(ctx); err != nil {
		return err
	}
	if b.plan == nil {
		return nil
	}
	if b.cfg.warmup > 0 {
		warm := b.cfg.load
		warm.duration, warm.messages = b.cfg.warmup, 0
		if _, err := b.drive(ctx, "warming up", warm); err != nil {
			return err
		}
	}
	if err := b.push(ctx); err != nil || b.cfg.storm == 0 {
		return err
	}
	return b.storm(ctx)
}

// connect opens all connections, step by step.
func (b *bench) connect(ctx context.Context) error {
	var cpu, took time.Duration
	var failed error
	for _, n := range b.cfg.steps {
		b.progress.phase("connecting", nil)
		cpu0, err := b.cfg.server.cpu()
		if err != nil {
			return err
		}
		start := time.Now()
		failed = b.open(ctx, b.fleet, n)
		took += time.Since(start)
		cpu1, err := b.cfg.server.cpu()
		if err != nil {
			return errors.Join(failed, err)
		}
		cpu += cpu1 - cpu0
		if failed != nil {
			break
		}
		if err := b.measureMemory(ctx, n); err != nil {
			return err
		}
	}
	got, err := b.fleet.report(context.WithoutCancel(ctx))
	if err != nil {
		return errors.Join(failed, err)
	}
	b.report.connected(b.fleet.tally(), &got, took, cpu)
	return failed
}

// open opens connections until f holds n.
func (b *bench) open(ctx context.Context, f *fleet, n int) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.connect)
	defer cancel()
	err := f.open(ctx, n)
	t := f.tally()
	switch {
	case errors.Is(err, context.DeadlineExceeded) && t.Greeting > 0 && t.Open == 0:
		return fmt.Errorf("%d connections were upgraded, and none got the %d messages that it waits for: for this server set -hello, or -send", t.Greeting, b.cfg.hold.Hello)
	case errors.Is(err, context.DeadlineExceeded) && t.Retried > 0:
		return fmt.Errorf("%d of %d connections were open after %v; the server put handshakes off %d times (503): is it full?", t.Open, n, b.cfg.connect, t.Retried)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%d of %d connections were open after %v: use a longer -connect-timeout or fewer connections", t.Open, n, b.cfg.connect)
	case err != nil:
		return err
	case t.Open < n:
		return fmt.Errorf("%d of %d connections could be opened (why: see errors)", t.Open, n)
	}
	return nil
}

// measureMemory reads how much the server holds after a rest.
func (b *bench) measureMemory(ctx context.Context, conns int) error {
	if b.cfg.server.pid == 0 {
		return nil
	}
	b.progress.phase("resting", nil)
	if b.cfg.gcURL != "" {
		if err := get(ctx, b.cfg.gcURL); err != nil {
			return fmt.Errorf("-gc-url: %w", err)
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.cfg.settle):
	}
	m, err := b.cfg.server.memory()
	if err != nil {
		return err
	}
	b.report.Memory.Steps = append(b.report.Memory.Steps, memoryStep{Connections: conns, memory: m})
	return nil
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// push does what all the rest is for, and measures it.
func (b *bench) push(ctx context.Context) error {
	cpu0, err := b.cfg.server.cpu()
	if err != nil {
		return err
	}
	before, err := b.fleet.report(ctx)
	if err != nil {
		return err
	}
	own := ownCPU()
	d, failed := b.drive(ctx, "publishing", b.cfg.load)
	cpu1, err := b.cfg.server.cpu()
	failed = errors.Join(failed, err)
	own = ownCPU() - own
	got, err := b.fleet.report(context.WithoutCancel(ctx))
	if err != nil {
		return errors.Join(failed, err)
	}
	b.report.Push = b.report.pushed(pushed{
		driven: d, result: &got, tally: b.fleet.tally(), verdict: b.plan.judge(d.calls, d.failed, got.Counts),
		serverCPU: cpu1 - cpu0, clientCPU: own + got.CPU - before.CPU,
	})
	return failed
}

// drive sends the messages of one run and waits until they are delivered.
func (b *bench) drive(ctx context.Context, phase string, l load) (*driven, error) {
	d := &drive{load: l, plan: b.plan, run: 1 + rand.Uint32N(maxRun), clock: b.clock, publisher: b.publisher, fleet: b.fleet}
	if err := b.fleet.begin(ctx, d.run); err != nil {
		return newDriven(), err
	}
	b.progress.phase(phase, d)
	out, err := d.send(ctx)
	if err != nil {
		return out, err
	}
	return out, b.fleet.settle(ctx, uint64(d.expected.Load()), l.wait)
}

// newPublishers returns what makes callers' publishers, and what closes them
// all.
func newPublishers(cfg *config) (make func() (publisher, error), close func(), err error) {
	names, err := parseUserNames(cfg.hold.UserNames)
	if err != nil {
		return nil, nil, err
	}
	if cfg.via != "rest" {
		scheme, host, _, err := splitURL(cfg.api, "http", "https")
		if err != nil {
			return nil, nil, fmt.Errorf("-api: %w", err)
		}
		c, err := dialRPC(host, scheme == "https")
		if err != nil {
			return nil, nil, err
		}
		var p publisher = newRPC(c, cfg, names)
		if cfg.via == "stream" {
			p = &stream{rpc: newRPC(c, cfg, names)}
		}
		return func() (publisher, error) { return p, nil }, func() { _ = c.Close() }, nil
	}
	a, err := newAPI(cfg, names)
	if err != nil {
		return nil, nil, err
	}
	return func() (publisher, error) { return &rest{api: a}, nil }, func() {}, nil
}
