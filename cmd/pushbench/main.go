//go:build linux

// Command pushbench finds out what a push server can take: it holds WebSocket
// connections, publishes, and prints how fast messages arrive and what that
// costs the server. See docs/performance.md.
//
//	pushbench connect -conns 15000 -pid PID       memory and CPU per connection
//	pushbench broadcast -conns 15000 -rate 5      latency of broadcasts
//	pushbench unicast -via grpc -callers 32       throughput of unicasts
//
// # Honest latency
//
// -rate makes messages due at fixed times, independent of the server, and latency
// counts from when a message was due, not from when it could be sent at last. So a server that stops for a second shows a second, and not one slow
// message (Tene: How NOT to Measure Latency, on coordinated omission). Without
// -rate, as many calls are made as -callers can: that measures throughput, and
// latency as it is under full load.
//
// # How it is built
//
//	run.go        the order of events
//	fleet.go      child processes that hold connections; wire.go is what is said
//	holder.go     a child's loop; conn.go, handshake.go, frame.go: one connection
//	plan.go       what message number n is, and who must get it
//	stamp.go      how a message says its number and when it was due
//	drive.go      callers; pacer.go: when they may; publish.go, grpc.go: how
//	storm.go      the same while others connect
//	report.go     what comes out; hist.go, proc.go: what it is made of
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Getenv, stdio{os.Stdin, os.Stdout, os.Stderr}); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "pushbench:", err)
		os.Exit(1)
	}
}
