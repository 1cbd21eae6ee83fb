package main

import (
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
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// proxies are the programs that deploy/ has a configuration for.
var proxies = []struct {
	name string
	// start runs the program before nodes.
	start func(t *testing.T, nodes []*server) front
	// file of deploy/ sets the time without traffic after which the program ends a
	// WebSocket, in a place that timeout finds. Empty: it has no such time.
	file    string
	timeout *regexp.Regexp
}{
	{"nginx", func(t *testing.T, nodes []*server) front { return startNginx(t, nodes).front }, "nginx.conf", regexp.MustCompile(`proxy_read_timeout (\d+s);`)},
	{"HAProxy", startHAProxy, "haproxy.cfg", regexp.MustCompile(`timeout tunnel (\d+s)`)},
	{"Caddy", startCaddy, "", nil},
	{"Apache", startApache, "apache.conf", regexp.MustCompile(`ProxyTimeout (\d+)`)},
	{"Varnish", startVarnish, "systemd/varnish.service.d.conf", regexp.MustCompile(`pipe_timeout=(\d+)`)},
}

// TestE2EProxies puts each program, as deploy/ configures it, before three nodes:
// clients get in and get pushes, a node that takes no more clients can say so,
// and no log has a client's token.
func TestE2EProxies(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("a-secret-of-at-least-32-bytes-for-tests\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const rate = 2
	nodes := threeNodes(t, "-upgrade-rate", fmt.Sprint(rate), "-token-key-file", secret, "-log-level", "debug")
	token := func(user string) string {
		out, errOut, status := nodes[0].pushctl("", "token", "-user", user, "-ttl", "1h", "-sign-with", secret)
		if status != 0 {
			t.Fatalf("pushctl token: status %d\n%s", status, errOut)
		}
		return strings.TrimSpace(out)
	}
	inQuery, inProtocol := token("q"), token("p")
	away := make([]*server, len(nodes))
	for i := range away {
		closed := testkit.FreeAddr(t)
		away[i] = &server{Listen: closed, HTTP: closed, GRPC: closed, Admin: closed}
	}
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			if p.timeout != nil {
				outlastsPings(t, p.file, p.timeout)
			}
			f, broken := p.start(t, nodes), p.start(t, away)
			q := f.connect(t, "?token="+inQuery)
			c := f.connect(t, "", "pushd.token."+inProtocol)
			for user, c := range map[string]*client{"q": q, "p": c} {
				r := nodes[0].push("unicast", fmt.Sprintf(`{"user":%q,"data":1}`, user))
				want(t, c.next(t), r.ID, "unicast", "1")
			}
			// More at once than the nodes' queues hold.
			crowd(t, f, 12*rate*len(nodes))

			for _, f := range []front{f, broken} {
				_, resp, err := f.dial(t, "?token=bad-"+inQuery)
				if resp == nil || resp.StatusCode < 400 {
					t.Errorf("a client that cannot get in got %v, %v, want a response with the reason", resp, err)
				}
				_, _, _ = f.dial(t, "", "pushd.token."+inProtocol)
				testkit.WaitFor(t, "a line in the log of "+p.name, func() bool { return strings.Contains(f.log(), "/push") })
				noToken(t, p.name, f.log(), inQuery, inProtocol)
			}
			for _, n := range nodes {
				noToken(t, n.Node, n.log.String(), inQuery, inProtocol)
			}
		})
	}
}

// outlastsPings requires that a proxy ends a WebSocket only after a longer
// silence than pushd's pings leave.
func outlastsPings(t *testing.T, file string, timeout *regexp.Regexp) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/" + file)
	if err != nil {
		t.Fatal(err)
	}
	found := timeout.FindSubmatch(text)
	if found == nil {
		t.Fatalf("deploy/%s does not have %v", file, timeout)
	}
	d, err := time.ParseDuration(strings.TrimSuffix(string(found[1]), "s") + "s")
	if err != nil {
		t.Fatal(err)
	}
	if c := mustLoad(t, environ()); d < 2*c.PingInterval {
		t.Errorf("deploy/%s ends a WebSocket after %v without traffic, want at least twice -ping-interval, %v", file, d, c.PingInterval)
	}
}

