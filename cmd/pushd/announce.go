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
		fmt.Fprintf(stdout, tryNext, at["listen"], at["http"], at["grpc"])
	}
	return nil
}

const tryNext = `
pushd is ready, in development mode: no keys, and anybody who reaches it may be
any user. Try:

  receive     go run ./cmd/pushd listen -user 42 -url 'ws://%[1]s/push'
              or any WebSocket client at ws://%[1]s/push?user=42
  unicast     curl -d '{"user":"42","data":{"title":"Hi"}}' http://%[2]s/v1/unicast
  multicast   curl -d '{"users":["42","43"],"data":{"title":"Hi, you two"}}' http://%[2]s/v1/multicast
  broadcast   curl -d '{"data":{"title":"Hi, all"}}' http://%[2]s/v1/broadcast
  history     curl http://%[2]s/v1/users/42/history
  gRPC        grpcurl -plaintext %[3]s list push.v1.PushService

`

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
