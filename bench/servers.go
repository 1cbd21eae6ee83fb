package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// subject is a server to measure.
type subject struct {
	name string
	// start is its command line; DIR stands for a directory of its own.
	start []string
	// fanOutOnly: what it keeps of a connection, and how it gets it, is no
	// measure for others.
	fanOutOnly bool
	// connect, broadcast and unicast are pushbench's flags for it; unicast is
	// nil if it knows no users. Fields of the ready file stand in braces.
	connect, broadcast, unicast []string
}

func servers(s settings) []subject {
	all := []subject{
		{
			name:       "floor",
			start:      []string{"floor"},
			fanOutOnly: true,
			connect:    []string{"-connect-url", "ws://{listen}/"},
			broadcast:  []string{"-publish-url", "http://{http}/", "-publish-body", "{data}"},
		},
		{
			name:      "centrifuge",
			start:     []string{"peer"},
			connect:   []string{"-connect-url", "ws://{listen}/ws?user={user}", "-send", `{"id":1,"connect":{}}`, "-hello", "1"},
			broadcast: []string{"-publish-url", "http://{http}/publish?channel=all", "-publish-body", "{data}"},
			unicast:   []string{"-publish-url", "http://{http}/publish?channel=user:{user}", "-publish-body", "{data}"},
		},
	}
	for _, v := range s.variants {
		all = append(all, subject{
			name: v.name,
			start: append([]string{"pushd", "-dev", "-data", "DIR", "-grpc", "127.0.0.1:0", "-http", "127.0.0.1:0", "-admin", "127.0.0.1:0",
				"-upgrade-rate", "1000000"}, // connecting is measured at full speed
				strings.Fields(v.flags)...),
			connect:   []string{"-connect-url", "ws://{listen}/push?user={user}"},
			broadcast: []string{"-api", "http://{http}"},
			unicast:   []string{"-api", "http://{http}"},
		})
	}
	if s.only == "" {
		return all
	}
	var some []subject
	for _, one := range all {
		if strings.Contains(","+s.only+",", ","+one.name+",") {
			some = append(some, one)
		}
	}
	return some
}

// build compiles everything into dir.
func build(ctx context.Context, dir string) error {
	for _, args := range [][]string{
		{"build", "-o", dir + "/", "./floor", "./peer"},
		{"build", "-C", "..", "-o", dir + "/", "./cmd/pushd", "./cmd/pushbench"},
	} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}

// running is a server that serves.
type running struct {
	cmd   *exec.Cmd
	dir   string
	ended chan struct{}
	ready map[string]any
}

// start runs one server on free ports and waits until it serves.
func start(ctx context.Context, dir string, s subject) (*running, error) {
	own, err := os.MkdirTemp(dir, s.name+"-")
	if err != nil {
		return nil, err
	}
	readyFile := filepath.Join(own, "ready.json")
	log, err := os.Create(filepath.Join(own, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	var args []string
	for _, a := range s.start[1:] {
		if a == "DIR" {
			a = filepath.Join(own, "data")
		}
		args = append(args, a)
	}
	args = append(args, "-listen", "127.0.0.1:0", "-ready-file", readyFile)
	r := &running{cmd: exec.Command(filepath.Join(dir, s.start[0]), args...), dir: own, ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = log, log
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = r.cmd.Wait(); close(r.ended) }()
	if err := r.awaitReady(ctx, readyFile); err != nil {
		r.stop()
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	return r, nil
}

func (r *running) awaitReady(ctx context.Context, file string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if text, err := os.ReadFile(file); err == nil {
			return json.Unmarshal(text, &r.ready)
		}
		select {
		case <-r.ended:
			return errors.New("it ended before it served")
		case <-ctx.Done():
			return fmt.Errorf("waiting for it to serve: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server, at once if it does not end within ten seconds.
func (r *running) stop() {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.ended:
	case <-time.After(10 * time.Second):
		_ = r.cmd.Process.Kill()
		<-r.ended
	}
	_ = os.RemoveAll(r.dir)
}

// fill puts the ready file's fields in place of their names in braces.
func (r *running) fill(args []string) []string {
	var out []string
	for _, a := range args {
		for name, value := range r.ready {
			a = strings.ReplaceAll(a, "{"+name+"}", fmt.Sprint(value))
		}
		out = append(out, a)
	}
	return out
}
