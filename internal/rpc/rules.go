package rpc

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
)

// rule says which callers may call a method.
type rule struct {
	// open: no credential is needed.
	open bool
	// scopes are those that an API key needs; 0 means that any key is enough.
	scopes auth.Scope
	// any: one of scopes is enough.
	any bool
	// own: a client token is enough for requests about its own user.
	own bool
	// answer is the most bytes that an answer may have, or for a stream the bytes
	// that it holds while it runs. They are reserved before the call is served. 0
	// means so few that they are not counted.
	answer int
	// ownAnswer is the same for client tokens.
	ownAnswer int
}

// The bytes that lists and streams hold at most.
const (
	listBytes   = 256 << 10 // 1,000 names, events or recipients
	streamBytes = 64 << 10
)

// answerTo returns the bytes to reserve for an answer to caller.
func (r rule) answerTo(caller auth.Caller) int {
	if caller.User != "" {
		return r.ownAnswer
	}
	return r.answer
}

// newRules returns the rule of every method. Other methods are refused.
//
// Health is open, because load balancers have no credential. Reflection needs a
// key although it tells no secret, because it holds a stream for as long as the
// caller wants.
func newRules(l Limits) map[string]rule {
	// A page has at least one message, however large.
	page, ownPage := max(maxPageBytes, l.MaxData), max(maxOwnPageBytes, l.MaxData)
	return map[string]rule{
		pushv1.PushService_Unicast_FullMethodName:   {scopes: auth.Send},
		pushv1.PushService_Multicast_FullMethodName: {scopes: auth.Send},
		pushv1.PushService_Broadcast_FullMethodName: {scopes: auth.Broadcast},
		pushv1.PushService_History_FullMethodName:   {scopes: auth.Read, own: true, answer: page, ownAnswer: ownPage},
		pushv1.PushService_Ack_FullMethodName:       {scopes: auth.Send, own: true},
		// Each request on the stream also needs the scope of its own call.
		pushv1.PushService_Publish_FullMethodName:    {scopes: auth.Send | auth.Broadcast, any: true, answer: streamBytes},
		pushv1.PushService_GetReceipt_FullMethodName: {scopes: auth.Read, answer: listBytes},
		// Recall also needs the scope for sending the message.
		pushv1.PushService_Recall_FullMethodName:    {scopes: auth.Send | auth.Broadcast, any: true},
		pushv1.PushService_Subscribe_FullMethodName: {scopes: auth.Read, own: true, ownAnswer: streamBytes},

		pushv1.ConnectionService_Presence_FullMethodName:        {scopes: auth.Read, answer: listBytes},
		pushv1.ConnectionService_ListOnline_FullMethodName:      {scopes: auth.Read, answer: listBytes},
		pushv1.ConnectionService_ListConnections_FullMethodName: {scopes: auth.Read, answer: listBytes},
		pushv1.ConnectionService_Disconnect_FullMethodName:      {scopes: auth.Manage},
		pushv1.ConnectionService_Watch_FullMethodName:           {scopes: auth.Read, answer: streamBytes},
		pushv1.ConnectionService_ListEvents_FullMethodName:      {scopes: auth.Read, answer: listBytes},

		pushv1.GroupService_AddMembers_FullMethodName:    {scopes: auth.Manage},
		pushv1.GroupService_RemoveMembers_FullMethodName: {scopes: auth.Manage},
		pushv1.GroupService_ListMembers_FullMethodName:   {scopes: auth.Read, answer: listBytes},
		pushv1.GroupService_ListGroups_FullMethodName:    {scopes: auth.Read, answer: listBytes},
		pushv1.GroupService_DeleteGroup_FullMethodName:   {scopes: auth.Manage},

		pushv1.TokenService_Issue_FullMethodName: {scopes: auth.Manage},

		grpc_health_v1.Health_Check_FullMethodName: {open: true},
		grpc_health_v1.Health_Watch_FullMethodName: {open: true},
		grpc_health_v1.Health_List_FullMethodName:  {open: true},

		reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      {},
		reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: {},
	}
}

// permit returns nil if caller may call the method.
func (r rule) permit(caller auth.Caller) error {
	if caller.User == "" {
		switch {
		case caller.Scopes.Has(r.scopes), r.any && caller.Scopes&r.scopes != 0:
			return nil
		case r.any:
			return denied(fmt.Sprintf("this needs an API key with one of the scopes %q", r.scopes))
		}
		return denied(fmt.Sprintf("this needs an API key with scope %q", r.scopes))
	}
	if !r.own {
		return denied("this needs an API key; a client token reads and acks its own user's history only")
	}
	return nil
}

// permitRequest returns nil if caller, who may call the method, may do so with
// req.
func permitRequest(caller auth.Caller, req any) error {
	if caller.User == "" {
		return nil
	}
	if of, ok := req.(interface{ GetUser() string }); !ok || of.GetUser() != caller.User {
		return denied("the client token is of another user")
	}
	return nil
}

// bearer returns the credential in the metadata of a call, "" if there is none.
func bearer(ctx context.Context) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) == 0 {
		return "", nil
	}
	scheme, credential, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return "", fmt.Errorf("%w: want one authorization, of the form \"Bearer …\"", auth.ErrBadCredential)
	}
	return strings.TrimSpace(credential), nil
}