// crowd sends n clients at once: some get in, and all others are told by a node
// when to come back.
func crowd(t *testing.T, f front, n int) {
	t.Helper()
	answers := make(chan *http.Response)
	for range n {
		go func() {
			_, resp, err := f.dial(t, "?user=crowd")
			if resp == nil {
				t.Error(err)
			}
			answers <- resp
		}()
	}
	seen := map[string]int{}
	for range n {
		if resp := <-answers; resp != nil {
			seen[fmt.Sprintf("%d, Retry-After: %t", resp.StatusCode, resp.Header.Get("Retry-After") != "")]++
		}
	}
	in, later := seen["101, Retry-After: false"], seen["503, Retry-After: true"]
	if in == 0 || later == 0 || in+later != n {
		t.Errorf("%d clients at once got %v, want some 101 and all others 503 with Retry-After", n, seen)
	}
}

// noToken requires that a log has none of the tokens, nor their signatures.
func noToken(t *testing.T, whose, log string, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		signature := token[strings.LastIndexByte(token, '.')+1:]
		if i := strings.Index(log, signature); i >= 0 {
			t.Errorf("the log of %s has a token: %s", whose, log[max(0, i-500):i+len(signature)])
		}
	}
}

// front is the clients' door of a proxy. It belongs to push.example.com.
type front struct {
	addr string
	tls  bool
	// log returns what the program has logged so far.
	log func() string
}

// dial connects a client. With protocols it is a page of the same site, which
// sends its token there; else it is a program, which learns from a status why it
// is refused. query is what follows the path in the URL. It gives the response also
// with an error.
func (f front) dial(t *testing.T, query string, protocols ...string) (*client, *http.Response, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var d net.Dialer
	transport := &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "tcp", f.addr) },
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the test's own certificate
	}
	defer transport.CloseIdleConnections()
	_, port, _ := net.SplitHostPort(f.addr)
	host, s := "push.example.com:"+port, ""
	if f.tls {
		s = "s"
	}
	header := http.Header{}
	if len(protocols) > 0 {
		header.Set("Origin", "http"+s+"://"+host)
	}
	ws, resp, err := websocket.Dial(ctx, "ws"+s+"://"+host+"/push"+query, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: transport},
		Subprotocols: append([]string{"pushd.v1.json"}, protocols...),
		HTTPHeader:   header,
	})
	if err != nil {
		return nil, resp, err
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	c := &client{ws: ws}
	if c.hello, err = c.read(ctx); err != nil {
		return nil, resp, err
	}
	if c.hello.Type != "hello" {
		return nil, resp, fmt.Errorf("the first frame is %+v, not hello", c.hello)
	}
	c.cursor, err = history.ParseCursor(c.hello.Cursor)
	return c, resp, err
}

// connect is dial for a client that comes back when it is told to.
func (f front) connect(t *testing.T, query string, protocols ...string) (c *client) {
	t.Helper()
	testkit.WaitForSuccess(t, "a client to get in", func() error {
		var resp *http.Response
		var err error
		c, resp, err = f.dial(t, query, protocols...)
		if err != nil && resp != nil && resp.StatusCode != http.StatusServiceUnavailable {
			t.Fatal(err)
		}
		return err
	})
	return c
}

