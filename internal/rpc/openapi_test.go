package rpc

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
)

// openAPI is the document as far as the tests read it.
type openAPI struct {
	Swagger     string
	Paths       map[string]map[string]operation
	Definitions map[string]schema
	Security    []map[string][]string
	Schemes     map[string]json.RawMessage `json:"securityDefinitions"`
	Tags        []struct{ Name string }
}

type operation struct {
	ID         string `json:"operationId"`
	Tags       []string
	Parameters []parameter
	Responses  map[string]struct {
		Schema   schema
		Examples map[string]json.RawMessage
	}
}

type parameter struct {
	schema
	Name, In string
	Must     bool            `json:"required"`
	Example  json.RawMessage `json:"x-example"`
	Schema   schema
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       string
	Format     string
	Properties map[string]schema
	Items      *schema
	Required   json.RawMessage // a list; of a parameter, whether it is
	Example    json.RawMessage
	// Optional: it is not written where there is none.
	Optional bool `json:"x-nullable"`
	// Additional members are allowed where this is there.
	Additional json.RawMessage `json:"additionalProperties"`
}

func (r *rig) openAPI() openAPI {
	r.t.Helper()
	re := r.rest("", "GET", "/openapi.json", "")
	equal(r.t, "status", re.status, 200)
	var doc openAPI
	must(r.t, json.Unmarshal([]byte(re.body), &doc))
	return doc
}

// each calls f with every operation.
func (d openAPI) each(t *testing.T, f func(t *testing.T, verb, path string, op operation)) {
	for path, verbs := range d.Paths {
		for verb, op := range verbs {
			t.Run(op.ID, func(t *testing.T) { f(t, strings.ToUpper(verb), path, op) })
		}
	}
}

func (d openAPI) resolve(s schema) schema {
	if s.Ref != "" {
		return d.Definitions[strings.TrimPrefix(s.Ref, "#/definitions/")]
	}
	return s
}

