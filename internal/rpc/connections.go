package rpc

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/conn"
	"pushd.example/internal/history/watch"
)

// Directory lists and closes connections. *conn.Server implements it for one node,
// *nodes.Nodes for all.
type Directory interface {
	// Presence returns the number of connections of each user, in the order of
	// users.
	Presence(ctx context.Context, users []string) ([]int, error)
	// Online returns the first limit users after the given one that have a
	// connection, in the order of their bytes, and whether there are more.
	Online(ctx context.Context, after string, limit int) (users []string, more bool, err error)
	// Connections returns the connections of user, the oldest first.
	Connections(ctx context.Context, user string) ([]conn.Connection, error)
	// Disconnect closes the connections that d names and returns how many.
	Disconnect(ctx context.Context, d conn.Departure) (int, error)
}

const (
	maxPresence   = 1000 // users in a Presence request
	defaultList   = 100  // entries in a page of a list
	maxList       = 1000
	maxRefuse     = 24 * time.Hour
	maxConnection = 64 // bytes in the id of a connection
)

// connections is ConnectionService.
type connections struct {
	pushv1.UnimplementedConnectionServiceServer

	directory Directory
	events    watch.Events
	metrics   *watchMetrics
	draining  context.Context // done when streams must end
}

// Presence implements pushv1.ConnectionServiceServer.
func (c *connections) Presence(ctx context.Context, req *pushv1.PresenceRequest) (*pushv1.PresenceResponse, error) {
	users := req.GetUsers()
	if err := checkUsers(users, maxPresence); err != nil {
		return nil, err
	}
	counts, err := c.directory.Presence(ctx, users)
	if err != nil {
		return nil, fmt.Errorf("reading presence: %w", err)
	}
	resp := &pushv1.PresenceResponse{Users: make([]*pushv1.UserPresence, len(users))}
	for i, n := range counts {
		resp.Users[i] = &pushv1.UserPresence{User: users[i], Online: n > 0, Connections: count(n)}
	}
	return resp, nil
}

// ListOnline implements pushv1.ConnectionServiceServer.
func (c *connections) ListOnline(ctx context.Context, req *pushv1.ListOnlineRequest) (*pushv1.ListOnlineResponse, error) {
	limit, err := listLimit(req.Limit)
	if err != nil {
		return nil, err
	}
	after, err := readPageToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	users, more, err := c.directory.Online(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("listing online users: %w", err)
	}
	resp := &pushv1.ListOnlineResponse{Users: users}
	if more {
		resp.NextPageToken = pageToken(users[len(users)-1])
	}
	return resp, nil
}

// ListConnections implements pushv1.ConnectionServiceServer.
func (c *connections) ListConnections(ctx context.Context, req *pushv1.ListConnectionsRequest) (*pushv1.ListConnectionsResponse, error) {
	if err := checkUser("user", req.GetUser()); err != nil {
		return nil, err
	}
	list, err := c.directory.Connections(ctx, req.GetUser())
	if err != nil {
		return nil, fmt.Errorf("listing connections: %w", err)
	}
	list = list[:min(len(list), maxList)]
	resp := &pushv1.ListConnectionsResponse{Connections: make([]*pushv1.Connection, len(list))}
	for i, c := range list {
		resp.Connections[i] = &pushv1.Connection{
			Id: c.ID, Node: c.Node, Since: timestamppb.New(c.Since), Address: c.Address,
			UserAgent: c.UserAgent, Transport: c.Transport,
		}
	}
	return resp, nil
}

