package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/history/memory"
	"pushd.example/internal/history/watch"
	"pushd.example/internal/testkit"
)

func TestMain(m *testing.M) {
	// After an answer to an unread body net/http lingers for 500 ms, which
	// Server.Close does not wait for.
	testkit.Main(m, "net/http.(*conn).closeWriteAndWait")
}

// The API keys of every rig, by what they may do.
const (
	keyAll       = "all-0123456789abcdef"
	keySend      = "send-0123456789abcdef"
	keyBroadcast = "broadcast-0123456789abcdef"
	keyRead      = "read-0123456789abcdef"
	keyManage    = "manage-0123456789abcdef"
)

const keyFile = "all * " + keyAll + "\n" +
	"send send " + keySend + "\n" +
	"broadcast broadcast " + keyBroadcast + "\n" +
	"read read " + keyRead + "\n" +
	"manage manage " + keyManage + "\n"

// rig is a Server on real sockets, with a client for each door.
type rig struct {
	t        testing.TB
	config   Config
	server   *Server
	store    history.Store
	groups   history.Groups
	events   watch.Events
	messages history.Messages
	door     *conn.Server
	auth     *auth.Auth
	metrics  *prometheus.Registry
	log      *testkit.Buffer

	push        pushv1.PushServiceClient
	connections pushv1.ConnectionServiceClient

	conn *grpc.ClientConn
	url  string
	http *http.Client
}

type options struct {
	store     func(history.Store) history.Store // wraps the memory store
	auth      *auth.Auth                        // nil: one with the keys above
	limits    Limits
	dataRules DataRules
	events    int              // that are kept; 0: the default
	now       func() time.Time // the memory store's clock; nil: time.Now
}

func newRig(t testing.TB, o options) *rig {
	t.Helper()
	if o.auth == nil {
		o.auth = newAuth(t)
	}
	r := &rig{t: t, auth: o.auth, metrics: prometheus.NewRegistry(), log: new(testkit.Buffer)}
	mem, err := memory.New(memory.Config{Now: o.now, Events: o.events})
	testkit.Must(t, err)
	r.store, r.groups, r.messages, r.events = mem, mem, mem, mem
	t.Cleanup(func() { testkit.Must(t, mem.Close()) })
	if o.store != nil {
		r.store = o.store(mem)
	}
	r.clients(o.auth)
	r.config = Config{
		Store: r.store, Groups: r.groups, Messages: r.messages, Events: r.events, Directory: r.door, Subscriptions: r.door, Auth: r.auth, Limits: o.limits, DataRules: o.dataRules,
		Log: slog.New(slog.NewTextHandler(r.log, nil)), Metrics: r.metrics,
	}
	r.server, err = New(r.config)
	testkit.Must(t, err)
	r.serve()
	return r
}

// clients opens the clients' door.
func (r *rig) clients(a *auth.Auth) {
	r.t.Helper()
	var err error
	r.door, err = conn.New(conn.Config{Listen: "127.0.0.1:0", Node: "node-1", Store: r.store, Messages: r.messages, Auth: a})
	testkit.Must(r.t, err)
	var done sync.WaitGroup
	done.Go(func() { testkit.Must(r.t, r.door.Serve()) })
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		testkit.Must(r.t, r.door.Shutdown(ctx))
		done.Wait()
	})
}

func newAuth(t testing.TB) *auth.Auth {
	t.Helper()
	a, _ := authWith(t, keyFile)
	return a
}

// authWith returns an Auth with other API keys, and the file that they are in.
func authWith(t testing.TB, keys string) (*auth.Auth, string) {
	t.Helper()
	dir := t.TempDir()
	path, secrets := filepath.Join(dir, "keys"), filepath.Join(dir, "secrets")
	testkit.Must(t, os.WriteFile(path, []byte(keys), 0o600))
	testkit.Must(t, os.WriteFile(secrets, []byte(strings.Repeat("s", 32)), 0o600))
	a, err := auth.New(auth.Config{APIKeyFile: path, TokenKeyFile: secrets})
	testkit.Must(t, err)
	return a, path
}

