package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
)

// announce says that the node serves: a log line per door, the ready file, and
// in development what to try next.
func announce(cfg config, ds doors, log *slog.Logger, stdout io.Writer) error {
	at := map[string]string{}
	for _, d := range ds {
		at[d.name] = d.addr.String()
		log.Info("serving", "door", d.name, "addr", d.addr.String())
	}
	if cfg.ReadyFile != "" {
		if err := writeReadyFile(cfg.ReadyFile, cfg.Node, at); err != nil {
			return err
		}
	}
	if cfg.Dev {
		tryNext(stdout, at)
	}
	return nil
}

// tryNext prints commands that work as they stand in a second terminal.
func tryNext(w io.Writer, at map[string]string) {
	pushctl := "pushctl"
	if dir, _ := filepath.Split(os.Args[0]); dir != "" {
		pushctl = dir + pushctl // make puts both in one directory
	}
	fmt.Fprintf(w, `
pushd is ready, in development mode: it asks for no keys, and everybody who reaches
it may be any user. Try, in a second terminal:

  receive     %[1]s listen -user 42 -url ws://%[2]s/push
  send        %[1]s send -user 42 -grpc %[3]s '{"title":"Hi"}'
  broadcast   %[1]s send -everyone -grpc %[3]s '{"title":"Hi, all"}'
  history     %[1]s history -user 42 -grpc %[3]s
  REST        curl -d '{"user":"42","data":{"title":"Hi"}}' http://%[4]s/v1/unicast
  everything  %[1]s help

`, pushctl, at["listen"], at["grpc"], at["http"])
}

// writeReadyFile writes {"node":…,"pid":…,"listen":…,"grpc":…,"http":…,
// "admin":…} beside path and renames it, so that nobody reads half of it.
func writeReadyFile(path, node string, at map[string]string) error {
	b, err := json.Marshal(struct {
		Node   string `json:"node"`
		PID    int    `json:"pid"`
		Listen string `json:"listen"`
		GRPC   string `json:"grpc"`
		HTTP   string `json:"http"`
		Admin  string `json:"admin"`
	}{node, os.Getpid(), at["listen"], at["grpc"], at["http"], at["admin"]})
	if err != nil {
		return fmt.Errorf("encoding the ready file: %w", err)
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the ready file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("writing the ready file: %w", err)
	}
	return nil
}