// conforms says what in value, which is JSON, is not as s has it; every member
// of an object must be there where all is set.
func (d openAPI) conforms(s schema, value json.RawMessage, all bool) error {
	s = d.resolve(s)
	switch s.Type {
	case "": // any value
		return nil
	case "object":
		return d.objectConforms(s, value, all)
	case "array":
		var list []json.RawMessage
		if err := json.Unmarshal(value, &list); err != nil {
			return err
		}
		for i, item := range list {
			if err := d.conforms(*s.Items, item, all); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	}
	return scalarConforms(s, value)
}

func (d openAPI) objectConforms(s schema, value json.RawMessage, all bool) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(value, &object); err != nil {
		return err
	}
	for name, member := range object {
		of, ok := s.Properties[name]
		if !ok && s.Additional == nil {
			return fmt.Errorf("%s is not described", name)
		}
		if err := d.conforms(of, member, all); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, of := range s.Properties {
		if object[name] == nil && all && !of.Optional {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}

func scalarConforms(s schema, value json.RawMessage) error {
	var v any
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	ok := false
	switch v := v.(type) {
	case string:
		ok = s.Type == "string"
		if s.Format == "date-time" {
			_, err := time.Parse(time.RFC3339Nano, v)
			ok = ok && err == nil
		}
	case bool:
		ok = s.Type == "boolean"
	case float64:
		ok = s.Type == "integer" && v == float64(int32(v)) && s.Format == "int32"
	}
	if !ok {
		return fmt.Errorf("%s is no %s %s", value, s.Type, s.Format)
	}
	return nil
}

// request is a call of an operation by its examples.
type request struct {
	path  string
	query url.Values // of the required parameters
	more  url.Values // of the others
	body  string
	must  []string // what is required of the body
}

func (d openAPI) request(t *testing.T, path string, op operation) request {
	t.Helper()
	rq := request{path: path, query: url.Values{}, more: url.Values{}}
	for _, p := range op.Parameters {
		if p.In == "body" {
			body := d.resolve(p.Schema)
			rq.body = string(body.Example)
			if body.Required != nil {
				must(t, json.Unmarshal(body.Required, &rq.must))
			}
			must(t, d.conforms(p.Schema, body.Example, false))
			continue
		}
		must(t, d.conforms(p.schema, p.Example, true))
		values := texts(t, p.Example)
		switch {
		case p.In == "path":
			rq.path = strings.Replace(rq.path, "{"+p.Name+"}", url.PathEscape(values[0]), 1)
		case p.Must:
			rq.query[p.Name] = values
		default:
			rq.more[p.Name] = values
		}
	}
	return rq
}

// newExampleRig is a rig at the time of the examples, whose first message has
// the id that they name, was delivered and is acked.
func newExampleRig(t *testing.T) *rig {
	t.Helper()
	const id = 279753523286016
	r := newRig(t, options{now: func() time.Time { return history.ID(id).Time() }})
	equal(t, "id of the first message", r.aUnicast(), history.ID(id).String())
	r.must(&pushv1.AckRequest{User: ownUser, Cursor: history.Cursor{Inbox: id}.String()})
	must(t, r.messages.RecordDelivered(t.Context(), history.Deliveries{
		Inboxes: []history.UserRange{{User: ownUser, Range: history.Range{To: id, At: history.ID(id).Time()}}},
	}))
	return r
}

// texts returns the values of an example as a query has them.
func texts(t *testing.T, example json.RawMessage) (out []string) {
	t.Helper()
	var list []json.RawMessage
	if json.Unmarshal(example, &list) != nil {
		list = []json.RawMessage{example}
	}
	for _, item := range list {
		var s string
		if json.Unmarshal(item, &s) != nil {
			s = string(item)
		}
		out = append(out, s)
	}
	return out
}

func (rq request) target(query url.Values) string {
	if len(query) == 0 {
		return rq.path
	}
	return rq.path + "?" + query.Encode()
}

// TestOpenAPIExamples calls every operation with its own examples, through the
// gateway, and looks whether the answer is what the document says.
func TestOpenAPIExamples(t *testing.T) {
	r := newExampleRig(t)
	doc := r.openAPI()
	doc.each(t, func(t *testing.T, verb, path string, op operation) {
		r, rq := r.with(t), doc.request(t, path, op)
		answer := op.Responses["200"]
		must(t, doc.conforms(answer.Schema, answer.Examples["application/json"], true))
		expect := func(query url.Values) {
			t.Helper()
			re := r.rest(keyAll, verb, rq.target(query), rq.body)
			equal(t, verb+" "+rq.target(query)+" "+rq.body+": "+re.body, re.status, 200)
			must(t, doc.conforms(answer.Schema, json.RawMessage(re.body), true))
		}
		expect(rq.query)
		for name, values := range rq.more { // some exclude each other
			query := maps.Clone(rq.query)
			query[name] = values
			expect(query)
		}
	})
}

// TestOpenAPIRequired: without what is required a call fails and names it, with
// nothing else it succeeds.
func TestOpenAPIRequired(t *testing.T) {
	r := newExampleRig(t)
	doc := r.openAPI()
	doc.each(t, func(t *testing.T, verb, path string, op operation) {
		r, rq := r.with(t), doc.request(t, path, op)
		for name := range rq.query {
			query := maps.Clone(rq.query)
			delete(query, name)
			re := r.rest(keyAll, verb, rq.target(query), rq.body)
			equal(t, "without "+name, re.status, 400)
			equal(t, "field", re.problem(t).field(), name)
		}
		if rq.body == "" {
			return
		}
		var whole map[string]json.RawMessage
		must(t, json.Unmarshal([]byte(rq.body), &whole))
		least := map[string]json.RawMessage{}
		for _, name := range rq.must {
			least[name] = whole[name]
		}
		if op.ID == "PushService_Multicast" { // users or groups
			least["users"] = whole["users"]
		}
		equal(t, "with what is required", r.rest(keyAll, verb, rq.target(rq.query), jsonText(t, least)).status, 200)
		for _, name := range rq.must {
			without := maps.Clone(least)
			delete(without, name)
			re := r.rest(keyAll, verb, rq.target(rq.query), jsonText(t, without))
			equal(t, "without "+name, re.status, 400)
			equal(t, "field", re.problem(t).field(), name)
		}
	})
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return string(text)
}

// TestOpenAPIErrors: what is refused is answered as the document says.
func TestOpenAPIErrors(t *testing.T) {
	r := newRig(t, options{})
	doc := r.openAPI()
	equal(t, "security", len(doc.Security) == 1 && doc.Schemes["bearer"] != nil, true)
	doc.each(t, func(t *testing.T, verb, path string, op operation) {
		r, rq := r.with(t), doc.request(t, path, op)
		for credential, want := range map[string]int{"": 401, keyAll: 400} {
			re := r.rest(credential, verb, rq.target(url.Values{"unknown": {"1"}}), rq.body)
			equal(t, "status", re.status, want)
			must(t, doc.conforms(op.Responses["default"].Schema, json.RawMessage(re.body), true))
		}
		equal(t, "code", r.rest("", verb, rq.target(rq.query), rq.body).problem(t).Code, codes.Unauthenticated)
	})
}

// TestOpenAPIHasAllRoutes of http.yaml, and no others, each under a tag.
func TestOpenAPIHasAllRoutes(t *testing.T) {
	r := newRig(t, options{})
	doc := r.openAPI()
	equal(t, "version", doc.Swagger, "2.0")
	var got, want []string
	doc.each(t, func(t *testing.T, verb, path string, op operation) {
		got = append(got, verb+" "+path)
		if !slices.ContainsFunc(doc.Tags, func(tag struct{ Name string }) bool { return slices.Contains(op.Tags, tag.Name) }) {
			t.Errorf("no tag of %v is described", op.Tags)
		}
	})
	for _, m := range apiMethods(t) {
		for _, rt := range m.routes {
			want = append(want, rt.verb+" "+rt.path)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	same(t, "routes", got, want)
}

// TestReferencePage needs nothing from elsewhere, and nobody's credential.
func TestReferencePage(t *testing.T) {
	r := newRig(t, options{})
	page := r.rest("", "GET", "/docs", "")
	equal(t, "status", page.status, 200)
	equal(t, "type", page.header.Get("Content-Type"), "text/html; charset=utf-8")
	equal(t, "policy", page.header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
	links := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page.body, -1)
	equal(t, "links", len(links), 3)
	texts := page.body
	for _, link := range links {
		re := r.rest("", "GET", "/"+link[1], "")
		equal(t, link[1], re.status, 200)
		if !strings.HasSuffix(link[1], ".json") {
			texts += re.body
		}
	}
	if elsewhere := regexp.MustCompile(`(?:https?:)?//[\w.-]+\.\w+|@import|\burl\(`).FindString(texts); elsewhere != "" {
		t.Errorf("the page has %q in it", elsewhere)
	}
	equal(t, "POST", r.rest("", "POST", "/docs", "").status, 405)
}