func (r *rig) serve() {
	gl, hl := listen(r.t), listen(r.t)
	web := &http.Server{Handler: r.server.REST()}
	var done sync.WaitGroup
	done.Go(func() { _ = r.server.GRPC().Serve(gl) })
	done.Go(func() { _ = web.Serve(hl) })
	conn, err := grpc.NewClient("passthrough:///"+gl.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20)))
	testkit.Must(r.t, err)
	transport := &http.Transport{MaxIdleConnsPerHost: 64, ExpectContinueTimeout: 10 * time.Second}
	r.conn, r.push = conn, pushv1.NewPushServiceClient(conn)
	r.connections = pushv1.NewConnectionServiceClient(conn)
	r.url, r.http = "http://"+hl.Addr().String(), &http.Client{Transport: transport}
	r.t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = conn.Close()
		r.server.GRPC().Stop()
		_ = web.Close()
		done.Wait()
	})
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	return l
}

// with returns r for use by another test than the one that made it.
func (r *rig) with(t testing.TB) *rig {
	other := *r
	other.t = t
	return &other
}

// as returns a context that carries a credential to the gRPC door.
func (r *rig) as(credential string) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	r.t.Cleanup(cancel)
	if credential == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+credential)
}

func (r *rig) token(user string, expires time.Time) string {
	r.t.Helper()
	token, err := r.auth.Issue(user, expires)
	testkit.Must(r.t, err)
	return token
}

// reply is what the REST door answered.
type reply struct {
	status int
	header http.Header
	body   string
}

// rest makes a request; credential "" sends none.
func (r *rig) rest(credential, method, path, body string, header ...string) reply {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	testkit.Must(r.t, err)
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return r.do(req)
}

func (r *rig) do(req *http.Request) reply {
	r.t.Helper()
	resp, err := r.http.Do(req)
	testkit.Must(r.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	testkit.Must(r.t, err)
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// problem is an error as either door tells it.
type problem struct {
	Code    codes.Code `json:"code"`
	Message string     `json:"message"`
	Details []struct {
		Type       string `json:"@type"`
		RetryDelay string `json:"retry_delay"`
		Violations []struct {
			Field       string `json:"field"`
			Description string `json:"description"`
		} `json:"field_violations"`
	} `json:"details"`
}

func (p problem) field() string {
	for _, d := range p.Details {
		for _, v := range d.Violations {
			return v.Field
		}
	}
	return ""
}

// problem reads an error body and checks its shape.
func (re reply) problem(t testing.TB) problem {
	t.Helper()
	var p problem
	dec := json.NewDecoder(strings.NewReader(re.body))
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("status %d: body %q is not an error: %v", re.status, re.body, err)
	}
	if p.Code == codes.OK || p.Message == "" || p.Details == nil {
		t.Fatalf("status %d: body %s lacks code, message or details", re.status, re.body)
	}
	if got := re.header.Get("Content-Type"); got != "application/json" {
		t.Fatalf("content type %q", got)
	}
	return p
}

// grpcProblem returns the error of a gRPC call in the same shape.
func grpcProblem(t testing.TB, err error) problem {
	t.Helper()
	st, ok := status.FromError(err)
	if !ok || st.Code() == codes.OK {
		t.Fatalf("want a status error, got %v", err)
	}
	text, err := newCodec().Marshal(st.Proto())
	testkit.Must(t, err)
	var p problem
	testkit.Must(t, json.Unmarshal(text, &p))
	return p
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func contains(t testing.TB, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Fatalf("%s:\n got %s\nwant it to contain %s", what, got, want)
	}
}

// broken is the memory store with one thing wrong: fail, if set, is asked
// before every call.
type broken struct {
	history.Store
	fail func() error
}

func (b *broken) Append(ctx context.Context, p history.Push) (history.AppendResult, error) {
	if err := b.fail(); err != nil {
		return history.AppendResult{}, err
	}
	return b.Store.Append(ctx, p)
}

func (b *broken) Page(ctx context.Context, user string, q history.Query) (history.Page, error) {
	if err := b.fail(); err != nil {
		return history.Page{}, err
	}
	return b.Store.Page(ctx, user, q)
}

func (b *broken) Ack(ctx context.Context, user string, c history.Cursor, exclude string) (history.ReadMark, error) {
	if err := b.fail(); err != nil {
		return history.ReadMark{}, err
	}
	return b.Store.Ack(ctx, user, c, exclude)
}

// breaking returns options whose store fails with what fail says.
func breaking(fail func() error) options {
	return options{store: func(s history.Store) history.Store { return &broken{s, fail} }}
}

// quote is a JSON string.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("quoting %q: %v", s, err))
	}
	return string(b)
}
