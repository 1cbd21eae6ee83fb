package rpc

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/testkit"
)

// TestPanicCostsOneCall at either door: it is answered, logged, counted, and
// the next call works.
func TestPanicCostsOneCall(t *testing.T) {
	var armed atomic.Bool
	r := newRig(t, breaking(func() error {
		if armed.Swap(false) {
			panic("store fell over")
		}
		return nil
	}))
	req := &pushv1.UnicastRequest{User: "42", Data: hi}

	armed.Store(true)
	ctx := metadata.AppendToOutgoingContext(r.as(keyAll), "x-request-id", "over-grpc")
	_, err := r.push.Unicast(ctx, req)
	p := grpcProblem(t, err)
	equal(t, "gRPC code", p.Code, codes.Internal)
	equal(t, "gRPC message", p.Message, "internal error")
	testkit.Must(t, r.call(req))

	armed.Store(true)
	re := r.rest(keyAll, "POST", "/v1/unicast", `{"user":"42","data":1}`, "X-Request-Id", "over-rest")
	equal(t, "REST status", re.status, 500)
	equal(t, "REST message", re.problem(t).Message, "internal error")
	equal(t, "REST after it", r.restOf(req, "").status, 200)

	log := r.log.String()
	for _, want := range []string{"store fell over", "method=/push.v1.PushService/Unicast", "request_id=over-grpc", "request_id=over-rest", "broken).Append"} {
		contains(t, "log", log, want)
	}
	equal(t, "panics", r.metric("pushd_rpc_panics_total", ""), 2)
	equal(t, "Internal", r.metric("pushd_rpc_requests_total", `Unicast|Internal`), 2)
}

// TestPanicAroundACall: what the gateway does before a call is recovered too.
func TestPanicAroundACall(t *testing.T) {
	r := newRig(t, options{})
	h := r.server.rest.(*rest)
	testkit.Must(t, h.mux.HandlePath("GET", "/boom", func(http.ResponseWriter, *http.Request, map[string]string) { panic("gateway fell over") }))
	re := r.rest(keyAll, "GET", "/boom", "")
	equal(t, "status", re.status, 500)
	equal(t, "message", re.problem(t).Message, "internal error")
	equal(t, "panics", r.metric("pushd_rpc_panics_total", ""), 1)
}

// TestMetrics counts both doors' calls alike.
func TestMetrics(t *testing.T) {
	r := newRig(t, options{})
	good, bad := &pushv1.UnicastRequest{User: "42", Data: hi}, &pushv1.UnicastRequest{Data: hi}
	testkit.Must(t, r.call(good))
	equal(t, "REST", r.restOf(good, "").status, 200)
	equal(t, "gRPC", status.Code(r.call(bad)), codes.InvalidArgument)
	equal(t, "REST", r.restOf(bad, "").status, 400)
	equal(t, "REST, no JSON", r.restOf(bad, "{").status, 400)
	equal(t, "gRPC", status.Code(r.callAs("", good)), codes.Unauthenticated)
	equal(t, "REST", r.restOfAs("", good, "").status, 401)
	equal(t, "REST, no JSON", r.restOfAs("", good, "{").status, 401)
	equal(t, "REST", r.restOfAs(keyRead, good, "").status, 403)

	equal(t, "OK", r.metric("pushd_rpc_requests_total", "Unicast|OK"), 2)
	equal(t, "InvalidArgument", r.metric("pushd_rpc_requests_total", "Unicast|InvalidArgument"), 3)
	equal(t, "Unauthenticated", r.metric("pushd_rpc_requests_total", "Unicast|Unauthenticated"), 3)
	equal(t, "PermissionDenied", r.metric("pushd_rpc_requests_total", "Unicast|PermissionDenied"), 1)
	equal(t, "durations", r.metric("pushd_rpc_duration_seconds", "Unicast"), 9)
	equal(t, "other methods", r.metric("pushd_rpc_requests_total", "Broadcast|OK"), 0)

	problems, err := testutil.GatherAndLint(r.metrics)
	testkit.Must(t, err)
	equal(t, "lint", len(problems), 0)
	_, err = New(r.config)
	if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); !ok {
		t.Errorf("a second server on the same registry: %v", err)
	}
}

// metric returns a counter's value or a histogram's count; labels is
// "method|code" or "method" of PushService.
func (r *rig) metric(name, labels string) int {
	r.t.Helper()
	families, err := r.metrics.Gather()
	testkit.Must(r.t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() { // sorted by name
				got = append(got, strings.TrimPrefix(l.GetValue(), "push.v1.PushService/"))
			}
			if len(got) == 2 {
				got[0], got[1] = got[1], got[0]
			}
			if strings.Join(got, "|") == labels {
				return int(m.GetCounter().GetValue()) + int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

func TestHealth(t *testing.T) {
	r := newRig(t, options{})
	client := healthv1.NewHealthClient(r.conn)
	services := map[string]bool{"": true}
	for _, m := range apiMethods(t) {
		services[string(m.Parent().FullName())] = true
	}
	for service := range services {
		for _, serving := range []bool{false, true, false} {
			r.server.SetServing(serving)
			resp, err := client.Check(r.as(""), &healthv1.HealthCheckRequest{Service: service})
			testkit.Must(t, err)
			equal(t, service, resp.GetStatus() == healthv1.HealthCheckResponse_SERVING, serving)
		}
	}
	_, err := client.Check(r.as(""), &healthv1.HealthCheckRequest{Service: "nobody"})
	equal(t, "unknown service", status.Code(err), codes.NotFound)

	ctx, cancel := context.WithCancel(r.as(""))
	defer cancel()
	watch, err := client.Watch(ctx, &healthv1.HealthCheckRequest{})
	testkit.Must(t, err)
	for _, serving := range []bool{false, true} {
		if serving {
			r.server.SetServing(true)
		}
		resp, err := watch.Recv()
		testkit.Must(t, err)
		equal(t, "watched", resp.GetStatus() == healthv1.HealthCheckResponse_SERVING, serving)
	}
}

// TestReflection needs an API key, of any scope.
func TestReflection(t *testing.T) {
	r := newRig(t, options{})
	list := func(credential string) (*reflectionv1.ServerReflectionResponse, error) {
		ctx, cancel := context.WithCancel(r.as(credential))
		t.Cleanup(cancel)
		stream, err := reflectionv1.NewServerReflectionClient(r.conn).ServerReflectionInfo(ctx)
		testkit.Must(t, err)
		_ = stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
		return stream.Recv()
	}
	resp, err := list(keyManage)
	testkit.Must(t, err)
	var listed []string
	for _, s := range resp.GetListServicesResponse().GetService() {
		listed = append(listed, s.GetName())
	}
	for service := range r.server.GRPC().GetServiceInfo() {
		if !slices.Contains(listed, service) {
			t.Errorf("%s is not listed in %v", service, listed)
		}
	}
	_, err = list("")
	equal(t, "without a key", status.Code(err), codes.Unauthenticated)
	_, err = list(r.token("42", time.Now().Add(time.Hour)))
	equal(t, "with a token", status.Code(err), codes.PermissionDenied)
}

// TestTooLarge: gRPC refuses by itself what is over every limit at once.
func TestTooLarge(t *testing.T) {
	r := newRig(t, options{limits: Limits{MaxData: 1000, MaxUsers: 10}})
	err := r.call(&pushv1.UnicastRequest{User: "42", Data: make([]byte, 1<<20)})
	equal(t, "code", status.Code(err), codes.ResourceExhausted)
}
