// Command peer is a small push server on the library centrifuge, which
// Centrifugo is built on, set up as its authors advise for many idle
// connections: the peer that pushd is measured beside. Messages are kept
// nowhere, which is the cheapest that it can do.
//
// Clients connect to /ws?user=NAME, send {"id":1,"connect":{}}, and are
// subscribed to the channels "all" and "user:NAME". A body POSTed to
// /publish?channel=NAME is sent to that channel.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/centrifugal/centrifuge"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "clients")
	publish := flag.String("publish", "127.0.0.1:0", "publishers")
	ready := flag.String("ready-file", "", "where to write the addresses as JSON")
	flag.Parse()
	if err := run(*listen, *publish, *ready); err != nil {
		log.Fatal("peer: ", err)
	}
}

func run(listen, publish, ready string) error {
	node, err := newNode()
	if err != nil {
		return err
	}
	clients, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	publishers, err := net.Listen("tcp", publish)
	if err != nil {
		return err
	}
	fmt.Printf("peer: clients at %s, publish at %s\n", clients.Addr(), publishers.Addr())
	if err := announce(ready, clients.Addr().String(), publishers.Addr().String()); err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- http.Serve(clients, clientsDoor(node)) }()
	go func() { failed <- http.Serve(publishers, publishersDoor(node)) }()
	return <-failed
}

func announce(path, listen, publish string) error {
	if path == "" {
		return nil
	}
	text, err := json.Marshal(map[string]any{"pid": os.Getpid(), "listen": listen, "http": publish})
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// newNode makes a node whose clients are subscribed by the server.
func newNode() (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelError, LogHandler: func(e centrifuge.LogEntry) {
		log.Print("peer: ", e.Message, " ", e.Fields)
	}})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(ctx context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		c, _ := centrifuge.GetCredentials(ctx)
		return centrifuge.ConnectReply{Subscriptions: map[string]centrifuge.SubscribeOptions{"all": {}, "user:" + c.UserID: {}}}, nil
	})
	node.OnConnect(func(*centrifuge.Client) {})
	return node, node.Run()
}

func clientsDoor(node *centrifuge.Node) http.Handler {
	ws := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		UseWriteBufferPool:         true,
		ProcessCommandsOffReadLoop: true,
		// No pings: no run lasts long enough to need them.
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: -1, PongTimeout: -1},
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &centrifuge.Credentials{UserID: r.URL.Query().Get("user")}
		ws.ServeHTTP(w, r.WithContext(centrifuge.SetCredentials(r.Context(), c)))
	})
}

func publishersDoor(node *centrifuge.Node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = node.Publish(r.URL.Query().Get("channel"), data)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		io.WriteString(w, "{}")
	})
}
