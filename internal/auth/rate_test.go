package auth_test

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"pushd.example/internal/auth"
)

const newsLine = "news * " + newsKey

func limiterOf(t *testing.T, a *auth.Auth, key string) *rate.Limiter {
	t.Helper()
	caller, err := a.API(key)
	if err != nil {
		t.Fatal(err)
	}
	return caller.Limiter
}

func TestRates(t *testing.T) {
	for column, want := range map[string]struct {
		rate  rate.Limit
		burst int
	}{
		"rate=100":               {100, 100},
		"rate=2.5":               {2.5, 3},
		"rate=0.001":             {.001, 1},
		"rate=1000000":           {1e6, 1_000_000},
		"rate=100,burst=500":     {100, 500},
		"burst=1,rate=100":       {100, 1},
		"rate=1e2,burst=1000000": {100, 1_000_000},
	} {
		a := open(t, auth.Config{APIKeyFile: file(t, "shop send "+shopKey+" "+column, newsLine)})
		l := limiterOf(t, a, shopKey)
		if l == nil || l.Limit() != want.rate || l.Burst() != want.burst {
			t.Errorf("%s: got %+v", column, l)
		}
		if l := limiterOf(t, a, newsKey); l != nil {
			t.Errorf("a key without a rate has one: %+v", l)
		}
	}
}

func TestBadRates(t *testing.T) {
	for column, want := range map[string]string{
		"100":                      "fourth column",
		"rate":                     "rate: want a number",
		"rate=":                    "rate: want a number",
		"rate=0":                   "between 0.001 and 1000000",
		"rate=-1":                  "between 0.001 and 1000000",
		"rate=0.0009":              "between 0.001 and 1000000",
		"rate=1000001":             "between 0.001 and 1000000",
		"rate=NaN":                 "between 0.001 and 1000000",
		"rate=Inf":                 "between 0.001 and 1000000",
		"rate=100/s":               "rate: want a number",
		"rate=1,rate=2":            "fourth column",
		"burst=5":                  "fourth column",
		"rate=1,burst=0":           "burst: want a number of requests between 1 and 1000000",
		"rate=1,burst=1000001":     "between 1 and 1000000",
		"rate=1,burst=1.5":         "between 1 and 1000000",
		"rate=1,burst=2,burst=3":   "fourth column",
		"rate=1,":                  "fourth column",
		"rate=1,window=5":          "fourth column",
		"rate=1 burst=2":           "got 5",
		shopKey:                    "fourth column",
		"rate=9" + "99999" + "999": "between 0.001 and 1000000",
	} {
		path := file(t, newsLine, "shop send "+shopKey+" "+column)
		_, err := auth.New(auth.Config{APIKeyFile: path})
		wantLineError(t, err, path+":2: ", want)
	}
}

// TestReloadKeepsWhatWasUsed: reading the file again fills no bucket, new
// figures hold at once, and an error changes none.
func TestReloadKeepsWhatWasUsed(t *testing.T) {
	path := file(t, newsLine, "shop send "+shopKey+" rate=0.001,burst=2")
	a := open(t, auth.Config{APIKeyFile: path})
	before := limiterOf(t, a, shopKey)
	if !before.AllowN(time.Now(), 2) {
		t.Fatal("the burst is not there")
	}
	reload := func(want error, lines ...string) *rate.Limiter {
		t.Helper()
		rewrite(t, path, lines...)
		if err := a.Reload(); (err == nil) != (want == nil) {
			t.Fatalf("got %v", err)
		}
		return limiterOf(t, a, shopKey)
	}
	other := "rotated-0123456789abcdef"
	if l := reload(nil, "shop send "+shopKey+" rate=0.001,burst=2", newsLine); l.Allow() {
		t.Error("a reload filled the bucket")
	}
	if l := reload(errors.New("any"), "shop send "+shopKey+" rate=500", "news"); l.Limit() != .001 || l.Allow() {
		t.Errorf("a file with an error changed the rate to %v", l.Limit())
	}
	if l := reload(nil, "shop2 send "+other, "shop send "+shopKey+" rate=0.002,burst=5"); l.Limit() != .002 || l.Burst() != 5 || l.Allow() {
		t.Errorf("got %v, %v", l.Limit(), l.Burst())
	}
	if l := reload(nil, "shop send "+shopKey); l != nil {
		t.Errorf("the rate was taken back, got %v", l.Limit())
	}
	if before.Allow() {
		t.Error("who was let in before the reload has a full bucket")
	}
}
