package embedded_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/history/historytest"
)

// opener opens engines for the suite, each in a directory of its own on what
// files returns.
func opener(files func() vfs.FS, sync embedded.Sync) historytest.Opener {
	return func(t testing.TB, o historytest.Options) historytest.Engine {
		c := embedded.Config{
			Dir: t.TempDir(), Retention: o.Retention, Events: o.Events, Now: o.Now, Sync: sync, FS: files(),
		}
		open := func() history.Store {
			s, err := embedded.Open(c)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		return historytest.Engine{Store: open(), Reopen: open}
	}
}

func disk() vfs.FS   { return vfs.Default }
func memory() vfs.FS { return vfs.NewMem() }

func TestConformance(t *testing.T) {
	for _, sync := range []embedded.Sync{embedded.SyncAlways, embedded.SyncInterval, embedded.SyncNever} {
		t.Run(sync.String(), func(t *testing.T) { historytest.Run(t, opener(disk, sync)) })
	}
}

func TestStateMachine(t *testing.T) {
	historytest.StateMachine(t, opener(memory, embedded.SyncAlways))
}
