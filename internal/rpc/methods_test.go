package rpc

import (
	"context"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"pushd.example/internal/testkit"
)

// method is one method of push.v1, as its descriptor and http.yaml have it.
type method struct {
	protoreflect.MethodDescriptor
	routes []route // none for methods that only gRPC has
}

// route is one way to call a method by REST.
type route struct {
	verb, path string
	body       bool
}

// apiMethods returns every method that is, in the order of their names, so
// that tests over all of them cannot forget a new one.
func apiMethods(t testing.TB) []method {
	t.Helper()
	routes := httpRoutes(t)
	var all []method
	protoregistry.GlobalFiles.RangeFilesByPackage("push.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				all = append(all, method{m, routes[string(m.FullName())]})
				delete(routes, string(m.FullName()))
			}
		}
		return true
	})
	for selector := range routes {
		t.Errorf("http.yaml has a rule for %s, which is no method", selector)
	}
	slices.SortFunc(all, func(a, b method) int { return strings.Compare(a.name(), b.name()) })
	return all
}

// httpRoutes reads http.yaml, by selector.
func httpRoutes(t testing.TB) map[string][]route {
	t.Helper()
	type binding struct {
		Get, Post, Put, Delete string
		Body                   string
	}
	var file struct {
		HTTP struct {
			Rules []struct {
				Selector string
				binding  `yaml:",inline"`
				More     []binding `yaml:"additional_bindings"`
			}
		}
	}
	text, err := os.ReadFile("../../api/push/v1/http.yaml")
	testkit.Must(t, err)
	testkit.Must(t, yaml.Unmarshal(text, &file))
	out := map[string][]route{}
	for _, rule := range file.HTTP.Rules {
		for _, b := range append([]binding{rule.binding}, rule.More...) {
			r := route{body: b.Body != ""}
			for verb, path := range map[string]string{"GET": b.Get, "POST": b.Post, "PUT": b.Put, "DELETE": b.Delete} {
				if path != "" {
					r.verb, r.path = verb, path
				}
			}
			out[rule.Selector] = append(out[rule.Selector], r)
		}
	}
	return out
}

// name is as docs have it: "PushService.Unicast"; methods of others with their
// package.
func (m method) name() string { return strings.TrimPrefix(string(m.FullName()), "push.v1.") }

// full is as gRPC has it: "/push.v1.PushService/Unicast".
func (m method) full() string { return "/" + string(m.Parent().FullName()) + "/" + string(m.Name()) }

func (m method) streams() bool { return m.IsStreamingClient() || m.IsStreamingServer() }

// methodOf returns the method that req is a request of.
func methodOf(t testing.TB, req proto.Message) method {
	t.Helper()
	for _, m := range apiMethods(t) {
		if m.Input().FullName() == req.ProtoReflect().Descriptor().FullName() {
			return m
		}
	}
	t.Fatalf("no method takes a %T", req)
	return method{}
}

// newReply returns an empty reply of m.
func (m method) newReply(t testing.TB) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	testkit.Must(t, err)
	return kind.New().Interface()
}

// invoke makes the gRPC call that req is a request of; of a stream it is the
// first request, and the answer the first reply.
func (r *rig) invoke(ctx context.Context, req proto.Message) (proto.Message, error) {
	r.t.Helper()
	return r.invokeMethod(ctx, methodOf(r.t, req), req)
}

func (r *rig) invokeMethod(ctx context.Context, m method, req proto.Message) (proto.Message, error) {
	r.t.Helper()
	reply := m.newReply(r.t)
	if !m.streams() {
		return reply, r.conn.Invoke(ctx, m.full(), req, reply)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: m.IsStreamingClient()}, m.full())
	if err != nil {
		return nil, err
	}
	_ = stream.SendMsg(req) // what is wrong, if anything is, RecvMsg says
	return reply, stream.RecvMsg(reply)
}

// request writes req for a REST call by this route: path and query, and body.
func (rt route) request(t testing.TB, req proto.Message) (target, body string) {
	t.Helper()
	m := proto.Clone(req).ProtoReflect()
	target = rt.path
	for _, part := range strings.Split(rt.path, "/") {
		name := strings.Trim(part, "{}")
		if name == part {
			continue
		}
		field := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		target = strings.Replace(target, part, url.PathEscape(m.Get(field).String()), 1)
		m.Clear(field)
	}
	if rt.body {
		return target, jsonOf(t, m)
	}
	query := url.Values{}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !f.IsList() {
			query.Set(string(f.Name()), queryText(f, v))
			return true
		}
		for i := range v.List().Len() {
			query.Add(string(f.Name()), queryText(f, v.List().Get(i)))
		}
		return true
	})
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	return target, ""
}

// queryText writes a value as a query has it: as JSON would, without quotes.
func queryText(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if f.Message() == nil {
		return v.String()
	}
	text, err := newCodec().marshal.Marshal(v.Message().Interface())
	if err != nil {
		return err.Error()
	}
	return strings.Trim(string(text), `"`)
}

// jsonOf writes m as a REST caller would: only what is set, and data raw.
func jsonOf(t testing.TB, m protoreflect.Message) string {
	t.Helper()
	var data string
	if f := rawField(m.Descriptor()); f != nil && m.Has(f) {
		data = string(m.Get(f).Bytes())
		m.Clear(f)
	}
	options := newCodec().marshal
	options.EmitDefaultValues = false
	text, err := options.Marshal(m.Interface())
	testkit.Must(t, err)
	body := string(text)
	switch {
	case data == "":
		return body
	case body == "{}":
		return `{"data":` + data + `}`
	}
	return strings.TrimSuffix(body, "}") + `,"data":` + data + `}`
}
