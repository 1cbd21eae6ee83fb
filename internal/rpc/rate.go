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
	wait  time.Duration // until there is room for one
}

func (e overRate) Error() string {
	return fmt.Sprintf("this API key may make %g requests a second, %d at once: wait %v", e.rate, e.burst, e.wait.Round(time.Millisecond))
}

// spend counts a request of caller, or refuses it.
func (g *guard) spend(caller auth.Caller) error {
	l := caller.Limiter
	if l == nil {
		return nil
	}
	now := time.Now()
	if l.AllowN(now, 1) {
		return nil
	}
	g.metrics.limited.WithLabelValues(caller.Name).Inc()
	rate := float64(l.Limit())
	seconds := math.Max(0, 1-l.TokensAt(now)) / rate
	return overRate{rate, l.Burst(), time.Duration(seconds * float64(time.Second))}
}
