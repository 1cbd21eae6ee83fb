package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a running command.
type Process struct {
	// PID is its process id.
	PID int
	// Output is what it has written to its standard output and error, except
	// where the command names another writer.
	Output *Buffer

	cmd  *exec.Cmd
	done chan struct{}
	err  error // after done
}

// Start starts cmd. The end of the test kills it, if nothing ended it before,
// and logs the end of its output if the test has failed.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Output: new(Buffer), cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p.Output
	}
	if cmd.Stderr == nil {
		cmd.Stderr = p.Output
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.PID = cmd.Process.Pid
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said last:\n%s", cmd.Path, p.Output.Tail(8000))
		}
	})
	return p
}

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the process ended, nil for status 0. It waits for the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Kill ends the process as kill -9 does, and waits for its end. A command that
// leads a process group (SysProcAttr.Setpgid) is killed with its children.
func (p *Process) Kill() {
	if a := p.cmd.SysProcAttr; a != nil && a.Setpgid {
		_ = syscall.Kill(-p.PID, syscall.SIGKILL)
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Signal sends s to the process.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Stop asks the process to end with SIGTERM and returns how it ended, nil for
// status 0. It returns an error if the process is there after Patience.
func (p *Process) Stop() error { return p.stop(Patience) }

func (p *Process) stop(patience time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, p.Err())
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		return fmt.Errorf("%s did not end within %v of SIGTERM", p.cmd.Path, patience)
	}
}

// Buffer collects text that one goroutine reads while others write it. Its zero
// value is empty and ready.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what has been written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Len returns how many bytes have been written so far.
func (b *Buffer) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Len()
}

// Tail returns the last n bytes, or all if there are fewer.
func (b *Buffer) Tail(n int) string {
	s := b.String()
	return s[max(0, len(s)-n):]
}