func startHAProxy(t *testing.T, nodes []*server) front {
	t.Helper()
	dir := t.TempDir()
	f := front{addr: testkit.FreeAddr(t), tls: true}
	rest, grpc := testkit.FreeAddr(t), testkit.FreeAddr(t)
	cert, key := writeCertificate(t, dir)
	both := append(readFile(t, cert), readFile(t, key)...)
	if err := os.WriteFile(filepath.Join(dir, "push.pem"), both, 0o600); err != nil {
		t.Fatal(err)
	}
	edits := []string{
		"maxconn 200000", "maxconn 1000", "/etc/haproxy/", dir + "/",
		"bind :443 ", "bind " + f.addr + " ", "bind 127.0.0.1:8081", "bind " + rest, "bind 127.0.0.1:9090", "bind " + grpc,
	}
	for i, n := range nodes {
		_, admin, _ := net.SplitHostPort(n.Admin)
		for port, addr := range map[int]string{8080: n.Listen, 8081: n.HTTP, 9090: n.GRPC} {
			edits = append(edits, fmt.Sprintf("node%d:%d port 8082", i+1, port), addr+" port "+admin)
		}
	}
	p := runProxy(t, "haproxy", "-db", "-f", deployed(t, dir, "haproxy.cfg", nil, edits...))
	waitToListen(t, f.addr, rest, grpc)
	f.log = p.Output.String
	return f
}

func startCaddy(t *testing.T, nodes []*server) front {
	t.Helper()
	dir := t.TempDir()
	f := front{addr: testkit.FreeAddr(t), tls: true}
	writeCertificate(t, dir)
	t.Setenv("XDG_CONFIG_HOME", dir) // Caddy saves its configuration there
	_, port, _ := net.SplitHostPort(f.addr)
	conf := deployed(t, dir, "Caddyfile", nodes,
		"admin localhost:2019", "admin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n\tstorage file_system "+dir,
		"/etc/caddy/", dir+"/", "\npush.example.com {", "\npush.example.com:"+port+" {")
	p := runProxy(t, "caddy", "run", "--adapter", "caddyfile", "--config", conf)
	waitToListen(t, f.addr)
	f.log = p.Output.String
	return f
}

// startApache runs Apache with the site of deploy/ and with the modules that its
// comment names.
func startApache(t *testing.T, nodes []*server) front {
	t.Helper()
	dir := t.TempDir()
	f := front{addr: testkit.FreeAddr(t), tls: true, log: logFiles(dir+"/pushd.log", dir+"/pushd-error.log", dir+"/error.log")}
	writeCertificate(t, dir)
	site := deployed(t, dir, "apache.conf", nodes, "/etc/apache2/tls/", dir+"/", "/var/log/apache2/", dir+"/", "*:443", f.addr)
	enable := regexp.MustCompile(`a2enmod (.*)`).FindSubmatch(readFile(t, site))
	if enable == nil {
		t.Fatal("deploy/apache.conf does not say which modules it needs")
	}
	conf := "ServerRoot " + dir + "\nDefaultRuntimeDir " + dir + "\nPidFile " + dir + "/pid\nErrorLog " + dir + "/error.log\nListen " + f.addr + "\n"
	for _, module := range append(strings.Fields(string(enable[1])), "mpm_event", "authz_core", "socache_shmcb") {
		conf += fmt.Sprintf("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", module, module)
	}
	if os.Getuid() == 0 {
		conf += "User www-data\nGroup www-data\n"
	}
	main := filepath.Join(dir, "httpd.conf")
	if err := os.WriteFile(main, []byte(conf+"Include "+site+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runProxy(t, "apache2", "-D", "FOREGROUND", "-f", main)
	waitToListen(t, f.addr)
	return f
}

// startVarnish runs Varnish and its log as the units of deploy/systemd do.
func startVarnish(t *testing.T, nodes []*server) front {
	t.Helper()
	dir := t.TempDir()
	f := front{addr: testkit.FreeAddr(t)}
	var edits []string
	for i, n := range nodes {
		host, port, _ := net.SplitHostPort(n.Listen)
		edits = append(edits, fmt.Sprintf(`.host = "node%d"; .port = "8080"`, i+1), fmt.Sprintf(`.host = %q; .port = %q`, host, port))
	}
	vcl := deployed(t, dir, "varnish.vcl", nil, edits...)
	runProxy(t, unitCommand(t, "varnish", "-j unix,user=vcache", "-j none -n "+dir, ":80", f.addr, "/etc/varnish/varnish.vcl", vcl)...)
	waitToListen(t, f.addr)
	p := runProxy(t, unitCommand(t, "varnishncsa", "-a -w /var/log/varnish/varnishncsa.log -D -P /run/varnishncsa/varnishncsa.pid", "-n "+dir+" -t 30")...)
	f.log = p.Output.String
	return f
}

// unitCommand returns the command of a unit in deploy/systemd after edits, which are
// pairs of old and new.
func unitCommand(t *testing.T, unit string, edits ...string) []string {
	t.Helper()
	text := string(readFile(t, "../../deploy/systemd/"+unit+".service.d.conf"))
	found := regexp.MustCompile(`ExecStart=(/.*)`).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("deploy/systemd/%s.service.d.conf has no command", unit)
	}
	line := found[1]
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(line, edits[i]) {
			t.Fatalf("the command of %s has no %q: %s", unit, edits[i], line)
		}
		line = strings.Replace(line, edits[i], edits[i+1], 1)
	}
	line = strings.ReplaceAll(line, "%%", "%")
	before, quoted, _ := strings.Cut(line, "'")
	words := strings.Fields(before)
	words[0] = filepath.Base(words[0])
	if quoted != "" {
		words = append(words, strings.TrimSuffix(quoted, "'"))
	}
	return words
}

