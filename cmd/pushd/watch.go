package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	pushv1 "pushd.example/api/push/v1"
)

// watcher is the backend behind `pushd watch`: it prints what happens to users,
// a line each, and goes on where it was when the server comes back.
type watcher struct {
	client  pushv1.ConnectionServiceClient
	key     string
	request *pushv1.WatchRequest // with the position to go on from
	out     io.Writer
}

func runWatch(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	fs := flag.NewFlagSet("pushd watch", flag.ContinueOnError)
	fs.SetOutput(stdout)
	addr := fs.String("addr", "127.0.0.1:9090", "where pushd serves gRPC, host:port")
	key := fs.String("key", getenv("PUSHD_API_KEY"), "API key with scope \"read\"; default $PUSHD_API_KEY")
	secure := fs.Bool("tls", false, "connect with TLS, to a proxy before pushd")
	kinds := fs.String("kinds", "", "kinds of events, with commas between them; all if empty")
	users := fs.String("users", "", "users, with commas between them; all if empty")
	position := fs.String("position", "", "where to go on, as was printed before; empty: now")
	if err := fs.Parse(args); err != nil {
		return err
	}
	transport := insecure.NewCredentials()
	if *secure {
		transport = credentials.NewTLS(&tls.Config{})
	}
	conn, err := grpc.NewClient(*addr, grpc.WithTransportCredentials(transport))
	if err != nil {
		return fmt.Errorf("watch: -addr: %w", err)
	}
	defer conn.Close()
	w := &watcher{
		client: pushv1.NewConnectionServiceClient(conn), key: *key, out: stdout,
		request: &pushv1.WatchRequest{Kinds: words(*kinds), Users: words(*users), Position: *position},
	}
	return w.run(ctx)
}

// words splits a list, of which an empty one has none.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// run watches again and again until ctx ends or the server says that it is of
// no use.
func (w *watcher) run(ctx context.Context) error {
	const pause = time.Second
	if w.key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+w.key)
	}
	for {
		err := w.stream(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case status.Code(err) != codes.Unavailable && !errors.Is(err, io.EOF):
			return fmt.Errorf("watch: %w", err)
		}
		fmt.Fprintf(w.out, "# %v; again in %v\n", err, pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// stream is one stream; its error says why it ended.
func (w *watcher) stream(ctx context.Context) error {
	stream, err := w.client.Watch(ctx, w.request)
	for err == nil {
		var resp *pushv1.WatchResponse
		if resp, err = stream.Recv(); err == nil {
			err = w.print(resp)
		}
	}
	return err
}

// print prints the events of a response, and the position if there is none.
func (w *watcher) print(resp *pushv1.WatchResponse) error {
	w.request.Position = resp.GetPosition()
	if resp.GetLost() || len(resp.GetEvents()) == 0 {
		if _, err := fmt.Fprintf(w.out, "{\"position\":%q,\"lost\":%v}\n", resp.GetPosition(), resp.GetLost()); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	for _, e := range resp.GetEvents() {
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(e)
		if err != nil {
			return fmt.Errorf("printing an event: %w", err)
		}
		if _, err := fmt.Fprintf(w.out, "%s\n", text); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	return nil
}
