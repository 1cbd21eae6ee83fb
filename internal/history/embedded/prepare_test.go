package embedded

import (
	"context"
	"fmt"
	"testing"

	"pushd.example/internal/history"
)

// Two large multicasts with one key, prepared at the same time: one is stored,
// and of the other nothing is kept either.
func TestPreparationOfADuplicateIsForgotten(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir(), Sync: SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	users := make([]string, prepareFrom)
	for i := range users {
		users[i] = fmt.Sprint("user", i)
	}
	prepared := func() *request {
		r := s.newRequest(opAppend)
		r.Kind, r.Data, r.IdempotencyKey = history.Multicast, []byte("x"), "k"
		r.targets = appendTargets(r.targets, users)
		if known, err := s.prepare(context.Background(), r); err != nil || known.Duplicate {
			t.Fatalf("preparing: %+v, %v", known, err)
		}
		return r
	}
	first, second := prepared(), prepared()
	for _, r := range []*request{first, second} {
		if err := s.submit(context.Background(), r); err != nil || r.err != nil {
			t.Fatal(err, r.err)
		}
	}
	if first.result.Duplicate || first.result.Recipients != prepareFrom {
		t.Errorf("first: %+v", first.result)
	}
	if want := (history.AppendResult{ID: first.result.ID, Duplicate: true}); second.result != want {
		t.Errorf("second: %+v, want %+v", second.result, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(s.commit.preps); n != 0 {
		t.Errorf("%d preparations are kept", n)
	}
}
