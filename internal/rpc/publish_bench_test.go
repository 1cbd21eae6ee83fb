package rpc

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/testkit"
)

// Publish does nothing but answer.
func (noop) Publish(stream grpc.BidiStreamingServer[pushv1.PublishRequest, pushv1.PublishResponse]) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil
		}
		if err := stream.Send(&pushv1.PublishResponse{Number: req.GetNumber(), Reply: &pushv1.PublishResponse_Unicast{
			Unicast: &pushv1.UnicastResponse{Id: "365072220160000", Online: 1}}}); err != nil {
			return err
		}
	}
}

// BenchmarkPublish sends unicasts to 1,000 users over one stream, with a stream
// that does nothing in the same run; "live" is with all of them connected, and
// the clients' work in the figure too.
//
//	go test ./internal/rpc -run - -bench Publish -benchtime 2s -count 5
func BenchmarkPublish(b *testing.B) {
	b.Run("noop", func(b *testing.B) {
		s := grpc.NewServer()
		pushv1.RegisterPushServiceServer(s, noop{})
		benchPublish(b, s)
	})
	b.Run("memory", func(b *testing.B) {
		r := newRig(b, options{store: func(history.Store) history.Store { return &counting{} }})
		benchPublish(b, r.server.GRPC())
	})
	for _, sync := range []embedded.Sync{embedded.SyncNever, embedded.SyncInterval, embedded.SyncAlways} {
		for _, live := range []bool{false, true} {
			name := "embedded-fsync-" + sync.String()
			if live {
				name += "-live"
			}
			b.Run(name, func(b *testing.B) {
				store, err := embedded.Open(embedded.Config{Dir: b.TempDir(), Sync: sync})
				testkit.Must(b, err)
				b.Cleanup(func() { testkit.Must(b, store.Close()) })
				r := newRig(b, options{store: func(history.Store) history.Store { return store }})
				if live {
					r.connectAll(b, benchUsers)
				}
				benchPublish(b, r.server.GRPC())
			})
		}
	}
}

const benchUsers = 1000

// counting is a store that only counts, to see what the stream costs.
type counting struct {
	history.Store
	mu sync.Mutex
	id history.ID
}

func (c *counting) Append(context.Context, history.Push) (history.AppendResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id++
	return history.AppendResult{ID: c.id}, nil
}

func (c *counting) Follow(func([]history.Delivery)) func() { return func() {} }

// connectAll connects users that read and throw away.
func (r *rig) connectAll(b *testing.B, n int) {
	for i := range n {
		conn, err := net.Dial("tcp", r.door.Addr().String())
		testkit.Must(b, err)
		token := r.token(strconv.Itoa(i), time.Now().Add(time.Hour))
		dialer := ws.Dialer{NetDial: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
		_, _, _, err = dialer.Dial(b.Context(), fmt.Sprintf("ws://%s/push?token=%s", r.door.Addr(), token))
		testkit.Must(b, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(io.Discard, conn)
		}()
		b.Cleanup(func() { _ = conn.Close(); <-done })
	}
}

func benchPublish(b *testing.B, s *grpc.Server) {
	l := listen(b)
	go func() { _ = s.Serve(l) }()
	b.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	testkit.Must(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+keyAll))
	defer cancel()
	stream, err := pushv1.NewPushServiceClient(conn).Publish(ctx)
	testkit.Must(b, err)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	go func() {
		for i := range b.N {
			req := &pushv1.PublishRequest{Number: uint64(i), Send: &pushv1.PublishRequest_Unicast{
				Unicast: &pushv1.UnicastRequest{User: strconv.Itoa(i * 7919 % benchUsers), Data: []byte(benchData)}}}
			if err := stream.Send(req); err != nil {
				b.Errorf("request %d: %v", i, err)
				return
			}
		}
		_ = stream.CloseSend()
	}()
	replies := 0
	for {
		reply, err := stream.Recv()
		if err == io.EOF || err != nil && replies == b.N {
			break
		}
		testkit.Must(b, err)
		if reply.GetUnicast().GetId() == "" {
			b.Fatalf("reply %v", reply)
		}
		replies++
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "unicasts/s")
	if replies != b.N {
		b.Fatalf("%d replies to %d requests", replies, b.N)
	}
}
