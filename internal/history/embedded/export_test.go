package embedded

import (
	"errors"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
)

// SyncNow forces the log to disk under any policy.
func SyncNow(s *Store) error { return s.db.LogData(nil, pebble.Sync) }

// Maintain does the hourly maintenance now, twice: ages delete by two readings of the
// clock.
func Maintain(s *Store) error { return errors.Join(maintain(s), maintain(s)) }

func maintain(s *Store) error {
	r := s.newRequest(opMaintain)
	s.queue <- r
	<-r.done
	err := r.err
	s.recycle(r)
	return err
}

// Queued is closed when a request waits for the committer.
func Queued(s *Store) <-chan struct{} {
	queued := make(chan struct{})
	go func() {
		for len(s.queue) == 0 {
			runtime.Gosched()
		}
		close(queued)
	}()
	return queued
}

// Keys counts the keys that begin with tag.
func Keys(s *Store, tag byte) (int, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tag}, UpperBound: []byte{tag + 1}})
	if err != nil {
		return 0, err
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n, it.Close()
}

// Quiet is a logger for databases that a test opens beside the store.
type Quiet struct{}

func (Quiet) Infof(string, ...any)  {}
func (Quiet) Errorf(string, ...any) {}
func (Quiet) Fatalf(string, ...any) {}
