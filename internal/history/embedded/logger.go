package embedded

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// pebbleLog takes Pebble's log lines. It drops those for information: an operator
// gets what calls for action through [listener].
type pebbleLog struct {
	log   *slog.Logger
	fault *fault
}

func (l pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	if !l.fault.isBlown() { // after that, all are the same
		l.log.Error("history storage", "error", fmt.Sprintf(format, args...))
	}
}

// Fatalf is asked to end the process, and does not: reads go on.
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.fault.blow(fmt.Errorf(format, args...))
}

// listener tells the operator of trouble.
func listener(log *slog.Logger, f *fault) *pebble.EventListener {
	return &pebble.EventListener{
		// A flush or compaction that fails leaves memory and logs to grow.
		BackgroundError: func(err error) { f.blow(fmt.Errorf("storing in the background: %w", err)) },
		LowDiskSpace: func(i pebble.LowDiskSpaceInfo) {
			log.Warn("history's disk is filling up", "free_bytes", i.AvailBytes,
				"free_percent", i.PercentThreshold)
		},
	}
}

func slowDiskLog(log *slog.Logger) func(vfs.DiskSlowInfo) {
	return func(i vfs.DiskSlowInfo) {
		log.Warn("history's disk is slow", "operation", i.OpType.String(),
			"file", i.Path, "seconds", i.Duration.Round(time.Millisecond).Seconds())
	}
}
