package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// reloadOnHangup calls reload, which reads the credentials again, at each
// SIGHUP. stop returns when reload will not be called any more.
func reloadOnHangup(reload func() error, log *slog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			if err := reload(); err != nil {
				log.Error("credentials not reloaded, the old ones stay in force", "err", err)
				continue
			}
			log.Info("credentials reloaded")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}