// deployed writes a file of deploy/ into dir, with the addresses of nodes and with
// edits, which are pairs of old and new, and returns its path. Nothing of
// another machine may be left in it.
func deployed(t *testing.T, dir, file string, nodes []*server, edits ...string) string {
	t.Helper()
	for i, n := range nodes {
		for port, addr := range map[int]string{8080: n.Listen, 8081: n.HTTP, 9090: n.GRPC} {
			edits = append(edits, fmt.Sprintf("node%d:%d", i+1, port), addr)
		}
	}
	text := strings.NewReplacer(edits...).Replace(string(readFile(t, "../../deploy/"+file)))
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, elsewhere := range []string{"node1:", `"node1"`, "/var/", "/etc/"} {
			if strings.Contains(line, elsewhere) {
				t.Fatalf("deploy/%s has a line that this test does not adapt: %s", file, line)
			}
		}
	}
	path := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runProxy starts a program that the machine must have.
func runProxy(t *testing.T, line ...string) *testkit.Process {
	t.Helper()
	path := os.Getenv("PATH")
	bin, err := exec.LookPath(line[0])
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // not in everybody's PATH
		if err != nil {
			bin, err = exec.LookPath(filepath.Join(dir, line[0]))
		}
	}
	if err != nil {
		t.Fatalf("%s is not in %s, and this test needs the real program: make tools-proxies", line[0], path)
	}
	cmd := exec.Command(bin, line[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // killed with its workers
	return testkit.Start(t, cmd)
}

// waitToListen waits until somebody listens on each address.
func waitToListen(t *testing.T, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		testkit.WaitForSuccess(t, "a proxy to listen on "+addr, func() error {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				err = c.Close()
			}
			return err
		})
	}
}

// logFiles returns a function that reads the files, as far as they exist.
func logFiles(paths ...string) func() string {
	return func() string {
		var all []byte
		for _, path := range paths {
			b, _ := os.ReadFile(path)
			all = append(all, b...)
		}
		return string(all)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writeCertificate writes push.crt and push.key, good for an hour.
func writeCertificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"push.example.com"}}
	der, err1 := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	pkcs8, err2 := x509.MarshalPKCS8PrivateKey(private)
	cert, key = filepath.Join(dir, "push.crt"), filepath.Join(dir, "push.key")
	if err := errors.Join(err1, err2,
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)); err != nil {
		t.Fatal(err)
	}
	return cert, key
}
