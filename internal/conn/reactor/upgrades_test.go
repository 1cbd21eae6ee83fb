package reactor

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// crowd plays clients that come when the first of them does or a little later,
// and again when they are told to. It returns how each of them got in.
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
		verdict := u.admit(began.Add(v.at), 1)
		wait := verdict.retryAfter
		if wait == 0 {
			in[v.who].at = max(v.at, verdict.turn.Sub(began))
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
		u := newUpgrades(&Limits{UpgradeRate: float64(perSecond), UpgradeQueue: 2 * perSecond})
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
			if n > perSecond+1+int(turnSlack*time.Duration(perSecond)/time.Second) {
				t.Errorf("%d came in within a second, at %d a second", n, perSecond)
			}
		}
		// Clients that were put off once get in in the order in which they
		// came, to a second: Retry-After counts seconds.
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

// However many clients come, and come again at once, none is told to wait for
// longer than maxRetryAfter, and the first after a pause gets in.
func TestUpgradesOfImpatient(t *testing.T) {
	for name, limits := range map[string]*Limits{
		"in all":     {UpgradeRate: 10, UpgradeQueue: 10},
		"an address": {UpgradeRatePerIP: 10},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpgrades(limits)
			now := time.Unix(1e9, 0)
			in := 0
			for range 100_000 {
				now = now.Add(time.Millisecond)
				wait := u.admit(now, 1).retryAfter
				if wait > int(maxRetryAfter/time.Second) {
					t.Fatalf("told to come back in %d s", wait)
				}
				if wait == 0 {
					in++
				}
			}
			if in < 1000 || in > 1020 {
				t.Errorf("%d got in within 100 s, want 10 a second", in)
			}
			if wait := u.admit(now.Add(time.Second), 1).retryAfter; wait != 0 {
				t.Errorf("told to come back in %d s, but nobody had come for a second", wait)
			}
		})
	}
}

// An address that is over its own rate takes no turn from the others.
func TestUpgradesByAddress(t *testing.T) {
	u := newUpgrades(&Limits{UpgradeRate: 100, UpgradeQueue: 100, UpgradeRatePerIP: 20})
	now := time.Unix(1e9, 0)
	refused := map[Refusal]int{}
	for i := range 10_000 { // 10 s
		now = now.Add(time.Millisecond)
		if v := u.admit(now, 1); v.retryAfter > 0 {
			refused[v.why]++
		}
		if i%50 == 0 { // 20 a second of other addresses
			if v := u.admit(now, uint32(2+i)); v.retryAfter > 0 {
				t.Fatalf("a client of another address was refused after %d", i)
			}
		}
	}
	if n := refused[OverRatePerIP]; n < 9_750 || n > 9_800 || refused[OverRate] != 0 {
		t.Errorf("of 10,000 requests of one address, at 20 a second, %v were refused", refused)
	}
}

// An address that comes faster than the rate of all keeps nobody out, without a
// rate of its own, and loses nothing of what others leave.
func TestUpgradesAreShared(t *testing.T) {
	u := newUpgrades(&Limits{UpgradeRate: 100, UpgradeQueue: 200})
	now := time.Unix(1e9, 0)
	in := 0
	for i := range 10_000 { // 10 s
		now = now.Add(time.Millisecond)
		if v := u.admit(now, 1); v.retryAfter == 0 {
			in++
		}
		if i%50 == 0 { // 20 a second of another address
			if v := u.admit(now, 2); v.retryAfter > 0 {
				t.Fatalf("the other address was refused after %d ms", i)
			}
		}
	}
	if in < 800 || in > 1000 {
		t.Errorf("%d of the fast address got in within 10 s, where others left 80 a second", in)
	}
}

// Addresses that are no longer used are deleted.
func TestUpgradesForgetAddresses(t *testing.T) {
	u := newUpgrades(&Limits{UpgradeRate: -1, UpgradeRatePerIP: 1})
	now := time.Unix(1e9, 0)
	for address := range uint32(100_000) {
		now = now.Add(time.Millisecond)
		if v := u.admit(now, address); v.retryAfter != 0 {
			t.Fatalf("the first request of address %d was refused", address)
		}
	}
	// About 1,000 addresses are in use within a second.
	if n := len(u.addresses); n > 4*minPrune {
		t.Errorf("%d addresses are kept", n)
	}
}

func TestNoUpgradeRate(t *testing.T) {
	if u := newUpgrades(&Limits{UpgradeRate: -1}); u.admit(time.Now(), 1) != (verdict{}) {
		t.Error("put off without a rate")
	}
}
