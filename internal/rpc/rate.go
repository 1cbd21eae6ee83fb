package rpc

import (
	"fmt"
	"math"
	"time"

	"pushd.example/internal/auth"
)

// overRate is the refusal of a request past its API key's rate.
type overRate struct {
	rate  float64 // requests a second
	burst int
	wait  time.Duration // until another request is allowed
}

func (e overRate) Error() string {
	return fmt.Sprintf("this API key may make %g requests a second, %d at once: wait %v", e.rate, e.burst, e.wait.Round(time.Millisecond))
}

// spend takes one request from what the rate of caller's key allows, or returns
// an overRate.
func (i *interceptor) spend(caller auth.Caller) error {
	l := caller.Limiter
	if l == nil {
		return nil
	}
	now := time.Now()
	if l.AllowN(now, 1) {
		return nil
	}
	i.metrics.limited.WithLabelValues(caller.Name).Inc()
	rate := float64(l.Limit())
	seconds := math.Max(0, 1-l.TokensAt(now)) / rate
	return overRate{rate, l.Burst(), time.Duration(seconds * float64(time.Second))}
}
