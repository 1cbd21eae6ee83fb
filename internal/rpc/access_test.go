package rpc

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
	"pushd.example/internal/testkit"
)

// The verdicts of the access table.
const (
	yes     = codes.OK
	who     = codes.Unauthenticated
	mayNot  = codes.PermissionDenied
	ownUser = "42"
)

// samples is one good request of every method, and more where a method's
// answer to who may call depends on the request; those have a name.
func (r *rig) samples() []sample {
	unicast, broadcast := r.aUnicast(), r.aBroadcast()
	return []sample{
		{"", &pushv1.UnicastRequest{User: ownUser, Data: hi}},
		{"", &pushv1.MulticastRequest{Users: []string{ownUser}, Data: hi}},
		{"", &pushv1.BroadcastRequest{Data: hi}},
		{"", &pushv1.HistoryRequest{User: ownUser}},
		{"", &pushv1.AckRequest{User: ownUser, Cursor: "0"}},
		{"a unicast", &pushv1.PublishRequest{Send: &pushv1.PublishRequest_Unicast{Unicast: &pushv1.UnicastRequest{User: ownUser, Data: hi}}}},
		{"a multicast", &pushv1.PublishRequest{Send: &pushv1.PublishRequest_Multicast{Multicast: &pushv1.MulticastRequest{Users: []string{ownUser}, Data: hi}}}},
		{"a broadcast", &pushv1.PublishRequest{Send: &pushv1.PublishRequest_Broadcast{Broadcast: &pushv1.BroadcastRequest{Data: hi}}}},
		{"", &pushv1.SubscribeRequest{User: ownUser}},
		{"", &pushv1.GetReceiptRequest{Id: unicast}},
		{"of a unicast", &pushv1.RecallRequest{Id: unicast}},
		{"of a broadcast", &pushv1.RecallRequest{Id: broadcast}},
		{"", &pushv1.PresenceRequest{Users: []string{ownUser}}},
		{"", &pushv1.ListOnlineRequest{}},
		{"", &pushv1.ListEventsRequest{}},
		{"", &pushv1.ListConnectionsRequest{User: ownUser}},
		{"", &pushv1.DisconnectRequest{User: ownUser}},
		{"", &pushv1.WatchRequest{}},
		{"", &pushv1.AddMembersRequest{Group: "g", Users: []string{ownUser}}},
		{"", &pushv1.RemoveMembersRequest{Group: "g", Users: []string{ownUser}}},
		{"", &pushv1.ListMembersRequest{Group: "g"}},
		{"", &pushv1.ListGroupsRequest{User: ownUser}},
		{"", &pushv1.DeleteGroupRequest{Group: "g"}},
		{"", &pushv1.IssueRequest{User: ownUser}},
		{"", &healthv1.HealthCheckRequest{}},
		{"", &healthv1.HealthListRequest{}},
		{"", &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}},
		//lint:ignore SA1019 it is served for tools that know no other
		{"", &reflectionv1alpha.ServerReflectionRequest{MessageRequest: &reflectionv1alpha.ServerReflectionRequest_ListServices{}}},
	}
}

type sample struct {
	name string
	req  proto.Message
}

// row is what docs/api.md calls it.
func (s sample) row(m method) string {
	if s.name == "" {
		return m.name()
	}
	return m.name() + ", " + s.name
}

// column is a kind of credential, and under which heading the docs have it;
// "" is for those that every method which asks for a credential treats alike.
type column struct {
	heading, credential string
	otherwise           codes.Code
}

func (r *rig) columns() []column {
	in := time.Now().Add(time.Hour)
	own := r.token(ownUser, in)
	return []column{
		{"nothing", "", 0},
		{"send", keySend, 0},
		{"broadcast", keyBroadcast, 0},
		{"read", keyRead, 0},
		{"manage", keyManage, 0},
		{"own token", own, 0},
		{"another's token", r.token("43", in), 0},
		{"", keyAll, yes},
		{"", "nobody-0123456789abcdef", who},
		{"", r.token(ownUser, time.Now().Add(-time.Minute)), who},
		{"", own + "x", who},
	}
}

// TestAccess calls every method with every kind of credential at both doors,
// and compares with the table in the docs, which is the only one.
//
// Set PUSHD_UPDATE_DOCS=1 to have the test write what it found instead.
func TestAccess(t *testing.T) {
	r := newRig(t, options{})
	columns, samples := r.columns(), r.samples()
	var table strings.Builder
	heading, line := "| method | REST |", "|---|---|"
	for _, c := range columns {
		if c.heading != "" {
			heading, line = heading+" "+c.heading+" |", line+":-:|"
		}
	}
	table.WriteString(heading + "\n" + line + "\n")
	for _, m := range r.served() {
		for _, s := range m.samples(t, samples) {
			fmt.Fprintf(&table, "| `%s` | %s |", s.row(m), m.restColumn())
			for _, c := range columns {
				got := r.verdict(t, m, s, c.credential)
				switch open := newRules(Limits{})[m.full()].open; {
				case c.heading != "":
					table.WriteString(map[codes.Code]string{yes: " yes |", who: "  |", mayNot: "  |"}[got])
					if want := c.refusal(); got != yes && got != want {
						t.Errorf("%s with %s: %v, want %v", s.row(m), c.heading, got, want)
					}
				case !open && got != c.otherwise:
					t.Errorf("%s with %.12s…: %v, want %v", s.row(m), c.credential, got, c.otherwise)
				}
			}
			table.WriteString("\n")
		}
	}
	expectInDocs(t, "../../docs/api.md", "access", table.String())
}

