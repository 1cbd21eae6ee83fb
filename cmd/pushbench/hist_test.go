//go:build linux

package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramBucketsTileTheNumberLine(t *testing.T) {
	if got := bucketOf(0); got != 0 {
		t.Fatalf("0 falls into bucket %d", got)
	}
	for i := range buckets - 1 {
		end := bucketEnd(i)
		if bucketOf(end) != i || bucketOf(end+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, but %d is in %d and %d in %d", i, end, end, bucketOf(end), end+1, bucketOf(end+1))
		}
	}
	if got := bucketOf(math.MaxInt64); got != buckets-1 {
		t.Fatalf("the longest duration falls into bucket %d of %d", got, buckets)
	}
}

func TestHistogramQuantilesAreWithinOnePartIn128(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h, left, right histogram
	all := make([]time.Duration, 100_000)
	for i := range all {
		// Log-uniform from 1 ns to about 3 hours.
		all[i] = time.Duration(math.Exp(rng.Float64() * 30))
		h.record(all[i])
		[]*histogram{&left, &right}[i%2].record(all[i])
	}
	left.add(&right)
	slices.Sort(all)
	for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.99999, 1} {
		want := all[max(1, int(math.Ceil(q*float64(len(all)))))-1]
		got := h.quantile(q)
		if got < want || float64(got) > float64(want)*(1+1.0/128)+1 {
			t.Errorf("quantile %v: %v, want %v up to 1/128 more", q, got, want)
		}
		if merged := left.quantile(q); merged != got {
			t.Errorf("quantile %v: %v when merged from two, %v when counted in one", q, merged, got)
		}
	}
	if h.Max != all[len(all)-1] || left.Max != h.Max || left.N != h.N || left.Sum != h.Sum {
		t.Errorf("merging changed max, count or sum: %v %v %v, want %v %v %v", left.Max, left.N, left.Sum, h.Max, h.N, h.Sum)
	}
}

func TestHistogramEdges(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 || h.mean() != 0 {
		t.Error("an empty histogram has values")
	}
	h.add(nil)
	h.add(&histogram{})
	h.record(-time.Second)
	if h.N != 1 || h.quantile(1) != 0 {
		t.Errorf("a negative duration counts as %v, want 0", h.quantile(1))
	}
	h.record(math.MaxInt64)
	if got := h.quantile(1); got != math.MaxInt64 {
		t.Errorf("the longest duration comes back as %v", got)
	}
}

func BenchmarkHistogramRecord(b *testing.B) {
	var h histogram
	for i := range b.N {
		h.record(time.Duration(i) * 1000)
	}
}
