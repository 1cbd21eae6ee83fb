package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/types/known/durationpb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// service is PushService: it checks a request, calls the store and replies. It
// returns plain errors, which the interceptor maps to statuses.
type service struct {
	pushv1.UnimplementedPushServiceServer

	store         history.Store
	groups        history.Groups
	messages      history.Messages
	subscriptions Subscriptions
	limits        Limits
	dataRules     DataRules
	interceptor   *interceptor    // Publish runs it for each request
	draining      context.Context // done when streams must end
}

// Unicast implements pushv1.PushServiceServer.
func (s *service) Unicast(ctx context.Context, req *pushv1.UnicastRequest) (*pushv1.UnicastResponse, error) {
	if err := checkUser("user", req.GetUser()); err != nil {
		return nil, err
	}
	p, err := s.push(history.Unicast, req, req.GetNotifyUnackedAfter())
	if err != nil {
		return nil, err
	}
	p.Users = []string{req.GetUser()}
	r, err := s.append(ctx, p)
	if err != nil {
		return nil, err
	}
	return &pushv1.UnicastResponse{
		Id: r.ID.String(), Duplicate: r.Duplicate, Recipients: count(r.Recipients),
		Online: count(r.Online), OnlineUsers: count(r.OnlineUsers), Unknown: count(r.Unknown),
	}, nil
}

// Multicast implements pushv1.PushServiceServer.
func (s *service) Multicast(ctx context.Context, req *pushv1.MulticastRequest) (*pushv1.MulticastResponse, error) {
	if err := s.checkRecipients(req); err != nil {
		return nil, err
	}
	p, err := s.push(history.Multicast, req, req.GetNotifyUnackedAfter())
	if err != nil {
		return nil, err
	}
	p.Users, err = s.recipients(ctx, req)
	if err != nil {
		return nil, err
	}
	if len(p.Users) == 0 {
		return &pushv1.MulticastResponse{}, nil
	}
	r, err := s.append(ctx, p)
	if err != nil {
		return nil, err
	}
	return &pushv1.MulticastResponse{
		Id: r.ID.String(), Duplicate: r.Duplicate, Recipients: count(r.Recipients),
		Online: count(r.Online), OnlineUsers: count(r.OnlineUsers), Unknown: count(r.Unknown),
	}, nil
}

// Broadcast implements pushv1.PushServiceServer.
func (s *service) Broadcast(ctx context.Context, req *pushv1.BroadcastRequest) (*pushv1.BroadcastResponse, error) {
	p, err := s.push(history.Broadcast, req, nil)
	if err != nil {
		return nil, err
	}
	r, err := s.append(ctx, p)
	if err != nil {
		return nil, err
	}
	return &pushv1.BroadcastResponse{
		Id: r.ID.String(), Duplicate: r.Duplicate,
		Online: count(r.Online), OnlineUsers: count(r.OnlineUsers),
	}, nil
}

// sendRequest is the part that unicasts, multicasts and broadcasts have in common.
type sendRequest interface {
	GetData() []byte
	GetIdempotencyKey() string
	GetTtl() *durationpb.Duration
	GetDurability() string
	GetExcludeConnection() string
	GetEphemeral() bool
	GetCollapseKey() string
}

// push checks the part that the three sends have in common, and unackedAfter, which
// is nil for a broadcast. It leaves the recipients to the caller.
func (s *service) push(kind history.Kind, req sendRequest, unackedAfter *durationpb.Duration) (history.Push, error) {
	if err := s.dataRules.check(req.GetData(), s.limits.MaxData); err != nil {
		return history.Push{}, err
	}
	if err := checkText("idempotency_key", req.GetIdempotencyKey(), maxKey); err != nil {
		return history.Push{}, err
	}
	if err := checkText("exclude_connection", req.GetExcludeConnection(), history.MaxConnection); err != nil {
		return history.Push{}, err
	}
	if err := checkText("collapse_key", req.GetCollapseKey(), history.MaxCollapseKey); err != nil {
		return history.Push{}, err
	}
	if err := checkEphemeral(req); err != nil {
		return history.Push{}, err
	}
	durability, err := checkDurability(req.GetDurability())
	if err != nil {
		return history.Push{}, err
	}
	ttl, err := checkTTL(req.GetTtl())
	if err != nil {
		return history.Push{}, err
	}
	p := history.Push{
		Kind: kind, Data: req.GetData(), TTL: ttl, IdempotencyKey: req.GetIdempotencyKey(), Durability: durability,
		ExcludeConnection: req.GetExcludeConnection(), Ephemeral: req.GetEphemeral(), CollapseKey: req.GetCollapseKey(),
	}
	p.UnackedAfter, err = checkUnackedAfter(unackedAfter, &p)
	return p, err
}

func (s *service) append(ctx context.Context, p history.Push) (history.AppendResult, error) {
	r, err := s.store.Append(ctx, p)
	if err != nil {
		return r, fmt.Errorf("appending a %s: %w", p.Kind, err)
	}
	return r, nil
}

// Ack implements pushv1.PushServiceServer.
func (s *service) Ack(ctx context.Context, req *pushv1.AckRequest) (*pushv1.AckResponse, error) {
	if err := checkUser("user", req.GetUser()); err != nil {
		return nil, err
	}
	if req.GetCursor() == "" {
		return nil, &FieldError{"cursor", "required"}
	}
	cursor, err := history.ParseCursor(req.GetCursor())
	if err != nil {
		return nil, fieldError("cursor", err)
	}
	mark, err := s.store.Ack(ctx, req.GetUser(), cursor, "")
	if err != nil {
		return nil, fmt.Errorf("acking: %w", fieldError("cursor", err))
	}
	return &pushv1.AckResponse{Unread: count(mark.Unread)}, nil
}

// fieldError makes an error of a cursor, a position or an id one of the field that
// it was sent in. It returns other errors unchanged.
func fieldError(field string, err error) error {
	if errors.Is(err, history.ErrCursor) || errors.Is(err, history.ErrID) || errors.Is(err, watch.ErrPosition) {
		return &FieldError{field, err.Error()}
	}
	return err
}

// count returns n as an int32: protojson writes an int64 as a string.
func count(n int) int32 { return int32(min(n, math.MaxInt32)) }
