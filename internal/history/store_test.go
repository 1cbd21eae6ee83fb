package history_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pushd.example/internal/history"
)

func TestCheckUser(t *testing.T) {
	for _, user := range []string{"a", "0", " ", "a\x00b", "Zoë", strings.Repeat("u", 128), strings.Repeat("é", 64)} {
		if err := history.CheckUser(user); err != nil {
			t.Errorf("%q: %v", user, err)
		}
	}
	for _, user := range []string{"", "\xff", "a\xc3", "\xed\xa0\x80", strings.Repeat("u", 129), strings.Repeat("é", 65)} {
		if err := history.CheckUser(user); !errors.Is(err, history.ErrUser) {
			t.Errorf("%q: %v, want ErrUser", user, err)
		}
	}
}

func TestKindWords(t *testing.T) {
	for kind, want := range map[history.Kind][2]string{
		history.Unicast:   {"unicast", "inbox"},
		history.Multicast: {"multicast", "inbox"},
		history.Broadcast: {"broadcast", "broadcast"},
	} {
		if kind.String() != want[0] || kind.Log() != want[1] {
			t.Errorf("kind %d: %q in log %q, want %q", kind, kind, kind.Log(), want)
		}
	}
	if s := history.Kind(9).String(); s != "kind(9)" {
		t.Errorf("unknown kind: %q", s)
	}
}

func TestMessageLog(t *testing.T) {
	for want, m := range map[string]history.Message{
		"inbox": {Kind: history.Multicast}, "broadcast": {Kind: history.Broadcast},
		"none": {Kind: history.Broadcast, Ephemeral: true},
	} {
		if got := m.Log(); got != want {
			t.Errorf("%+v is in log %q, want %q", m, got, want)
		}
	}
}

func TestRetentionDefaults(t *testing.T) {
	day := 24 * time.Hour
	want := history.Retention{InboxCount: 1000, InboxAge: 30 * day, BroadcastCount: 10_000, BroadcastAge: 30 * day, IdempotencyKeys: day}
	if got := (history.Retention{}).WithDefaults(); got != want {
		t.Errorf("defaults %+v, want %+v", got, want)
	}
	set := history.Retention{InboxCount: 1, InboxAge: 2, BroadcastCount: 3, BroadcastAge: 4, IdempotencyKeys: 5}
	if got := set.WithDefaults(); got != set {
		t.Errorf("%+v became %+v", set, got)
	}
}

func TestRetentionCheck(t *testing.T) {
	for _, r := range []history.Retention{{}, {InboxCount: 1, IdempotencyKeys: 1}} {
		if err := r.Check(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, r := range []history.Retention{
		{InboxCount: -1}, {InboxAge: -1}, {BroadcastCount: -1}, {BroadcastAge: -1}, {IdempotencyKeys: -1},
	} {
		if err := r.Check(); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
}

func TestPushCheck(t *testing.T) {
	one, two := []string{"a"}, []string{"a", "b"}
	for _, p := range []history.Push{
		{Kind: history.Unicast, Users: one},
		{Kind: history.Multicast, Users: one},
		{Kind: history.Multicast, Users: two, TTL: time.Second, IdempotencyKey: "k"},
		{Kind: history.Broadcast, ExcludeConnection: strings.Repeat("c", 128)},
		{Kind: history.Broadcast, Ephemeral: true, ExcludeConnection: "c"},
		{Kind: history.Broadcast, CollapseKey: strings.Repeat("c", 128)},
	} {
		if err := p.Check(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, p := range []history.Push{
		{}, {Kind: 4}, {Kind: history.Unicast}, {Kind: history.Unicast, Users: two},
		{Kind: history.Multicast}, {Kind: history.Broadcast, Users: one}, {Kind: history.Broadcast, TTL: -1},
		{Kind: history.Broadcast, ExcludeConnection: strings.Repeat("c", 129)},
		{Kind: history.Broadcast, Ephemeral: true, TTL: 1}, {Kind: history.Broadcast, Ephemeral: true, IdempotencyKey: "k"},
		{Kind: history.Broadcast, Ephemeral: true, Durability: history.Memory},
		{Kind: history.Broadcast, Ephemeral: true, CollapseKey: "c"},
		{Kind: history.Broadcast, CollapseKey: strings.Repeat("c", 129)},
	} {
		if err := p.Check(); err == nil || errors.Is(err, history.ErrUser) {
			t.Errorf("%+v: %v, want an error that is not ErrUser", p, err)
		}
	}
	for _, users := range [][]string{{""}, {"a", "\xff"}} {
		if err := (history.Push{Kind: history.Multicast, Users: users}).Check(); !errors.Is(err, history.ErrUser) {
			t.Errorf("multicast to %q: %v, want ErrUser", users, err)
		}
	}
}

func TestQueryAndStartCheck(t *testing.T) {
	good := []error{
		history.Query{Limit: 1}.Check(),
		history.Query{Direction: history.Backward, Limit: 1, MaxBytes: 1}.Check(),
		history.Start{}.Check(),
		history.Start{At: history.StartNow, Limit: -1}.Check(),
		history.Start{At: history.StartUnread, Limit: 1}.Check(),
	}
	for i, err := range good {
		if err != nil {
			t.Errorf("good %d: %v", i, err)
		}
	}
	bad := []error{
		history.Query{}.Check(),
		history.Query{Limit: 1, MaxBytes: -1}.Check(),
		history.Query{Direction: 3, Limit: 1}.Check(),
		history.Start{At: history.StartAfter}.Check(),
		history.Start{At: history.StartUnread, Limit: 1, MaxBytes: -1}.Check(),
		history.Start{At: 3, Limit: 1}.Check(),
	}
	for i, err := range bad {
		if err == nil {
			t.Errorf("bad %d was taken", i)
		}
	}
}
