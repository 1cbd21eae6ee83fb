package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"pushd.example/internal/auth"
	"pushd.example/internal/history/embedded"
)

// value is where a setting goes.
type value struct {
	// kind is what -h calls a value, "" for one that is on or off.
	kind string
	// limits is what may be set, as users are told; "" if kind says it.
	limits string
	// set returns an error that shows the text and what is wanted.
	set func(text string) error
	// get returns a text that set reads back.
	get func() string
}

const (
	kindBool   = ""
	kindNumber = "N"
)

func boolean(p *bool) value {
	return value{kind: kindBool, get: func() string { return strconv.FormatBool(*p) }, set: func(s string) (err error) {
		if *p, err = strconv.ParseBool(s); err != nil {
			return fmt.Errorf("%q: want true or false", s)
		}
		return nil
	}}
}

func text(p *string) value {
	return value{kind: "TEXT", get: func() string { return *p }, set: func(s string) error {
		*p = s
		return nil
	}}
}

func path(p *string) value {
	v := text(p)
	v.kind = "PATH"
	return v
}

// required returns v, which may not be set to "".
func required(v value) value {
	set := v.set
	v.set = func(s string) error {
		if s == "" {
			return errors.New("must not be empty")
		}
		return set(s)
	}
	return v
}

const (
	nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	maxName     = 64
)

func nodeText(p *string) value {
	v := text(p)
	v.kind, v.limits = "NAME", fmt.Sprintf("at most %d letters, digits, '.', '_', '-'", maxName)
	v.set = func(s string) error {
		if len(s) > maxName || strings.Trim(s, nameLetters) != "" {
			return fmt.Errorf("%q: want %s", s, v.limits)
		}
		*p = s
		return nil
	}
	return v
}

func word(p *string, words ...string) value {
	v := text(p)
	v.kind, v.limits = "WORD", strings.Join(words, ", ")
	v.set = func(s string) error {
		for _, w := range words {
			if s == w {
				*p = s
				return nil
			}
		}
		return fmt.Errorf("%q: want one of %s", s, v.limits)
	}
	return v
}

func level(p *slog.Level) value {
	var s string
	v := word(&s, "debug", "info", "warn", "error")
	set := v.set
	v.get = func() string { return strings.ToLower(p.String()) }
	v.set = func(text string) error {
		if err := set(text); err != nil {
			return err
		}
		return p.UnmarshalText([]byte(text))
	}
	return v
}

func syncPolicy(p *embedded.Sync) value {
	return value{kind: "WORD", limits: "always, interval, never", get: func() string { return p.String() }, set: func(s string) error {
		policy, err := embedded.ParseSync(s)
		if err != nil {
			return fmt.Errorf("%q: want one of always, interval, never", s)
		}
		*p = policy
		return nil
	}}
}

func origins(p *auth.Origins) value {
	var globs []string
	return value{kind: "LIST", get: func() string { return strings.Join(globs, ",") }, set: func(s string) error {
		var list []string
		for item := range strings.SplitSeq(s, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		parsed, err := auth.ParseOrigins(list)
		if err != nil {
			return err
		}
		*p, globs = parsed, list
		return nil
	}}
}

func address(p *string) value {
	return value{kind: "HOST:PORT", get: func() string { return *p }, set: func(s string) error {
		_, port, err := net.SplitHostPort(s)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return fmt.Errorf("%q: want host:port or :port, with a port from 0 to 65535", s)
		}
		*p = s
		return nil
	}}
}

func number(p *int, low, high int) value {
	limits := fmt.Sprintf("%d to %d", low, high)
	return value{kind: kindNumber, limits: limits, get: func() string { return strconv.Itoa(*p) }, set: func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q: want a whole number from %s", s, limits)
		}
		*p = n
		return nil
	}}
}

// duration takes its limits as text, so that they read as users write them.
func duration(p *time.Duration, low, high string) value {
	least, err1 := parseDuration(low)
	most, err2 := parseDuration(high)
	if err := errors.Join(err1, err2); err != nil {
		panic(err)
	}
	return value{kind: "TIME", limits: low + " to " + high, get: func() string { return formatDuration(*p) }, set: func(s string) error {
		d, err := parseDuration(s)
		if err != nil || d < least || d > most {
			return fmt.Errorf("%q: want a time from %s to %s, such as 1d12h, 90s or 250ms", s, low, high)
		}
		*p = d
		return nil
	}}
}

// day is 24 hours: retention knows no time zones.
const day = 24 * time.Hour

// parseDuration reads Go's durations with whole days in front: 30d, 1d12h.
func parseDuration(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil || n > uint64(math.MaxInt64/day)-1 {
		return 0, fmt.Errorf("bad number of days in %q", s)
	}
	if rest == "" {
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d >= day {
		return 0, fmt.Errorf("bad time after the days in %q", s)
	}
	return time.Duration(n)*day + d, nil
}

func formatDuration(d time.Duration) string {
	var days string
	if d >= day {
		days = strconv.FormatInt(int64(d/day), 10) + "d"
		if d %= day; d == 0 {
			return days
		}
	}
	s := d.String() // "1h0m0s"
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return days + s
}

var sizeUnits = []struct {
	name  string
	bytes int
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func size(p *int, low, high int) value {
	limits := formatSize(low) + " to " + formatSize(high)
	return value{kind: "SIZE", limits: limits, get: func() string { return formatSize(*p) }, set: func(s string) error {
		n, err := parseSize(s)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q: want a size from %s, such as 500B, 64KiB or 1MiB", s, limits)
		}
		*p = n
		return nil
	}}
}

// parseSize reads a number of bytes, or of a unit that says its factor: what
// KB and M mean depends on whom one asks.
func parseSize(s string) (int, error) {
	factor := 1
	for _, unit := range sizeUnits {
		if digits, ok := strings.CutSuffix(s, unit.name); ok {
			s, factor = strings.TrimSpace(digits), unit.bytes
			break
		}
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n > uint64(math.MaxInt/factor) {
		return 0, fmt.Errorf("bad size %q", s)
	}
	return int(n) * factor, nil
}

func formatSize(n int) string {
	for _, unit := range sizeUnits {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return strconv.Itoa(n/unit.bytes) + unit.name
		}
	}
	return "0B"
}
