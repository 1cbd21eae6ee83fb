// Command pushctl talks to a running pushd: it sends messages, listens as a
// client, reads histories, and shows who is connected.
//
//	pushctl listen -user 42
//	pushctl send -user 42 '{"title":"Hi"}'
//	pushctl help
//
// It is a program of its own, and not a command of pushd, because `pushd` is
// also a builtin of bash and zsh. It knows the server by its public API only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"pushd.example/internal/version"
)

// The exit status.
const (
	exitOK     = 0
	exitFailed = 1 // refused by the server, or not reached
	exitUsage  = 2 // the command line, the environment or the configuration is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], terminal{os.Getenv, os.Stdin, os.Stdout, os.Stderr}))
}

// terminal is what a command reads from and writes to.
type terminal struct {
	getenv   func(string) string
	in       io.Reader
	out, err io.Writer
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, t terminal) int {
	err := dispatch(ctx, args, t)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(t.err, "pushctl:", err)
		return exitUsage
	}
	fmt.Fprintln(t.err, "pushctl:", err)
	return exitFailed
}

func dispatch(ctx context.Context, args []string, t terminal) error {
	// Settings may stand before the command, too: pushctl -json history …
	leading := flag.NewFlagSet("pushctl", flag.ContinueOnError)
	leading.SetOutput(io.Discard)
	showVersion := leading.Bool("version", false, "")
	newSettings(leading)
	if err := leading.Parse(args); errors.Is(err, flag.ErrHelp) {
		return printHelp(t.out)
	} else if err != nil {
		return usagef("%w; pushctl help lists commands and flags", err)
	}
	if *showVersion {
		_, err := fmt.Fprintln(t.out, "pushctl", version.String())
		return err
	}
	before, rest := args[:len(args)-leading.NArg()], leading.Args()
	if len(rest) == 0 {
		return usagef("no command: want one of %s; pushctl help explains them", commandNames())
	}
	switch rest[0] {
	case completeCommand:
		return complete(t.out, rest[1:])
	case "help":
		return help(t.out, rest[1:])
	}
	cmd, rest, err := find(rest)
	if err != nil {
		return err
	}
	return cmd.exec(ctx, append(before, rest...), t)
}

// usageError is a mistake of the caller's, as opposed to a refusal.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}
