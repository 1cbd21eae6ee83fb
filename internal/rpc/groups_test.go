package rpc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/history/memory"
	"pushd.example/internal/testkit"
)

// must makes a call that must succeed.
func (r *rig) must(req proto.Message) proto.Message {
	r.t.Helper()
	reply, err := r.invoke(r.as(keyAll), req)
	testkit.Must(r.t, err)
	return reply
}

// members reads all members of group in pages of n.
func (r *rig) members(group string, n int32) (all []string) {
	r.t.Helper()
	req := &pushv1.ListMembersRequest{Group: group, Limit: &n}
	for {
		page := r.must(req).(*pushv1.ListMembersResponse)
		all = append(all, page.GetUsers()...)
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return all
		}
	}
}

func TestGroups(t *testing.T) {
	r := newRig(t, options{})
	added := r.must(&pushv1.AddMembersRequest{Group: "vip", Users: []string{"zoë", "42", "42", "a/b"}}).(*pushv1.AddMembersResponse)
	equal(t, "added", added.GetAdded(), 3)
	added = r.must(&pushv1.AddMembersRequest{Group: "vip", Users: []string{"42", "7"}}).(*pushv1.AddMembersResponse)
	equal(t, "added anew", added.GetAdded(), 1)
	r.must(&pushv1.AddMembersRequest{Group: "a/b", Users: []string{"42"}})
	for _, n := range []int32{1, 2, 1000} {
		equal(t, "members", fmt.Sprint(r.members("vip", n)), "[42 7 a/b zoë]")
	}
	groups := r.must(&pushv1.ListGroupsRequest{User: "42"}).(*pushv1.ListGroupsResponse)
	equal(t, "groups", fmt.Sprint(groups.GetGroups()), "[a/b vip]")
	equal(t, "no more groups", groups.GetNextPageToken(), "")
	one := int32(1)
	groups = r.must(&pushv1.ListGroupsRequest{User: "42", Limit: &one}).(*pushv1.ListGroupsResponse)
	groups = r.must(&pushv1.ListGroupsRequest{User: "42", Limit: &one, PageToken: groups.GetNextPageToken()}).(*pushv1.ListGroupsResponse)
	equal(t, "second page", fmt.Sprint(groups.GetGroups()), "[vip]")
	equal(t, "no more groups", groups.GetNextPageToken(), "")
	removed := r.must(&pushv1.RemoveMembersRequest{Group: "vip", Users: []string{"42", "nobody"}}).(*pushv1.RemoveMembersResponse)
	equal(t, "removed", removed.GetRemoved(), 1)
	deleted := r.must(&pushv1.DeleteGroupRequest{Group: "vip"}).(*pushv1.DeleteGroupResponse)
	equal(t, "members of the deleted", deleted.GetRemoved(), 3)
	equal(t, "members", len(r.members("vip", 10)), 0)
}

func TestGroupsByREST(t *testing.T) {
	r := newRig(t, options{})
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/v1/groups/vip/members", `{"users":["b","a","é","a"]}`, `{"added":3}`},
		{"POST", "/v1/groups/a%2Fb/members", `{"users":["a"]}`, `{"added":1}`},
		{"GET", "/v1/groups/vip/members", ``, `{"users":["a","b","é"],"next_page_token":""}`},
		{"GET", "/v1/groups/vip/members?limit=2", ``, `{"users":["a","b"],"next_page_token":"Yg"}`},
		{"GET", "/v1/groups/vip/members?limit=2&page_token=Yg", ``, `{"users":["é"],"next_page_token":""}`},
		{"GET", "/v1/users/a/groups", ``, `{"groups":["a/b","vip"],"next_page_token":""}`},
		{"DELETE", "/v1/groups/vip/members", `{"users":["a","x"]}`, `{"removed":1}`},
		{"GET", "/v1/users/a/groups", ``, `{"groups":["a/b"],"next_page_token":""}`},
		{"DELETE", "/v1/groups/vip", ``, `{"removed":2}`},
		{"DELETE", "/v1/groups/vip", ``, `{"removed":0}`},
		{"GET", "/v1/groups/vip/members", ``, `{"users":[],"next_page_token":""}`},
	} {
		re := r.rest(keyAll, c.method, c.path, c.body)
		equal(t, c.method+" "+c.path+" status", re.status, 200)
		equal(t, c.method+" "+c.path, re.body, c.want)
	}
}

