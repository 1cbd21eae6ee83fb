package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// Idempotency keys lie in buckets by the time at which they were stored, each
// bucket named by its first id and half of Retention.IdempotencyKeys long. A look-up asks
// the three buckets that can hold a live key (most of that is bloom filters);
// in return, keys past their time go a bucket at a time, in one range
// deletion, instead of by a scan over all keys.

// seen says whether r is a retry of what is stored, and then answers it.
func (c *committer) seen(r *request) (bool, error) {
	if r.IdempotencyKey == "" {
		return false, nil
	}
	id, ok, err := c.lookUp(r.IdempotencyKey)
	if ok {
		r.result = history.AppendResult{ID: id, Duplicate: true}
	}
	return ok, err
}

// lookUp returns the id that key was given, if it is still remembered.
func (c *committer) lookUp(key string) (history.ID, bool, error) {
	if id, ok := c.keys[key]; ok {
		return id, true, nil
	}
	for i := len(c.buckets) - 1; i >= 0; i-- {
		id, ok, err := c.lookUpIn(c.buckets[i], key)
		if err != nil {
			return 0, false, fmt.Errorf("looking up an idempotency key: %w", err)
		}
		if ok { // older buckets can only hold it from before
			return id, c.now.Before(id.Time().Add(c.conf.Retention.IdempotencyKeys)), nil
		}
	}
	return 0, false, nil
}

func (c *committer) lookUpIn(bucket history.ID, key string) (history.ID, bool, error) {
	var buf [256]byte
	value, closer, err := c.db.Get(appendKeyKey(buf[:0], bucket, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer closer.Close()
	if len(value) != idSize {
		return 0, false, errDamaged
	}
	return history.ID(binary.BigEndian.Uint64(value)), true, nil
}

// remember stores that key was given id.
func (c *committer) remember(key string, id history.ID) {
	n := len(c.buckets)
	if n == 0 || !id.Time().Before(c.buckets[n-1].Time().Add(c.conf.Retention.IdempotencyKeys/2)) {
		c.buckets = append(c.buckets, id)
		n++
	}
	c.keys[key] = id
	op := c.batch.SetDeferred(idKeySize+len(key), idSize)
	appendKeyKey(op.Key[:0], c.buckets[n-1], key)
	binary.BigEndian.PutUint64(op.Value, uint64(id))
	_ = op.Finish()
}

// loadBuckets finds the buckets by skipping from one to the next.
func (c *committer) loadBuckets() error {
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagKey}, UpperBound: []byte{tagKey + 1}})
	if err != nil {
		return err
	}
	var buf [idKeySize]byte
	for ok := it.First(); ok; {
		if len(it.Key()) < idKeySize {
			return errors.Join(errDamaged, it.Close())
		}
		bucket := entryID(it.Key()[:idKeySize])
		c.buckets = append(c.buckets, bucket)
		ok = it.SeekGE(appendIDKey(buf[:0], tagKey, bucket+1))
	}
	return it.Close()
}

// dropBuckets removes the buckets whose last key is past its time: that is
// when the next bucket's first is.
func (c *committer) dropBuckets(b *pebble.Batch, now time.Time) error {
	n := 0
	for n+1 < len(c.buckets) && !now.Before(c.buckets[n+1].Time().Add(c.conf.Retention.IdempotencyKeys)) {
		n++
	}
	if n == 0 {
		return nil
	}
	if err := deleteIDs(b, tagKey, c.buckets[0], c.buckets[n]); err != nil {
		return err
	}
	c.buckets = c.buckets[n:]
	return nil
}
