package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"pushd.example/internal/testkit"
)

// TestE2EImage follows deploy/Dockerfile by hand: it builds what it builds, in a copy
// of what it copies, and runs that as its user, in a root directory with nothing
// else but the /dev/null of every container. A second container on the same volume has the history of the first.
func TestE2EImage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a root directory and a user of its own need root: run this test as root")
	}
	recipe := string(readFile(t, "../../deploy/Dockerfile"))
	src, root := t.TempDir(), t.TempDir()
	for _, copied := range regexp.MustCompile(`(?m)^COPY (?:go\.mod go\.sum \./|(\w+) \w+)$`).FindAllStringSubmatch(recipe, -1) {
		paths := "go.mod go.sum"
		if copied[1] != "" {
			paths = copied[1]
		}
		command(t, "../..", "cp -r "+paths+" "+src)
	}
	build := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*)$`).FindStringSubmatch(recipe)
	env := regexp.MustCompile(`(?m)^ENV (.*)$`).FindStringSubmatch(recipe)
	var uid uint32
	user := regexp.MustCompile(`(?m)^USER (\d+):\d+$`).FindStringSubmatch(recipe)
	if build == nil || env == nil || user == nil || !strings.Contains(recipe, "\nVOLUME /data\n") {
		t.Fatalf("deploy/Dockerfile lacks its build, ENV, USER or VOLUME:\n%s", recipe)
	}
	if _, err := fmt.Sscan(user[1], &uid); err != nil {
		t.Fatal(err)
	}
	command(t, src, "VERSION=v0-image; "+strings.Replace(build[1], "-o / ", "-o "+root+"/ ", 1))
	command(t, root, fmt.Sprintf("chmod 0755 . && mkdir -p data dev run/secrets && mknod -m 0666 dev/null c 1 3 && chown %d data && echo 'all * %s' > run/secrets/api.keys && "+
		"echo a-secret-of-at-least-32-bytes-for-tests > run/secrets/token.keys && chmod 0644 run/secrets/*", uid, allKey))

	container := func() (*server, *testkit.Process) {
		ready := filepath.Join(root, "data", "ready.json")
		if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		cmd := exec.Command("/pushd", anyPort...)
		cmd.Dir = "/"
		cmd.Env = append(strings.Fields(env[1]), "PUSHD_READY_FILE=/data/ready.json")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		p := testkit.Start(t, cmd)
		s := &server{t: t, Key: allKey}
		testkit.WaitForSuccess(t, "the container to serve", func() error {
			b, err := os.ReadFile(ready)
			if err != nil {
				return err
			}
			return json.Unmarshal(b, s)
		})
		return s, p
	}
	s, p := container()
	r := s.push("unicast", `{"user":"u","data":1}`)
	testkit.Must(t, p.Stop())
	s, p = container()
	if h := s.wholeHistory("u"); len(h) != 1 || h[0].ID != r.ID {
		t.Errorf("the second container on the volume has %+v, want the message %s of the first", h, r.ID)
	}
	testkit.Must(t, p.Stop())
}

// command runs a line of shell in dir.
func command(t *testing.T, dir, line string) {
	t.Helper()
	cmd := exec.Command("sh", "-ec", line)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// TestE2EUnits has systemd read the units of deploy/systemd, with the built pushd as
// the program that they start.
func TestE2EUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze, which reads units, on this machine")
	}
	for _, unit := range []string{"pushd.service", "pushd@.service"} {
		text := string(readFile(t, "../../deploy/systemd/"+unit))
		path := filepath.Join(t.TempDir(), unit)
		adapted := strings.Replace(text, "/usr/local/bin/pushd", binary(t, "pushd"), 1)
		if err := os.WriteFile(path, []byte(adapted), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", path).CombinedOutput(); err != nil || strings.Contains(string(out), unit) {
			t.Errorf("systemd-analyze verify %s: %v\n%s", unit, err, out)
		}
		longerThanDrain(t, unit, regexp.MustCompile(`TimeoutStopSec=(\d+)`), text)
	}
}

// TestDeployYAML reads the YAML of deploy/: it parses, every variable is that of a
// setting, and pushd has more time to end than it takes for draining.
func TestDeployYAML(t *testing.T) {
	known := map[string]bool{}
	for _, s := range settings(new(config)) {
		known[envName(s.name)] = true
	}
	for file, grace := range map[string]string{
		"compose.yaml": `stop_grace_period: (\d+)s`, "compose.single.yaml": `stop_grace_period: (\d+)s`,
		"kubernetes.yaml": `terminationGracePeriodSeconds: (\d+)`,
	} {
		text := readFile(t, "../../deploy/"+file)
		documents := yaml.NewDecoder(bytes.NewReader(text))
		for {
			var document map[string]any
			err := documents.Decode(&document)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(document) == 0 {
				t.Fatalf("deploy/%s has %v, %v, want a document", file, document, err)
			}
		}
		names := regexp.MustCompile(`\bPUSHD_[A-Z_]*[A-Z]\b`).FindAllString(string(text), -1)
		if len(names) == 0 {
			t.Errorf("deploy/%s sets nothing", file)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("deploy/%s sets %s, which is no setting", file, name)
			}
		}
		longerThanDrain(t, file, regexp.MustCompile(grace), string(text))
	}
}

// longerThanDrain requires that the seconds that grace finds in text are more than
// -drain-timeout.
func longerThanDrain(t *testing.T, file string, grace *regexp.Regexp, text string) {
	t.Helper()
	found := grace.FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("deploy: %s does not have %v", file, grace)
	}
	d, err := time.ParseDuration(found[1] + "s")
	if drain := mustLoad(t, environ()).DrainTimeout; err != nil || d <= drain {
		t.Errorf("deploy: %s kills pushd after %v, %v; want more than -drain-timeout, %v", file, d, err, drain)
	}
}
