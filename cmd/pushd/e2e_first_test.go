package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/testkit"
)

// TestE2EFirstPush is the README's first minute: hello, the three sends over
// both doors, each answered and delivered at once.
func TestE2EFirstPush(t *testing.T) {
	s := startDev(t, t.TempDir())
	l := listen(t, s, "42", filepath.Join(t.TempDir(), "cursor"))
	if f := l.next(t); f.Type != "hello" || f.User != "42" {
		t.Fatalf("got %+v, want hello to 42", f)
	}

	r := s.push("unicast", `{"user":"42","data":{"title":"Hi"}}`)
	if r.Online != 1 || r.Duplicate || r.ID == "" {
		t.Errorf("unicast answered %+v", r)
	}
	want(t, l.next(t), r.ID, "unicast", `{"title":"Hi"}`)

	r = s.push("multicast", `{"users":["7","42","42"],"data":[9007199254740993]}`)
	if r.Online != 1 || r.Recipients != 2 {
		t.Errorf("multicast answered %+v, want online 1, recipients 2", r)
	}
	want(t, l.next(t), r.ID, "multicast", `[9007199254740993]`)

	r = s.push("broadcast", `{"data":"to all"}`)
	want(t, l.next(t), r.ID, "broadcast", `"to all"`)

	api, cc := grpcClient(t, s)
	ctx := t.Context()
	u, err := api.Unicast(ctx, &pushv1.UnicastRequest{User: "42", Data: []byte(`{"via":"gRPC"}`)})
	if err != nil {
		t.Fatal(err)
	}
	want(t, l.next(t), u.GetId(), "unicast", `{"via":"gRPC"}`)
	m, err := api.Multicast(ctx, &pushv1.MulticastRequest{Users: []string{"42"}, Data: []byte(`1`)})
	if err != nil {
		t.Fatal(err)
	}
	want(t, l.next(t), m.GetId(), "multicast", `1`)
	b, err := api.Broadcast(ctx, &pushv1.BroadcastRequest{Data: []byte(`null`)})
	if err != nil {
		t.Fatal(err)
	}
	want(t, l.next(t), b.GetId(), "broadcast", `null`)

	// grpcurl needs reflection and health.
	h, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", h, err)
	}
	stream, err := reflectionpb.NewServerReflectionClient(cc).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	services, err := stream.Recv()
	if err != nil || !strings.Contains(services.String(), "push.v1.PushService") {
		t.Errorf("reflection lists %v, %v", services, err)
	}
}

// TestE2EMissed stops a listener, pushes, and starts it again: what it missed
// arrives once each and in order, then live goes on; history shows the same.
func TestE2EMissed(t *testing.T) {
	s := startDev(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "cursor")
	l := listen(t, s, "42", file)
	l.next(t)
	ids := []string{s.push("unicast", `{"user":"42","data":0}`).ID}
	want(t, l.next(t), ids[0], "unicast", "0")
	l.stop()

	for i := range 5 {
		ids = append(ids, s.push("unicast", fmt.Sprintf(`{"user":"42","data":%d}`, i+1)).ID)
	}
	ids = append(ids, s.push("broadcast", `{"data":6}`).ID)

	l = listen(t, s, "42", file)
	if f := l.next(t); f.Type != "hello" || f.Unread != 7 || f.Truncated {
		t.Errorf("hello is %+v, want 7 unread", f)
	}
	for i := 1; i <= 6; i++ {
		kind := "unicast"
		if i == 6 {
			kind = "broadcast"
		}
		want(t, l.next(t), ids[i], kind, fmt.Sprint(i))
	}
	ids = append(ids, s.push("unicast", `{"user":"42","data":7}`).ID)
	want(t, l.next(t), ids[7], "unicast", "7")

	// Forward in pages of 3, backward in pages of 3, and the newest page: the
	// same messages in the same order.
	var forward, backward []string
	for cursor := "0"; ; {
		p := s.history("42", "limit=3&after="+cursor)
		forward = append(forward, frameIDs(p.Messages)...)
		if cursor = p.Cursor; !p.HasMore {
			break
		}
	}
	newest := s.history("42", "limit=3")
	backward = frameIDs(newest.Messages)
	for p := newest; p.HasMore; {
		p = s.history("42", "limit=3&before="+p.Messages[0].ID)
		backward = append(frameIDs(p.Messages), backward...)
	}
	if !slices.Equal(forward, ids) || !slices.Equal(backward, ids) {
		t.Errorf("pushed   %v\nforward  %v\nbackward %v", ids, forward, backward)
	}
	if newest.Unread != 8 || newest.Truncated {
		t.Errorf("unread %d, truncated %v; want 8, false", newest.Unread, newest.Truncated)
	}

	// Reading three leaves five.
	three := s.history("42", "limit=3&after=0")
	var ack struct{ Unread int }
	if _, err := s.rest("POST", "/v1/users/42/ack", `{"cursor":"`+three.Cursor+`"}`, &ack); err != nil {
		t.Fatal(err)
	}
	if ack.Unread != 5 || s.history("42", "").Unread != 5 {
		t.Errorf("after reading 3 of 8, unread is %d in ack, %d in history", ack.Unread, s.history("42", "").Unread)
	}
	// A client may resume at its read mark instead of a cursor, and ack itself.
	c := mustDial(t, s, "42", "&cursor=ack")
	for i := 3; i < 8; i++ {
		if f := c.next(t); f.ID != ids[i] {
			t.Fatalf("resuming at the read mark: got %s, want %s", f.ID, ids[i])
		}
	}
	if err := c.ws.Write(t.Context(), 1, []byte(`{"type":"ack","cursor":"`+c.cursor.String()+`"}`)); err != nil {
		t.Fatal(err)
	}
	testkit.WaitForSuccess(t, "the ack to count", func() error {
		if n := s.history("42", "").Unread; n != 0 {
			return fmt.Errorf("unread is %d", n)
		}
		return nil
	})
}