func groupInputs() []badInput {
	limit := func(n int32) *int32 { return &n }
	long := strings.Repeat("g", 129)
	notName := base64.RawURLEncoding.EncodeToString([]byte("\xff"))
	tooMany := users(10_001)
	return []badInput{
		{"add to no group", &pushv1.AddMembersRequest{Users: []string{"a"}}, "", `group: required`},
		{"add to a long group", &pushv1.AddMembersRequest{Group: long, Users: []string{"a"}}, "", `group: at most 128 bytes, got 129`},
		{"add nobody", &pushv1.AddMembersRequest{Group: "g"}, `{}`, `users: between 1 and 10000 users, got 0`},
		{"add too many", &pushv1.AddMembersRequest{Group: "g", Users: tooMany}, "", `users: between 1 and 10000 users, got 10001`},
		{"add a long user", &pushv1.AddMembersRequest{Group: "g", Users: []string{"a", longUser}}, "", `users[1]: at most 128 bytes, got 130`},
		{"remove from no group", &pushv1.RemoveMembersRequest{Users: []string{"a"}}, "", `group: required`},
		{"remove from a long group", &pushv1.RemoveMembersRequest{Group: long, Users: []string{"a"}}, "", `group: at most 128 bytes, got 129`},
		{"remove nobody", &pushv1.RemoveMembersRequest{Group: "g"}, `{}`, `users: between 1 and 10000 users, got 0`},
		{"remove too many", &pushv1.RemoveMembersRequest{Group: "g", Users: tooMany}, "", `users: between 1 and 10000 users, got 10001`},
		{"remove an empty user", &pushv1.RemoveMembersRequest{Group: "g", Users: []string{""}}, "", `users[0]: required`},
		{"members of no group", &pushv1.ListMembersRequest{}, "", `group: required`},
		{"members of a long group", &pushv1.ListMembersRequest{Group: long}, "", `group: at most 128 bytes, got 129`},
		{"no members", &pushv1.ListMembersRequest{Group: "g", Limit: limit(0)}, "", `limit: between 1 and 1000, got 0`},
		{"too many members", &pushv1.ListMembersRequest{Group: "g", Limit: limit(1001)}, "", `limit: between 1 and 1000, got 1001`},
		{"a token that is none", &pushv1.ListMembersRequest{Group: "g", PageToken: "?"}, "", `page_token: want the next_page_token of the page before`},
		{"a token of no name", &pushv1.ListMembersRequest{Group: "g", PageToken: notName}, "", `page_token: want the next_page_token of the page before`},
		{"groups of nobody", &pushv1.ListGroupsRequest{}, "", `user: required`},
		{"groups of a long user", &pushv1.ListGroupsRequest{User: longUser}, "", `user: at most 128 bytes, got 130`},
		{"no groups", &pushv1.ListGroupsRequest{User: "42", Limit: limit(-1)}, "", `limit: between 1 and 1000, got -1`},
		{"groups, a token that is none", &pushv1.ListGroupsRequest{User: "42", PageToken: "="}, "", `page_token: want the next_page_token of the page before`},
		{"delete no group", &pushv1.DeleteGroupRequest{}, "", `group: required`},
		{"delete a long group", &pushv1.DeleteGroupRequest{Group: long}, "", `group: at most 128 bytes, got 129`},

		{"multicast to too many groups", &pushv1.MulticastRequest{Groups: users(101), Data: hi}, "", `groups: at most 100 groups, got 101`},
		{"multicast to an empty group name", &pushv1.MulticastRequest{Groups: []string{"g", ""}, Data: hi}, "", `groups[1]: required`},
		{"multicast to a long group", &pushv1.MulticastRequest{Groups: []string{long}, Data: hi}, "", `groups[0]: at most 128 bytes, got 129`},
		{"multicast except too many", &pushv1.MulticastRequest{Users: []string{"a"}, Except: users(1001), Data: hi}, "", `except: at most 1000 users, got 1001`},
		{"multicast except a long user", &pushv1.MulticastRequest{Users: []string{"a"}, Except: []string{longUser}, Data: hi}, "", `except[0]: at most 128 bytes, got 130`},
		{"multicast except only", &pushv1.MulticastRequest{Except: []string{"a"}, Data: hi}, "", `users: between 1 and 10000 users, got 0`},
		{"multicast to groups and too many users", &pushv1.MulticastRequest{Groups: []string{"g"}, Users: tooMany, Data: hi}, "", `users: between 1 and 10000 users, got 10001`},
		{"multicast of nothing to nobody", &pushv1.MulticastRequest{Groups: []string{"nobody"}}, "", `data: required: one JSON value`},
	}
}

