package rpc

import (
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pushv1 "pushd/api/push/v1"
	"pushd/internal/auth"
)

// The verdicts of the access table.
const (
	yes     = codes.OK
	who     = codes.Unauthenticated
	mayNot  = codes.PermissionDenied
	ownUser = "42"
)

// TestAccess calls every method with every kind of credential at both doors.
func TestAccess(t *testing.T) {
	r := newRig(t, options{})
	in := time.Now().Add(time.Hour)
	methods := []proto.Message{
		&pushv1.UnicastRequest{User: ownUser, Data: hi},
		&pushv1.MulticastRequest{Users: []string{ownUser}, Data: hi},
		&pushv1.BroadcastRequest{Data: hi},
		&pushv1.HistoryRequest{User: ownUser},
		&pushv1.AckRequest{User: ownUser, Cursor: "0"},
	}
	equal(t, "methods in the table", len(methods), len(pushv1.PushService_ServiceDesc.Methods))
	for _, c := range []struct {
		name, credential string
		want             [5]codes.Code // Unicast, Multicast, Broadcast, History, Ack
	}{
		{"none", "", [5]codes.Code{who, who, who, who, who}},
		{"unknown key", "nobody-0123456789abcdef", [5]codes.Code{who, who, who, who, who}},
		{"all", keyAll, [5]codes.Code{yes, yes, yes, yes, yes}},
		{"send", keySend, [5]codes.Code{yes, yes, mayNot, mayNot, yes}},
		{"broadcast", keyBroadcast, [5]codes.Code{mayNot, mayNot, yes, mayNot, mayNot}},
		{"read", keyRead, [5]codes.Code{mayNot, mayNot, mayNot, yes, mayNot}},
		{"manage", keyManage, [5]codes.Code{mayNot, mayNot, mayNot, mayNot, mayNot}},
		{"own token", r.token(ownUser, in), [5]codes.Code{mayNot, mayNot, mayNot, yes, yes}},
		{"token of another user", r.token("43", in), [5]codes.Code{mayNot, mayNot, mayNot, mayNot, mayNot}},
		{"expired token", r.token(ownUser, time.Now().Add(-time.Minute)), [5]codes.Code{who, who, who, who, who}},
		{"damaged token", r.token(ownUser, in) + "x", [5]codes.Code{who, who, who, who, who}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := r.with(t)
			for i, req := range methods {
				name := string(req.ProtoReflect().Descriptor().Name())
				r.expectAccess(t, name, c.credential, req, c.want[i])
			}
		})
	}
}

func (r *rig) expectAccess(t *testing.T, name, credential string, req proto.Message, want codes.Code) {
	t.Helper()
	err := r.callAs(credential, req)
	re := r.restOfAs(credential, req, "")
	if want == yes {
		must(t, err)
		equal(t, name+": REST status", re.status, 200)
		return
	}
	viaGRPC, viaREST := grpcProblem(t, err), re.problem(t)
	equal(t, name+": gRPC code", viaGRPC.Code, want)
	equal(t, name+": REST code", viaREST.Code, want)
	equal(t, name+": message", viaREST.Message, viaGRPC.Message)
	equal(t, name+": REST status", re.status, map[codes.Code]int{who: 401, mayNot: 403}[want])
	if want == who {
		equal(t, name+": challenge", re.header.Get("WWW-Authenticate"), `Bearer realm="pushd"`)
	}
}

// TestEveryMethodHasARule: a method that nobody thought of is refused, and so
// must not exist.
func TestEveryMethodHasARule(t *testing.T) {
	r := newRig(t, options{})
	rules := newRules()
	for service, info := range r.server.GRPC().GetServiceInfo() {
		for _, m := range info.Methods {
			if _, ok := rules["/"+service+"/"+m.Name]; !ok {
				t.Errorf("no rule for %s/%s", service, m.Name)
			}
		}
	}
	err := (&guard{auth: r.auth, rules: rules}).admit(t.Context(), "/push.v1.PushService/Later", nil)
	if _, ok := err.(denied); !ok {
		t.Errorf("a method without a rule: %v", err)
	}
}

// TestCredentialForms: what counts as a bearer credential.
func TestCredentialForms(t *testing.T) {
	r := newRig(t, options{})
	for _, c := range []struct {
		header string
		want   int
	}{
		{"Bearer " + keyAll, 200},
		{"bearer " + keyAll, 200},
		{"Bearer   " + keyAll + " ", 200},
		{keyAll, 401},
		{"Basic " + keyAll, 401},
		{"Bearer", 401},
		{"Bearer ü", 401},
	} {
		re := r.rest("", "GET", "/v1/users/42/history", "", "Authorization", c.header)
		equal(t, c.header, re.status, c.want)
	}
	req, err := http.NewRequest("GET", r.url+"/v1/users/42/history", nil)
	must(t, err)
	req.Header["Authorization"] = []string{"Bearer " + keyAll, "Bearer " + keyRead}
	equal(t, "two credentials", r.do(req).status, 401)

	ctx := metadata.AppendToOutgoingContext(r.as(keyAll), "authorization", "Bearer "+keyRead)
	_, err = r.push.History(ctx, &pushv1.HistoryRequest{User: "42"})
	equal(t, "two credentials", grpcProblem(t, err).Code, codes.Unauthenticated)
}

// TestOpen: what -dev means at these doors.
func TestOpen(t *testing.T) {
	open, err := auth.New(auth.Config{Open: true})
	must(t, err)
	r := newRig(t, options{auth: open})
	must(t, r.callAs("", &pushv1.UnicastRequest{User: "42", Data: hi}))
	equal(t, "REST", r.rest("", "POST", "/v1/broadcast", `{"data":1}`).status, 200)
}

// TestOwnUserIsThePath: a token's user is compared with the path, and a body
// cannot name another one.
func TestOwnUserIsThePath(t *testing.T) {
	r := newRig(t, options{})
	token := r.token("42", time.Now().Add(time.Hour))
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/v1/users/42/ack", `{"cursor":"0"}`, 200},
		{"POST", "/v1/users/42/ack", `{"cursor":"0","user":"42"}`, 200},
		{"POST", "/v1/users/42/ack", `{"cursor":"0","user":"43"}`, 400},
		{"POST", "/v1/users/43/ack", `{"cursor":"0","user":"42"}`, 403},
		{"GET", "/v1/users/42/history?user=43", "", 400},
		{"GET", "/v1/users/43/history?user=42", "", 403},
		{"GET", "/v1/users/%34%32/history", "", 200},
	} {
		re := r.rest(token, c.method, c.path, c.body)
		equal(t, c.path+" "+c.body, re.status, c.want)
	}
}
