//go:build linux

package main

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in buckets whose width grows with the value, so
// that any quantile is known to within 1 part in 128, from a nanosecond to a
// century, in 58 KiB. The zero value is ready. Fields are exported for gob.
type histogram struct {
	Counts   []uint64
	N        uint64
	Sum, Max time.Duration
}

// Each power of two from 2^8 on is cut into 2^7 buckets; below that, a bucket
// is one nanosecond.
const (
	linear  = 1 << 8
	halves  = linear / 2
	buckets = linear + (63-8)*halves
)

func bucketOf(v uint64) int {
	if v < linear {
		return int(v)
	}
	shift := bits.Len64(v) - 8
	return shift*halves + int(v>>shift)
}

// bucketEnd is the largest value that falls into bucket i.
func bucketEnd(i int) uint64 {
	if i < linear {
		return uint64(i)
	}
	shift := i/halves - 1
	return uint64(i-shift*halves+1)<<shift - 1
}

// record counts d. A negative d, which clocks make of "at once", counts as 0.
func (h *histogram) record(d time.Duration) {
	if h.Counts == nil {
		h.Counts = make([]uint64, buckets)
	}
	d = max(d, 0)
	h.Counts[bucketOf(uint64(d))]++
	h.N++
	h.Sum += d
	h.Max = max(h.Max, d)
}

// add counts everything that o has counted.
func (h *histogram) add(o *histogram) {
	if o == nil || o.N == 0 {
		return
	}
	if h.Counts == nil {
		h.Counts = make([]uint64, buckets)
	}
	for i, n := range o.Counts {
		h.Counts[i] += n
	}
	h.N += o.N
	h.Sum += o.Sum
	h.Max = max(h.Max, o.Max)
}

// quantile returns the smallest value that at least a share q (0 to 1) of all
// values do not exceed: never less than the true one, and at most 1/128 more.
func (h *histogram) quantile(q float64) time.Duration {
	if h.N == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(q*float64(h.N))))
	var seen uint64
	for i, n := range h.Counts {
		if seen += n; seen >= rank {
			return min(h.Max, time.Duration(bucketEnd(i)))
		}
	}
	return h.Max
}

func (h *histogram) mean() time.Duration {
	if h.N == 0 {
		return 0
	}
	return h.Sum / time.Duration(h.N)
}