// TestMulticastToGroups: each recipient gets one copy under one id, whoever
// named them.
func TestMulticastToGroups(t *testing.T) {
	r := newRig(t, options{})
	r.must(&pushv1.AddMembersRequest{Group: "g", Users: []string{"a", "b", "c"}})
	r.must(&pushv1.AddMembersRequest{Group: "h", Users: []string{"b", "c", "d"}})
	req := &pushv1.MulticastRequest{
		Groups: []string{"g", "h", "g", "nobody"}, Users: []string{"c", "e", "e", "f"}, Except: []string{"d", "f", "x"},
		Data: hi, IdempotencyKey: "k",
	}
	first := r.must(req).(*pushv1.MulticastResponse)
	equal(t, "recipients", first.GetRecipients(), 4)
	r.must(&pushv1.AddMembersRequest{Group: "g", Users: []string{"late"}})
	again := r.must(req).(*pushv1.MulticastResponse)
	equal(t, "retried", fmt.Sprint(again.GetId(), " ", again.GetDuplicate(), " ", again.GetRecipients()), first.GetId()+" true 0")
	for user, want := range map[string]int{"a": 1, "b": 1, "c": 1, "e": 1, "d": 0, "f": 0, "x": 0, "late": 0} {
		page, err := r.store.Page(t.Context(), user, history.Query{Limit: 10})
		testkit.Must(t, err)
		equal(t, "messages of "+user, len(page.Messages), want)
		for _, m := range page.Messages {
			equal(t, "id for "+user, m.ID.String(), first.GetId())
			equal(t, "kind for "+user, m.Kind, history.Multicast)
		}
	}
	re := r.rest(keySend, "POST", "/v1/multicast", `{"groups":["h"],"except":["b"],"data":1}`)
	equal(t, "status", re.status, 200)
	var reply struct{ Recipients int }
	testkit.Must(t, json.Unmarshal([]byte(re.body), &reply))
	equal(t, "recipients", reply.Recipients, 2)
	re = r.rest(keySend, "POST", "/v1/multicast", `{"users":["a","b"],"except":["b"],"data":1}`)
	contains(t, "without groups", re.body, `"recipients":1`)
}

// TestMulticastToNobody stores nothing, and leaves the key for another try.
func TestMulticastToNobody(t *testing.T) {
	r := newRig(t, options{})
	req := &pushv1.MulticastRequest{Groups: []string{"g"}, Except: []string{"a"}, Data: hi, IdempotencyKey: "k"}
	want := `{"id":"","duplicate":false,"online":0,"recipients":0,"online_users":0,"unknown":0}`
	equal(t, "no member", r.restOf(req, "").body, want)
	r.must(&pushv1.AddMembersRequest{Group: "g", Users: []string{"a"}})
	equal(t, "all left out", r.restOf(req, "").body, want)
	r.must(&pushv1.AddMembersRequest{Group: "g", Users: []string{"b"}})
	sent := r.must(req).(*pushv1.MulticastResponse)
	equal(t, "recipients", sent.GetRecipients(), 1)
	equal(t, "duplicate", sent.GetDuplicate(), false)
}

