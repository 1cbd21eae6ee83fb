package rpc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gwruntime "github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/history/redis"
	"pushd.example/internal/redistest"
	gateway "pushd.example/internal/rpc/gateway/push/v1"
	"pushd.example/internal/testkit"
)

// The benchmarks compare ours, with auth, checks, metrics and a real append,
// with servers that do nothing, in one run: 32 callers, all in this process.
//
//	go test ./internal/rpc -run - -bench . -benchtime 2s -count 5

const benchData = `{"title":"Hi","text":"The quick brown fox jumps over the lazy dog","n":9007199254740993}`

// noop is PushService without the service.
type noop struct {
	pushv1.UnimplementedPushServiceServer
}

func (noop) Unicast(context.Context, *pushv1.UnicastRequest) (*pushv1.UnicastResponse, error) {
	return &pushv1.UnicastResponse{Id: "365072220160000", Online: 1}, nil
}

func BenchmarkREST(b *testing.B) {
	raw := `{"user":"%d","data":` + benchData + `}`
	b.Run("nethttp-noop", func(b *testing.B) {
		benchREST(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, `{"id":"365072220160000","duplicate":false,"online":1}`)
		}), raw)
	})
	b.Run("gateway-noop", func(b *testing.B) {
		mux := gwruntime.NewServeMux()
		testkit.Must(b, gateway.RegisterPushServiceHandlerServer(b.Context(), mux, noop{}))
		benchREST(b, mux, `{"user":"%d","data":"eyJ0aXRsZSI6IkhpIiwidGV4dCI6IlRoZSBxdWljayBicm93biBmb3gganVtcHMgb3ZlciB0aGUgbGF6eSBkb2ciLCJuIjo5MDA3MTk5MjU0NzQwOTkzfQ=="}`)
	})
	eachStore(b, func(b *testing.B, r *rig) { benchREST(b, r.server.REST(), raw) })
}

// eachStore runs ours with memory, which is mostly this package's work, and
// with the embedded store, without and with a sync a call, and with Redis.
func eachStore(b *testing.B, run func(*testing.B, *rig)) {
	b.Run("memory", func(b *testing.B) { run(b, newRig(b, options{})) })
	for _, sync := range []embedded.Sync{embedded.SyncNever, embedded.SyncInterval, embedded.SyncAlways} {
		b.Run("embedded-fsync-"+sync.String(), func(b *testing.B) {
			store, err := embedded.Open(embedded.Config{Dir: b.TempDir(), Sync: sync})
			testkit.Must(b, err)
			b.Cleanup(func() { testkit.Must(b, store.Close()) })
			run(b, newRig(b, options{store: func(history.Store) history.Store { return store }}))
		})
	}
	b.Run("redis", func(b *testing.B) {
		store, err := redis.Open(b.Context(), redis.Config{URL: redistest.Start(b, redistest.Options{}).URL(), Node: "bench"})
		testkit.Must(b, err)
		b.Cleanup(func() { testkit.Must(b, store.Close()) })
		run(b, newRig(b, options{store: func(history.Store) history.Store { return store }}))
	})
}

// benchREST posts unicasts from 32 connections with as little client as can
// be: the server is what is measured.
func benchREST(b *testing.B, h http.Handler, body string) {
	l := listen(b)
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(l) }()
	b.Cleanup(func() { _ = server.Close() })
	var callers atomic.Int64
	measure(b, func(pb *testing.PB) {
		user := callers.Add(1)
		c, err := net.Dial("tcp", l.Addr().String())
		testkit.Must(b, err)
		defer c.Close()
		br := bufio.NewReader(c)
		text := fmt.Sprintf(body, user)
		request := fmt.Appendf(nil, "POST /v1/unicast HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", keyAll, len(text), text)
		for pb.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			resp, err := http.ReadResponse(br, nil)
			if err != nil || resp.StatusCode != 200 {
				b.Errorf("%v %v", resp, err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
	})
}

// measure runs 32 callers, and reports the process's CPU time as well: it
// holds still where the machine's other work makes the wall clock jump.
func measure(b *testing.B, caller func(*testing.PB)) {
	b.ReportAllocs()
	b.SetParallelism(32 / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	before := cpuTime(b)
	b.RunParallel(caller)
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	testkit.Must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkGRPC(b *testing.B) {
	b.Run("noop", func(b *testing.B) {
		s := grpc.NewServer()
		pushv1.RegisterPushServiceServer(s, noop{})
		benchGRPC(b, s)
	})
	eachStore(b, func(b *testing.B, r *rig) { benchGRPC(b, r.server.GRPC()) })
}

func benchGRPC(b *testing.B, s *grpc.Server) {
	l := listen(b)
	go func() { _ = s.Serve(l) }()
	b.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	testkit.Must(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	client := pushv1.NewPushServiceClient(conn)
	ctx := metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+keyAll)
	var callers atomic.Int64
	measure(b, func(pb *testing.PB) {
		user := strconv.FormatInt(callers.Add(1), 10)
		for pb.Next() {
			if _, err := client.Unicast(ctx, &pushv1.UnicastRequest{User: user, Data: []byte(benchData)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkHistory reads a page of 50 over REST and over gRPC.
func BenchmarkHistory(b *testing.B) {
	r := newRig(b, options{})
	for range 60 {
		_, err := r.store.Append(b.Context(), history.Push{Kind: history.Unicast, Users: []string{"42"}, Data: []byte(benchData)})
		testkit.Must(b, err)
	}
	b.Run("REST", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.with(b).rest(keyAll, "GET", "/v1/users/42/history", "")
		}
	})
	b.Run("gRPC", func(b *testing.B) {
		ctx := r.with(b).as(keyAll)
		b.ReportAllocs()
		for b.Loop() {
			_, err := r.push.History(ctx, &pushv1.HistoryRequest{User: "42"})
			testkit.Must(b, err)
		}
	})
}

// benchLongData is a list of benchData.
func benchLongData() string {
	return "[" + benchData + strings.Repeat(","+benchData, 64<<10/len(benchData)-1) + "]"
}

// BenchmarkCodec is what JSON costs.
func BenchmarkCodec(b *testing.B) {
	k := newCodec()
	b.Run("unicast-request", func(b *testing.B) {
		body := []byte(`{"user":"42","data":` + benchData + `}`)
		buf := make([]byte, len(body))
		b.ReportAllocs()
		for b.Loop() {
			copy(buf, body)
			testkit.Must(b, k.Unmarshal(buf, new(pushv1.UnicastRequest)))
		}
	})
	b.Run("unicast-response", func(b *testing.B) {
		resp := &pushv1.UnicastResponse{Id: "365072220160000", Online: 1}
		b.ReportAllocs()
		for b.Loop() {
			_, err := k.Marshal(resp)
			testkit.Must(b, err)
		}
	})
	for name, data := range map[string]string{"small": benchData, "64KiB": benchLongData()} {
		for _, rules := range []DataRules{AnyData, StrictData} {
			b.Run("check-"+name+"-"+string(rules), func(b *testing.B) {
				value := []byte(data)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					testkit.Must(b, rules.check(value, 1<<20))
				}
			})
		}
	}
	b.Run("page-of-50", func(b *testing.B) {
		page := make([]history.Message, 50)
		for i := range page {
			page[i] = history.Message{ID: history.ID(365072220160000 + i), Kind: history.Unicast, Data: []byte(benchData)}
		}
		resp := &pushv1.HistoryResponse{Messages: messages(page), Cursor: history.Cursor{}.String()}
		b.ReportAllocs()
		for b.Loop() {
			_, err := k.Marshal(resp)
			testkit.Must(b, err)
		}
	})
}