// refusal is how a method that does not take this credential answers.
func (c column) refusal() codes.Code {
	if c.credential == "" {
		return who
	}
	return mayNot
}

// samples returns the good requests of m, of which there must be one.
func (m method) samples(t *testing.T, all []sample) (of []sample) {
	t.Helper()
	for _, s := range all {
		if s.req.ProtoReflect().Descriptor().FullName() == m.Input().FullName() {
			of = append(of, s)
		}
	}
	if len(of) == 0 {
		t.Errorf("%s has no sample request: add one", m.name())
	}
	return of
}

// served returns the methods of every service that the server has.
func (r *rig) served() []method {
	r.t.Helper()
	all := apiMethods(r.t)
	known := map[string]bool{}
	for _, m := range all {
		known[m.full()] = true
	}
	var others []method
	for service, info := range r.server.GRPC().GetServiceInfo() {
		for _, m := range info.Methods {
			if name := "/" + service + "/" + m.Name; known[name] {
				delete(known, name)
				continue
			}
			d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + m.Name))
			testkit.Must(r.t, err)
			others = append(others, method{MethodDescriptor: d.(protoreflect.MethodDescriptor)})
		}
	}
	for name := range known {
		r.t.Errorf("%s is described but not served", name)
	}
	slices.SortFunc(others, func(a, b method) int { return strings.Compare(a.full(), b.full()) })
	return append(all, others...)
}

// restColumn lists the routes of m.
func (m method) restColumn() string {
	var routes []string
	for _, rt := range m.routes {
		routes = append(routes, "`"+rt.verb+" "+rt.path+"`")
	}
	return strings.Join(routes, ", ")
}

// verdict makes the call at both doors, which must agree.
func (r *rig) verdict(t *testing.T, m method, s sample, credential string) codes.Code {
	t.Helper()
	r = r.with(t)
	reply, err := r.invokeMethod(r.as(credential), m, s.req)
	got := status.Code(err)
	if got == yes {
		got = codeInReply(reply)
	}
	if got != yes && got != who && got != mayNot {
		t.Errorf("%s: %v", s.row(m), err)
	}
	for _, rt := range m.routes {
		target, body := rt.request(t, s.req)
		re := r.rest(credential, rt.verb, target, body)
		what := s.row(m) + " by " + rt.verb + " " + target
		equal(t, what, re.status, map[codes.Code]int{yes: 200, who: 401, mayNot: 403}[got])
		if got == yes {
			continue
		}
		equal(t, what+": code", re.problem(t).Code, got)
		equal(t, what+": message", re.problem(t).Message, status.Convert(err).Message())
		if got == who {
			equal(t, what+": challenge", re.header.Get("WWW-Authenticate"), `Bearer realm="pushd"`)
		}
	}
	return got
}

// codeInReply returns the error that a reply itself carries.
func codeInReply(reply proto.Message) codes.Code {
	if reply, ok := reply.(*pushv1.PublishResponse); ok {
		return codes.Code(reply.GetError().GetCode())
	}
	return codes.OK
}

// expectInDocs requires that file has text between the marks called name.
func expectInDocs(t *testing.T, file, name, text string) {
	t.Helper()
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
	doc, err := os.ReadFile(file)
	testkit.Must(t, err)
	head, rest, ok1 := strings.Cut(string(doc), begin)
	was, tail, ok2 := strings.Cut(rest, end)
	switch {
	case !ok1 || !ok2:
		t.Errorf("%s lacks the marks %q and %q", file, begin, end)
	case was == text:
		return
	case os.Getenv("PUSHD_UPDATE_DOCS") != "":
		testkit.Must(t, os.WriteFile(file, []byte(head+begin+text+end+tail), 0o644))
	}
	t.Errorf("%s, %s:\n got %s\nwant %s\n(PUSHD_UPDATE_DOCS=1 go test -run %s ./internal/rpc mends it)", file, name, was, text, t.Name())
}

// TestEveryMethodHasARule: a method that nobody thought of is refused, and so
// must not exist.
func TestEveryMethodHasARule(t *testing.T) {
	r := newRig(t, options{})
	rules := newRules(Limits{})
	for service, info := range r.server.GRPC().GetServiceInfo() {
		for _, m := range info.Methods {
			if _, ok := rules["/"+service+"/"+m.Name]; !ok {
				t.Errorf("no rule for %s/%s", service, m.Name)
			}
		}
	}
	_, err := (&interceptor{auth: r.auth, rules: rules}).admit(t.Context(), "/push.v1.PushService/Later", nil)
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
	testkit.Must(t, err)
	req.Header["Authorization"] = []string{"Bearer " + keyAll, "Bearer " + keyRead}
	equal(t, "two credentials", r.do(req).status, 401)

	ctx := metadata.AppendToOutgoingContext(r.as(keyAll), "authorization", "Bearer "+keyRead)
	_, err = r.push.History(ctx, &pushv1.HistoryRequest{User: "42"})
	equal(t, "two credentials", grpcProblem(t, err).Code, codes.Unauthenticated)
}

// TestOpen: what -dev means at these doors.
func TestOpen(t *testing.T) {
	open, err := auth.New(auth.Config{Open: true})
	testkit.Must(t, err)
	r := newRig(t, options{auth: open})
	testkit.Must(t, r.callAs("", &pushv1.UnicastRequest{User: "42", Data: hi}))
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
