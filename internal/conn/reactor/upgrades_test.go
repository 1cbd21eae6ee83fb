package reactor

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// crowd plays clients that come when the first of them does or a little later,
// and again when they are told to. It returns how each got in.
func crowd(t *rapid.T, u *upgrades, clients int, within time.Duration) (in []entry, tries int) {
	began := time.Unix(1e9, 0)
	type visit struct {
		at  time.Duration
		who int
	}
	var coming []visit
	for who := range clients {
		coming = append(coming, visit{within * time.Duration(who) / time.Duration(clients), who})
	}
	in = make([]entry, clients)
	for ; len(coming) > 0; tries++ {
		v := coming[0]
		coming = coming[1:]
		wait := u.admit(began.Add(v.at))
		if wait == 0 {
			in[v.who].at = v.at
			continue
		}
		in[v.who].putOff++
		if limit := int(maxRetryAfter/time.Second) + 1; wait < 0 || wait > limit {
			t.Fatalf("told to come back in %d s", wait)
		}
		v.at += time.Duration(wait) * time.Second
		i, _ := slices.BinarySearchFunc(coming, v.at+1, func(o visit, at time.Duration) int { return int(o.at - at) })
		coming = slices.Insert(coming, i, v)
	}
	return in, tries
}

// entry is when a client got in, and how often it was put off before.
type entry struct {
	at     time.Duration
	putOff int
}

func TestUpgradesQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.IntRange(20, 2000).Draw(t, "rate")
		clients := rapid.IntRange(1, 20*perSecond).Draw(t, "clients")
		within := time.Duration(rapid.IntRange(0, 3000).Draw(t, "within")) * time.Millisecond
		u := newUpgrades(float64(perSecond), perSecond)
		in, tries := crowd(t, u, clients, within)

		last := slices.MaxFunc(in, func(a, b entry) int { return int(a.at - b.at) }).at
		if need := time.Duration(clients) * time.Second / time.Duration(perSecond); last > within+need+3*time.Second {
			t.Errorf("the last of %d got in after %v, at %d a second", clients, last, perSecond)
		}
		if tries > 3*clients {
			t.Errorf("%d clients came %d times", clients, tries)
		}
		for second := range int(last/time.Second) + 1 {
			n := 0
			for _, e := range in {
				if int(e.at/time.Second) == second {
					n++
				}
			}
			if n > 2*perSecond { // the rate, and the burst
				t.Errorf("%d came in within a second, at %d a second", n, perSecond)
			}
		}
		// Of those who were put off once, who was the first is in the first;
		// seconds are all that Retry-After can tell.
		latest := time.Duration(0)
		for who, e := range in {
			if e.putOff == 1 && e.at < latest-time.Second {
				t.Fatalf("client %d came in after %v, one before it after %v", who, e.at, latest)
			}
			if e.putOff == 1 {
				latest = max(latest, e.at)
			}
		}
	})
}

// However many come, and come again at once, nobody is put off for ever.
func TestUpgradesOfImpatient(t *testing.T) {
	u := newUpgrades(10, 10)
	now := time.Unix(1e9, 0)
	for range 100_000 {
		now = now.Add(time.Millisecond)
		if wait := u.admit(now); wait > int(maxRetryAfter/time.Second) {
			t.Fatalf("told to come back in %d s", wait)
		}
	}
	if wait := u.admit(now.Add(time.Second)); wait != 0 {
		t.Errorf("put off for %d s, but nobody came for a second", wait)
	}
}

func TestNoUpgradeRate(t *testing.T) {
	if u := newUpgrades(-1, 0); u.admit(time.Now()) != 0 {
		t.Error("put off without a rate")
	}
}