// Disconnect implements pushv1.ConnectionServiceServer.
func (c *connections) Disconnect(ctx context.Context, req *pushv1.DisconnectRequest) (*pushv1.DisconnectResponse, error) {
	d := conn.Departure{User: req.GetUser(), Connection: req.GetConnection(), Reason: req.GetReason()}
	if err := checkUser("user", d.User); err != nil {
		return nil, err
	}
	if len(d.Connection) > maxConnection {
		return nil, tooLong("connection", maxConnection, len(d.Connection))
	}
	if err := checkReason(d.Reason); err != nil {
		return nil, err
	}
	var err error
	if d.Refuse, err = checkRefuse(req.GetRefuse(), d.Connection); err != nil {
		return nil, err
	}
	n, err := c.directory.Disconnect(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("disconnecting: %w", err)
	}
	return &pushv1.DisconnectResponse{Disconnected: count(n)}, nil
}

func checkReason(reason string) error {
	switch {
	case len(reason) > conn.MaxReason:
		return tooLong("reason", conn.MaxReason, len(reason))
	case !utf8.ValidString(reason):
		return &FieldError{"reason", "not valid UTF-8"}
	}
	return nil
}

// checkRefuse returns 0 for an unset refuse.
func checkRefuse(d *durationpb.Duration, connection string) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	switch refuse := d.AsDuration(); {
	case connection != "":
		return 0, &FieldError{"refuse", "it refuses all connections of the user and cannot be set together with connection"}
	case refuse <= 0:
		return 0, &FieldError{"refuse", fmt.Sprintf("more than 0s, got %v", refuse)}
	case refuse > maxRefuse:
		return 0, &FieldError{"refuse", fmt.Sprintf("at most %v, got %v", maxRefuse, refuse)}
	default:
		return refuse, nil
	}
}

// listLimit returns the number of entries in a page of a list.
func listLimit(limit *int32) (int, error) {
	if limit == nil {
		return defaultList, nil
	}
	if *limit < 1 || *limit > maxList {
		return 0, &FieldError{"limit", fmt.Sprintf("between 1 and %d, got %d", maxList, *limit)}
	}
	return int(*limit), nil
}

// pageToken returns the token of the page that begins after last. It is opaque to
// callers, and safe in a query for any bytes in last.
func pageToken(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

// readPageToken is the inverse of pageToken; it returns "" for "".
func readPageToken(token string) (last string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(token) > 0 && checkUser("", string(b)) != nil {
		return "", &FieldError{"page_token", "want the next_page_token of the page before"}
	}
	return string(b), nil
}

// inProcessConnections is ConnectionService for the gateway; see inProcess.
type inProcessConnections struct {
	pushv1.UnimplementedConnectionServiceServer
	*inProcess
	svc pushv1.ConnectionServiceServer
}

// Presence implements pushv1.ConnectionServiceServer.
func (l *inProcessConnections) Presence(ctx context.Context, req *pushv1.PresenceRequest) (*pushv1.PresenceResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.ConnectionService_Presence_FullMethodName, req, l.svc.Presence)
}

// ListEvents implements pushv1.ConnectionServiceServer.
func (l *inProcessConnections) ListEvents(ctx context.Context, req *pushv1.ListEventsRequest) (*pushv1.ListEventsResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.ConnectionService_ListEvents_FullMethodName, req, l.svc.ListEvents)
}

// ListOnline implements pushv1.ConnectionServiceServer.
func (l *inProcessConnections) ListOnline(ctx context.Context, req *pushv1.ListOnlineRequest) (*pushv1.ListOnlineResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.ConnectionService_ListOnline_FullMethodName, req, l.svc.ListOnline)
}

// ListConnections implements pushv1.ConnectionServiceServer.
func (l *inProcessConnections) ListConnections(ctx context.Context, req *pushv1.ListConnectionsRequest) (*pushv1.ListConnectionsResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.ConnectionService_ListConnections_FullMethodName, req, l.svc.ListConnections)
}

// Disconnect implements pushv1.ConnectionServiceServer.
func (l *inProcessConnections) Disconnect(ctx context.Context, req *pushv1.DisconnectRequest) (*pushv1.DisconnectResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.ConnectionService_Disconnect_FullMethodName, req, l.svc.Disconnect)
}
