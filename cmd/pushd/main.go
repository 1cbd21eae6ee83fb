// Command pushd delivers messages from backend services to people: live over
// WebSocket when they are connected, from their history when they were not.
//
//	pushd [flags]               serve (see docs/configuration.md)
//	pushd check-config [flags]  print the effective configuration
//
// pushctl is the program that talks to it.
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
	// After the first signal the default action is back: a second one ends a
	// drain that somebody does not want to wait for.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "pushd:", err)
		os.Exit(1)
	}
}
