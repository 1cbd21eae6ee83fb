package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is one run of a server.
type process struct {
	pid  int
	proc *os.Process
	done chan struct{} // closed when it has ended and was waited for
	err  error         // how it ended; after done
}

// spawn starts argv with its output in the file at path. The kernel kills the
// process when the thread that started it ends, so one goroutine keeps that
// thread to itself for as long as the process lives.
func spawn(path string, argv ...string) (*process, error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = withParent()
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid, p.proc = cmd.Process.Pid, cmd.Process
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	return p, nil
}

// kill ends the process as kill -9 does, even if it is stopped, and waits for its
// end.
func (p *process) kill() {
	_ = p.proc.Kill()
	<-p.done
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// program returns the server to run.
func program() (string, error) {
	name := os.Getenv("PUSHD_TEST_REDIS")
	if name == "" {
		name = "redis-server"
	}
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is not installed, and these tests need a real one: "+
			"make tools-redis (or apt-get install redis-server, brew install redis)", name)
	}
	return path, err
}

func (p *process) signal(s syscall.Signal) error {
	if p == nil || p.ended() {
		return os.ErrProcessDone
	}
	return p.proc.Signal(s)
}
