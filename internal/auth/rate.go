package auth

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/time/rate"
)

// Bounds of an API key's rate, in requests a second, and of its burst, in
// requests.
const (
	minRate, maxRate   = 0.001, 1e6
	minBurst, maxBurst = 1, 1_000_000
)

// limits are the fourth column of an API key's line. The zero value means no
// limit.
type limits struct {
	rate  float64 // requests a second
	burst int     // requests at once
}

// parseLimits parses "rate=100" or "rate=100,burst=500". The default burst is the
// number of requests of one second.
func parseLimits(column string) (limits, error) {
	var l limits
	for option := range strings.SplitSeq(column, ",") {
		name, value, _ := strings.Cut(option, "=")
		switch {
		case name == "rate" && l.rate == 0:
			r, err := strconv.ParseFloat(value, 64)
			if err != nil || !(r >= minRate && r <= maxRate) { // NaN is neither
				return limits{}, fmt.Errorf("rate: want a number of requests a second between %g and %.0f", minRate, maxRate)
			}
			l.rate = r
		case name == "burst" && l.burst == 0:
			b, err := strconv.Atoi(value)
			if err != nil || b < minBurst || b > maxBurst {
				return limits{}, fmt.Errorf("burst: want a number of requests between %d and %d", minBurst, maxBurst)
			}
			l.burst = b
		default:
			return limits{}, errLimits
		}
	}
	if l.rate == 0 {
		return limits{}, errLimits
	}
	if l.burst == 0 {
		l.burst = int(math.Ceil(l.rate))
	}
	return l, nil
}

// errLimits does not repeat the column: on a line with its columns in the wrong
// order, it is the key.
var errLimits = fmt.Errorf("the fourth column is not rate=N or rate=N,burst=N")

// limiter returns a limiter with the limits l, nil for none. It reuses old, if
// there is one, which knows how many requests were made already.
func (l limits) limiter(old *rate.Limiter) *rate.Limiter {
	switch {
	case l == limits{}:
		return nil
	case old == nil:
		return rate.NewLimiter(rate.Limit(l.rate), l.burst)
	}
	old.SetLimit(rate.Limit(l.rate))
	old.SetBurst(l.burst)
	return old
}

// limitKeys sets the limiters of keys. A key whose name is in inForce keeps that
// limiter, so that reading the file again does not refill its burst.
func limitKeys(keys, inForce []apiKey) {
	for i := range keys {
		var old *rate.Limiter
		for _, k := range inForce {
			if k.name == keys[i].name {
				old = k.limiter
			}
		}
		keys[i].limiter = keys[i].limits.limiter(old)
	}
}
