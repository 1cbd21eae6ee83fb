package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/testkit"
)

// nginxDoors are where an nginx of a test listens.
type nginxDoors struct {
	front
	http, grpc string
}

// startNginx runs the real nginx with deploy/nginx.conf before nodes; only
// addresses and paths are changed.
func startNginx(t *testing.T, nodes []*server) nginxDoors {
	t.Helper()
	dir := t.TempDir()
	d := nginxDoors{http: testkit.FreeAddr(t), grpc: testkit.FreeAddr(t)}
	d.front = front{addr: testkit.FreeAddr(t), tls: true}
	writeCertificate(t, dir)
	edits := []string{
		"pid /run/nginx.pid;", "pid " + dir + "/pid;",
		"worker_rlimit_nofile 1048576;", "", "worker_connections 65536;", "worker_connections 4096;",
		"/var/log/nginx/", dir + "/", "/etc/nginx/tls/", dir + "/",
		"listen 443 ssl;", "listen " + d.addr + " ssl;", "listen 8081;", "listen " + d.http + ";", "listen 9090 http2;", "listen " + d.grpc + " http2;",
	}
	conf := deployed(t, dir, "nginx.conf", nodes, edits...)
	// nginx's workers read the test's directory as root where the test is run by
	// root; others cannot change the user anyway.
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	runProxy(t, "nginx", "-p", dir, "-e", "stderr", "-c", conf, "-g", "daemon off;"+user)
	waitToListen(t, d.addr, d.http, d.grpc)
	d.log = logFiles(dir+"/access.log", dir+"/error.log")
	return d
}

// TestE2ENginx puts nginx, as deploy/nginx.conf has it, before three nodes on
// one Redis: clients and backends only know nginx, and nodes end.
func TestE2ENginx(t *testing.T) {
	nodes := threeNodes(t)
	doors := startNginx(t, nodes)
	backend := &server{t: t, HTTP: doors.http, GRPC: doors.grpc}
	connect := func(user, query string) *client {
		t.Helper()
		c, resp, err := doors.dial(t, "?user="+user+query)
		if err != nil {
			t.Fatal(err, resp)
		}
		return c
	}
	var clients []*client
	for i := range 6 {
		clients = append(clients, connect(fmt.Sprintf("u%d", i), ""))
	}
	r := backend.push("broadcast", `{"data":1}`)
	wantOnline(t, "broadcast", r.Online, len(clients))
	for _, c := range clients {
		want(t, c.next(t), r.ID, "broadcast", "1")
	}
	for _, n := range nodes {
		if !strings.Contains(n.metrics(), `pushd_conn_connections{state="open"} 2`) {
			t.Errorf("%s does not have its third of the clients:\n%s", n.Node, grep(n.metrics(), "pushd_conn_connections"))
		}
	}

	// A node drains: its clients come back, to another one.
	nodes[0].terminate()
	api, _ := grpcClient(t, backend)
	moved, err := api.Broadcast(t.Context(), &pushv1.BroadcastRequest{Data: []byte("2")})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		f, err := c.read(t.Context())
		if websocket.CloseStatus(err) == 4200 {
			c = connect(fmt.Sprintf("u%d", i), "&cursor="+c.cursor.String())
			f, err = c.read(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		want(t, f, moved.GetId(), "broadcast", "2")
	}
	// One dies: every call still finds a node that lives.
	nodes[1].kill()
	for i := range 9 {
		r := backend.push("unicast", fmt.Sprintf(`{"user":"u9","data":%d}`, i))
		c := connect("u9", "&cursor=0")
		for f := c.next(t); f.ID != r.ID; f = c.next(t) {
		}
	}
}

// TestE2ENginxOverload sends more clients than three nodes let in. nginx uses all
// that the nodes give, and a client that none of them takes is told so by a
// node, with the time to come back.
func TestE2ENginxOverload(t *testing.T) {
	const rate, offered, seconds = 20, 100, 4
	doors := startNginx(t, threeNodes(t, "-upgrade-rate", strconv.Itoa(rate)))
	start := time.Now()
	answers := make(chan *http.Response)
	for i := range offered * seconds {
		go func() {
			time.Sleep(time.Duration(i) * time.Second / offered)
			_, resp, err := doors.dial(t, "?user=crowd")
			if resp == nil {
				t.Error(err)
			}
			answers <- resp
		}()
	}
	in := 0
	for range offered * seconds {
		switch resp := <-answers; {
		case resp == nil: // the error was told
		case resp.StatusCode == http.StatusSwitchingProtocols:
			in++
		case resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "":
			t.Errorf("a client got %s, Retry-After %q, want 101, or 503 with Retry-After", resp.Status, resp.Header.Get("Retry-After"))
		}
	}
	could := min(offered*seconds, int(3*rate*time.Since(start).Seconds()))
	t.Logf("%d of %d clients were let in within %v, when three nodes could take %d", in, offered*seconds, time.Since(start), could)
	if in < could*3/4 {
		t.Errorf("%d clients were let in, want at least 3/4 of %d", in, could)
	}
}