// TestE2EKill kills pushd while pushes run: nothing answered OK is missing.
func TestE2EKill(t *testing.T) {
	dir := t.TempDir()
	acked := map[string][]string{} // user -> ids
	for round := range 3 {
		s := startDev(t, dir)
		var mu sync.Mutex
		var wg sync.WaitGroup
		enough := make(chan struct{})
		for caller := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					user := fmt.Sprintf("u%d", caller)
					var r receipt
					if _, err := s.rest("POST", "/v1/unicast", fmt.Sprintf(`{"user":%q,"data":[%d,%d,%d]}`, user, round, caller, i), &r); err != nil {
						return // killed
					}
					mu.Lock()
					acked[user] = append(acked[user], r.ID)
					n := len(acked[user])
					mu.Unlock()
					if caller == 0 && n == (round+1)*50 {
						close(enough)
					}
				}
			})
		}
		<-enough
		s.kill()
		wg.Wait()
	}
	s := startDev(t, dir)
	for user, ids := range acked {
		kept := frameIDs(s.wholeHistory(user))
		i := 0
		for _, id := range kept {
			if i < len(ids) && id == ids[i] {
				i++
			}
		}
		if i < len(ids) {
			t.Errorf("%s: %d of %d answered messages are kept in order; %s is missing", user, i, len(ids), ids[i])
		}
	}
	s.terminate()
}

// TestE2EListenSurvivesRestart keeps one listener over a restart of pushd.
func TestE2EListenSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s := startDev(t, dir)
	l := listen(t, s, "42", "none")
	l.next(t)
	first := s.push("unicast", `{"user":"42","data":1}`)
	want(t, l.next(t), first.ID, "unicast", "1")
	addr := s.Listen
	s.terminate()

	s = startDev(t, dir, "-listen", addr)
	second := s.push("unicast", `{"user":"42","data":2}`)
	var f frame
	for f.Type != "message" { // the hello of the new connection comes first
		f = l.next(t)
	}
	want(t, f, second.ID, "unicast", "2")
}

// TestE2EAdmin walks the operators' door.
func TestE2EAdmin(t *testing.T) {
	s := startDev(t, t.TempDir())
	mustDial(t, s, "42", "")
	s.push("unicast", `{"user":"42","data":1}`)
	for path, holds := range map[string]string{
		"/healthz":          "ok",
		"/readyz":           "ready",
		"/metrics":          "pushd_",
		"/debug/pprof/heap": "",
	} {
		resp, err := http.Get("http://" + s.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(b), holds) {
			t.Errorf("%s: %s\n%.300s", path, resp.Status, b)
		}
	}
}

func grpcClient(t testing.TB, s *server) (pushv1.PushServiceClient, *grpc.ClientConn) {
	t.Helper()
	cc, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return pushv1.NewPushServiceClient(cc), cc
}

func want(t testing.TB, f frame, id, kind, data string) {
	t.Helper()
	if f.Type != "message" || f.ID != id || f.Kind != kind || string(f.Data) != data {
		b, _ := json.Marshal(f)
		t.Fatalf("got %s\nwant message %s, %s, data %s", b, id, kind, data)
	}
}

func frameIDs(fs []frame) []string {
	ids := make([]string, 0, len(fs))
	for _, f := range fs {
		ids = append(ids, f.ID)
	}
	return ids
}
