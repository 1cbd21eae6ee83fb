package rpc

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
	"pushd.example/internal/history"
)

// Recall implements pushv1.PushServiceServer.
func (s *service) Recall(ctx context.Context, req *pushv1.RecallRequest) (*pushv1.RecallResponse, error) {
	id, err := checkID(req.GetId())
	if err != nil {
		return nil, err
	}
	kind, err := s.messages.KindOf(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("recalling: %w", err)
	}
	if err := s.mayRecall(ctx, kind); err != nil {
		return nil, err
	}
	if err := s.messages.Recall(ctx, id); err != nil {
		return nil, fmt.Errorf("recalling: %w", err)
	}
	return &pushv1.RecallResponse{}, nil
}

// mayRecall returns nil if the caller may send messages of this kind. The
// interceptor admits callers that may send any kind.
func (s *service) mayRecall(ctx context.Context, kind history.Kind) error {
	caller, err := s.interceptor.caller(ctx)
	if err != nil {
		return err
	}
	if kind == history.Broadcast {
		return rule{scopes: auth.Broadcast}.permit(caller)
	}
	return rule{scopes: auth.Send}.permit(caller)
}

// maxReceipts is how many recipients a receipt names.
const maxReceipts = 1000

// GetReceipt implements pushv1.PushServiceServer.
func (s *service) GetReceipt(ctx context.Context, req *pushv1.GetReceiptRequest) (*pushv1.GetReceiptResponse, error) {
	id, err := checkID(req.GetId())
	if err != nil {
		return nil, err
	}
	o, err := s.messages.Receipt(ctx, id, maxReceipts)
	if err != nil {
		return nil, fmt.Errorf("reading a receipt: %w", err)
	}
	resp := &pushv1.GetReceiptResponse{
		Kind: o.Kind.String(), Recipients: count(o.Recipients), Delivered: count(o.Delivered), Acked: count(o.Acked),
		Users: make([]*pushv1.UserReceipt, len(o.Users)),
	}
	for i, u := range o.Users {
		resp.Users[i] = &pushv1.UserReceipt{
			User: u.User, Delivered: u.Delivered, DeliveredAt: timestampOrNil(u.DeliveredAt), Acked: u.Acked, AckedAt: timestampOrNil(u.AckedAt),
		}
	}
	return resp, nil
}

// timestampOrNil returns nil for the zero time.
func timestampOrNil(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// checkID parses the id of a message.
func checkID(id string) (history.ID, error) {
	if id == "" {
		return 0, &FieldError{"id", "required"}
	}
	n, err := history.ParseID(id)
	return n, fieldError("id", err)
}
