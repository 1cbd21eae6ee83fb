package testkit

import (
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs a package's tests and ends the process. The run fails if the tests
// left goroutines or open files behind. ignored are functions, named as in a
// stack trace ("net/http.(*conn).serve"), whose goroutines are no leak.
func Main(m *testing.M, ignored ...string) {
	os.Exit(run(m, ignored))
}

// MainWith is Main for tests that share something costly. setup makes it before
// the first test, with its files in dir, and returns how to end it; cleanup may
// be nil. dir is removed at the end.
func MainWith(m *testing.M, setup func(dir string) (cleanup func(), err error), ignored ...string) {
	os.Exit(run(shared{m, setup}, ignored))
}

// runner is what runs tests: a *testing.M.
type runner interface{ Run() int }

// shared runs tests between the setup and the cleanup of what they share.
type shared struct {
	runner
	setup func(dir string) (cleanup func(), err error)
}

func (s shared) Run() int {
	dir, err := os.MkdirTemp("", "pushd-test-")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(dir)
	cleanup, err := s.setup(dir)
	if err != nil {
		return failed(err)
	}
	if cleanup != nil {
		defer cleanup()
	}
	return s.runner.Run()
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// run returns the exit status. A run that failed is not searched for leaks: a
// test that stops halfway has them.
func run(tests runner, ignored []string) int {
	before := openFiles()
	if code := tests.Run(); code != 0 {
		return code
	}
	options := make([]goleak.Option, len(ignored))
	for i, function := range ignored {
		options[i] = goleak.IgnoreAnyFunction(function)
	}
	if err := goleak.Find(options...); err != nil {
		return failed(err)
	}
	if left := filesLeft(before); len(left) > 0 {
		return failed(fmt.Errorf("the tests left files open: %v", left))
	}
	return 0
}

// filesLeft returns what is open now and was not before. Files that are closed
// in the background have a moment to go.
func filesLeft(before map[string]int) (left []string) {
	for range 100 {
		left = left[:0]
		for name, n := range openFiles() {
			if n > before[name] {
				left = append(left, name)
			}
		}
		if len(left) == 0 {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(left)
	return left
}

// openFiles counts the open files of this process by what they are: a path,
// "socket:[…]", "pipe:[…]". It returns nil where the system does not say.
func openFiles() map[string]int {
	// The runtime opens files of its own for the first socket, and keeps them.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close()
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	open := make(map[string]int, len(entries))
	for _, e := range entries {
		// The directory that was just read is closed by now, and has no name.
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open[name]++
		}
	}
	return open
}
