package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// nginxDoors are where an nginx of a test listens.
type nginxDoors struct{ listen, http, grpc string }

// startNginx runs the real nginx with deploy/nginx.conf before nodes; only
// addresses and paths are changed.
func startNginx(t *testing.T, nodes []*server) nginxDoors {
	t.Helper()
	bin, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal("nginx is not installed, and this test needs the real one: make tools-nginx (or apt-get install nginx-light, brew install nginx)")
	}
	conf, err := os.ReadFile("../../deploy/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeCertificate(t, dir)
	d := nginxDoors{testkit.FreeAddr(t), testkit.FreeAddr(t), testkit.FreeAddr(t)}
	edits := []string{
		"pid /run/nginx.pid;", "pid " + dir + "/pid;",
		"worker_rlimit_nofile 1048576;", "", "worker_connections 65536;", "worker_connections 4096;",
		"/var/log/nginx/", dir + "/", "/etc/nginx/tls/", dir + "/",
		"listen 443 ssl;", "listen " + d.listen + " ssl;", "listen 8081;", "listen " + d.http + ";", "listen 9090 http2;", "listen " + d.grpc + " http2;",
	}
	for i, n := range nodes {
		for port, addr := range map[int]string{8080: n.Listen, 8081: n.HTTP, 9090: n.GRPC} {
			edits = append(edits, fmt.Sprintf("server node%d:%d ", i+1, port), "server "+addr+" ")
		}
	}
	text := strings.NewReplacer(edits...).Replace(string(conf))
	if strings.Contains(text, "node1") || strings.Contains(text, "/var/") || strings.Contains(text, "/etc/") {
		t.Fatalf("deploy/nginx.conf names something that this test does not know:\n%s", text)
	}
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(testkit.Buffer)
	cmd := exec.Command(bin, "-p", dir, "-e", "stderr", "-c", path, "-g", "daemon off;"+asRoot())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the master and its workers
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("nginx said:\n%s", log)
		}
	})
	testkit.WaitForSuccess(t, "nginx to listen", func() error {
		c, err := net.Dial("tcp", d.grpc)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return d
}

// asRoot lets nginx's workers read the test's directory where the test is run
// by root; others cannot change the user anyway.
func asRoot() string {
	if os.Getuid() == 0 {
		return "user root;"
	}
	return ""
}

// writeCertificate writes push.crt and push.key, good for an hour.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"push.example.com"}}
	cert, err1 := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2,
		os.WriteFile(filepath.Join(dir, "push.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(filepath.Join(dir, "push.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestE2ENginx puts nginx, as deploy/nginx.conf has it, before three nodes on
// one Redis: clients and backends only know nginx, and nodes end.
func TestE2ENginx(t *testing.T) {
	nodes := threeNodes(t)
	doors := startNginx(t, nodes)
	front := &server{t: t, HTTP: doors.http, GRPC: doors.grpc}
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the test's own certificate
	defer trusting.CloseIdleConnections()
	connect := func(user, query string) *client {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		// A browser sends the Origin of a page of the same site.
		opts := &websocket.DialOptions{HTTPClient: trusting, Subprotocols: []string{"pushd.v1.json"}, HTTPHeader: http.Header{"Origin": {"https://" + doors.listen}}}
		ws, _, err := websocket.Dial(ctx, "wss://"+doors.listen+"/push?user="+user+query, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		c := &client{ws: ws}
		if c.hello = c.next(t); c.hello.Type != "hello" {
			t.Fatalf("the first frame is %+v", c.hello)
		}
		if c.cursor, err = history.ParseCursor(c.hello.Cursor); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var clients []*client
	for i := range 6 {
		clients = append(clients, connect(fmt.Sprintf("u%d", i), ""))
	}
	r := front.push("broadcast", `{"data":1}`)
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
	api, _ := grpcClient(t, front)
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
		r := front.push("unicast", fmt.Sprintf(`{"user":"u9","data":%d}`, i))
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
			answers <- handshake(t, doors.listen)
		}()
	}
	in := 0
	for range offered * seconds {
		switch resp := <-answers; {
		case resp == nil: // handshake said why
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

// handshake asks for a WebSocket at the TLS server at addr and returns the response.
// The end of the test closes the connection. It returns nil after t.Error.
func handshake(t *testing.T, addr string) *http.Response {
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // the test's own certificate
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = fmt.Fprintf(c, "GET /push?user=crowd HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n", addr)
	if err != nil {
		t.Error(err)
		return nil
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Error(err)
		return nil
	}
	return resp
}
