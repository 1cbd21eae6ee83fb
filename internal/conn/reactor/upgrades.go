package reactor

import (
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
)

// upgrades is the token bucket of handshakes. Those who find it empty are told
// to come back one after the other, at its rate: a storm of clients becomes a
// queue, and most of it is put off once only. A nil upgrades lets everybody in.
// The acceptor's own.
type upgrades struct {
	tokens *rate.Limiter
	each   time.Duration
	last   time.Time // when the last of those who were put off is awaited
}

// maxRetryAfter is the longest that anybody is put off for: some of those who
// are awaited never come, and some come all the time, whatever they are told.
const maxRetryAfter = 30 * time.Second

func newUpgrades(perSecond float64, burst int) *upgrades {
	if perSecond <= 0 {
		return nil
	}
	return &upgrades{
		tokens: rate.NewLimiter(rate.Limit(perSecond), burst),
		each:   time.Duration(float64(time.Second) / perSecond),
	}
}

// admit returns 0 to whoever may come in, and to others in how many seconds to
// come back.
func (u *upgrades) admit(now time.Time) (retryAfter int) {
	if u == nil || u.tokens.AllowN(now, 1) {
		return 0
	}
	if u.last.Before(now) {
		u.last = now
	}
	u.last = u.last.Add(u.each)
	wait := u.last.Sub(now)
	if wait > maxRetryAfter {
		u.last = now.Add(maxRetryAfter)
		wait = maxRetryAfter/2 + rand.N(maxRetryAfter/2)
	}
	return 1 + int(wait/time.Second)
}
