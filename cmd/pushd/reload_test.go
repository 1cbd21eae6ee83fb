package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"pushd/internal/auth"
)

func TestReloadOnHangup(t *testing.T) {
	keys := writeFile(t, "api", "shop send "+testKey)
	var log bytes.Buffer
	a, err := auth.New(auth.Config{APIKeyFile: keys})
	if err != nil {
		t.Fatal(err)
	}
	reloaded := make(chan struct{}, 1)
	stop := reloadOnHangup(func() error {
		defer func() { reloaded <- struct{}{} }()
		return a.Reload()
	}, slog.New(slog.NewTextHandler(&log, nil)))

	for _, text := range []string{"shop", "ops * " + testKey} {
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case <-reloaded:
		case <-time.After(10 * time.Second):
			t.Fatal("SIGHUP did not reload")
		}
	}
	if caller, err := a.API(testKey); err != nil || caller.Name != "ops" {
		t.Errorf("after the reload: %+v, %v", caller, err)
	}
	stop() // log is the test's again
	if s := log.String(); !strings.Contains(s, keys+":1") || !strings.Contains(s, "credentials reloaded") {
		t.Errorf("logged\n%s", s)
	}
}