// TestMulticastLimit: the limit is on different users, not on what was read.
func TestMulticastLimit(t *testing.T) {
	r := newRig(t, options{limits: Limits{MaxUsers: 20, MaxRecipients: 30}})
	for group, members := range map[string][]string{"g": users(20), "h": users(25)[5:], "i": users(31)[25:]} {
		r.must(&pushv1.AddMembersRequest{Group: group, Users: members})
	}
	req := &pushv1.MulticastRequest{Groups: []string{"g", "h", "i"}, Data: hi}
	message := "groups: at most 30 recipients in all, got 31 or more"
	p := grpcProblem(t, r.call(req))
	equal(t, "code", p.Code, codes.InvalidArgument)
	equal(t, "message", p.Message, message)
	equal(t, "field", p.field(), "groups")
	equal(t, "REST", r.restOf(req, "").problem(t).Message, message)
	req.Except = []string{"user7"}
	equal(t, "recipients", r.must(req).(*pushv1.MulticastResponse).GetRecipients(), 30)
	p = grpcProblem(t, r.call(&pushv1.AddMembersRequest{Group: "g", Users: users(21)}))
	equal(t, "a batch", p.Message, "users: between 1 and 20 users, got 21")
}

// TestBigGroup: more members than one page of the store, twice over.
func TestBigGroup(t *testing.T) {
	r := newRig(t, options{})
	all := users(25_000)
	for batch := range slices.Chunk(all, 10_000) {
		added := r.must(&pushv1.AddMembersRequest{Group: "g", Users: batch}).(*pushv1.AddMembersResponse)
		equal(t, "added", int(added.GetAdded()), len(batch))
	}
	r.must(&pushv1.AddMembersRequest{Group: "h", Users: all[5000:15_000]})
	listed := r.members("g", 1000)
	slices.Sort(all)
	if !slices.Equal(listed, all) {
		t.Errorf("listed %d members, want %d", len(listed), len(all))
	}
}

// TestGroupsOfABrokenStore: the store's trouble is mapped as for sends.
func TestGroupsOfABrokenStore(t *testing.T) {
	r := newRig(t, options{})
	testkit.Must(t, r.groups.(*memory.Store).Close())
	for _, req := range []proto.Message{
		&pushv1.AddMembersRequest{Group: "g", Users: []string{"a"}},
		&pushv1.RemoveMembersRequest{Group: "g", Users: []string{"a"}},
		&pushv1.ListMembersRequest{Group: "g"},
		&pushv1.ListGroupsRequest{User: "a"},
		&pushv1.DeleteGroupRequest{Group: "g"},
		&pushv1.MulticastRequest{Groups: []string{"g"}, Data: hi},
	} {
		name := string(req.ProtoReflect().Descriptor().Name())
		equal(t, name, grpcProblem(t, r.call(req)).Code, codes.Unavailable)
		equal(t, name+" by REST", r.restOf(req, "").status, 503)
	}
}

// TestPublishToGroupsInOrder: who is in a group is known only when a send runs,
// and still sends on one stream come to each user in their order.
func TestPublishToGroupsInOrder(t *testing.T) {
	r := newRig(t, options{})
	r.must(&pushv1.AddMembersRequest{Group: "g", Users: []string{"42", "43"}})
	stream := r.publish(keyAll)
	const sends = 300
	for n := range sends {
		req := unicast(n, "42", fmt.Sprint(n))
		if n%3 == 0 {
			req = multicast(n, nil, fmt.Sprint(n))
			req.GetMulticast().Groups = []string{"g"}
		}
		testkit.Must(t, stream.Send(req))
	}
	testkit.Must(t, stream.CloseSend())
	answers, _ := replies(t, stream)
	equal(t, "replies", len(answers), sends)
	page, err := r.store.Page(t.Context(), "42", history.Query{Direction: history.Forward, Limit: 2 * sends})
	testkit.Must(t, err)
	equal(t, "messages", len(page.Messages), sends)
	for n, m := range page.Messages {
		equal(t, "message in its place", string(m.Data), fmt.Sprint(n))
	}
}
