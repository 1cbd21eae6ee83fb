package rpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/conn"
	"pushd.example/internal/history"
)

// maxSubscribedBytes is the most bytes of data that a subscription reads at once, and
// so holds for a caller that does not read.
const maxSubscribedBytes = 64 << 10

// Subscriptions starts the subscriptions of gRPC clients. *conn.Server implements
// it.
type Subscriptions interface {
	Subscribe(ctx context.Context, c conn.Subscriber) (*conn.Subscription, error)
}

// Subscribe implements pushv1.PushServiceServer.
func (s *service) Subscribe(req *pushv1.SubscribeRequest, stream grpc.ServerStreamingServer[pushv1.SubscribeResponse]) error {
	if err := checkUser("user", req.GetUser()); err != nil {
		return err
	}
	start, err := subscribeStart(req.GetCursor())
	if err != nil {
		return fieldError("cursor", err)
	}
	ctx := stream.Context()
	sub, err := s.subscriptions.Subscribe(ctx, subscriber(ctx, req.GetUser(), start))
	if err != nil {
		return fmt.Errorf("subscribing: %w", fieldError("cursor", err))
	}
	defer sub.Close()
	id, begin := sub.Hello()
	cursor := begin.From
	err = stream.Send(&pushv1.SubscribeResponse{Cursor: cursor.String(), Event: &pushv1.SubscribeResponse_Hello{
		Hello: &pushv1.Hello{Connection: id, Unread: count(begin.Page.Unread), Truncated: begin.Page.Truncated}}})
	for err == nil {
		var batch conn.Batch
		if batch, err = sub.Next(ctx); err != nil {
			return err
		}
		if err = sendRecalls(stream, cursor, batch.Recalls); err == nil {
			cursor, err = sendBatch(stream, cursor, batch.Messages[:batch.Before])
		}
		if err == nil && batch.Acked != nil {
			err = sendReadMark(stream, cursor, *batch.Acked)
		}
		if err == nil {
			cursor, err = sendBatch(stream, cursor, batch.Messages[batch.Before:])
		}
	}
	return err
}

func sendRecalls(stream grpc.ServerStreamingServer[pushv1.SubscribeResponse], cursor history.Cursor, recalls []history.Message) error {
	for _, m := range recalls {
		if err := stream.Send(&pushv1.SubscribeResponse{Cursor: cursor.String(), Event: &pushv1.SubscribeResponse_Recall{
			Recall: &pushv1.Recall{Id: m.ID.String(), Log: m.Kind.Log()}}}); err != nil {
			return err
		}
	}
	return nil
}

func sendReadMark(stream grpc.ServerStreamingServer[pushv1.SubscribeResponse], cursor history.Cursor, mark history.ReadMark) error {
	return stream.Send(&pushv1.SubscribeResponse{Cursor: cursor.String(), Event: &pushv1.SubscribeResponse_ReadMark{
		ReadMark: &pushv1.ReadMark{Cursor: mark.Cursor.String(), Unread: count(mark.Unread)}}})
}

// sendBatch sends messages, each with the cursor after it, and returns the last
// cursor.
func sendBatch(stream grpc.ServerStreamingServer[pushv1.SubscribeResponse], cursor history.Cursor, batch []history.Message) (history.Cursor, error) {
	for i, m := range messages(batch) {
		switch {
		case batch[i].Ephemeral: // it is in no log
		case batch[i].Kind == history.Broadcast:
			cursor.Broadcast = batch[i].ID
		default:
			cursor.Inbox = batch[i].ID
		}
		if err := stream.Send(&pushv1.SubscribeResponse{Cursor: cursor.String(),
			Event: &pushv1.SubscribeResponse_Message{Message: m}}); err != nil {
			return cursor, err
		}
	}
	return cursor, nil
}

func subscribeStart(cursor string) (start history.Start, err error) {
	start = history.Start{At: history.StartAfter, Limit: defaultPage, MaxBytes: maxSubscribedBytes}
	switch cursor {
	case "":
		start.At = history.StartNow
	case "ack":
		start.At = history.StartUnread
	default:
		start.Cursor, err = history.ParseCursor(cursor)
	}
	return start, err
}

func subscriber(ctx context.Context, user string, start history.Start) conn.Subscriber {
	c := conn.Subscriber{User: user, Start: start}
	if p, ok := peer.FromContext(ctx); ok {
		c.Address = p.Addr.String()
	}
	if agents := metadata.ValueFromIncomingContext(ctx, "user-agent"); len(agents) > 0 {
		c.UserAgent = agents[0]
	}
	return c
}

// subscriptionStatus maps the errors with which conn ends subscriptions.
func subscriptionStatus(err error) error {
	if refused, ok := errors.AsType[*conn.RefusedError](err); ok {
		return withDetail(codes.PermissionDenied, refused.Error(), &errdetails.RetryInfo{RetryDelay: durationpb.New(refused.For)})
	}
	if gone, ok := errors.AsType[*conn.DisconnectedError](err); ok {
		return status.Error(codes.Aborted, gone.Error())
	}
	if errors.Is(err, conn.ErrCrowd) {
		return status.Error(codes.ResourceExhausted, conn.ErrCrowd.Error())
	}
	if errors.Is(err, conn.ErrTruncated) {
		return status.Error(codes.OutOfRange, conn.ErrTruncated.Error())
	}
	return nil
}
