package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// bench measures servers with pushbench.
type bench struct {
	settings
	dir string
	// overhead is how many bytes a server adds to a message's data.
	overhead map[string]int
}

// result is the part of pushbench's JSON that is of interest here.
type result struct {
	Connect struct {
		ServerCPU float64 `json:"server_cpu_us"`
	}
	Memory struct {
		RSS float64 `json:"rss_bytes_per_connection"`
	}
	Push struct {
		Lost, Duplicates, Failed, Closed int
		MessagesPerS                     float64                         `json:"messages_per_second"`
		DeliveriesPerS                   float64                         `json:"deliveries_per_second"`
		Bytes                            float64                         `json:"bytes_per_delivery"`
		CPUDelivery                      float64                         `json:"server_cpu_us_per_delivery"`
		CPUMessage                       float64                         `json:"server_cpu_us_per_message"`
		Delivery                         struct{ P50, P99, Max float64 } `json:"delivery_ms"`
	}
}

// figures are what was measured of one server in one round, by row.
type figures map[string]float64

// one starts a server, measures all there is, and stops it.
func (b *bench) one(ctx context.Context, s subject) (figures, error) {
	r, err := start(ctx, b.dir, s)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	size, err := b.size(ctx, s, r)
	if err != nil {
		return nil, err
	}
	f := figures{}
	if err := b.single(ctx, s, r, size, f); err != nil {
		return nil, err
	}
	if err := b.queued(ctx, s, r, size, f); err != nil {
		return nil, err
	}
	return f, b.unicasts(ctx, s, r, f)
}

// single sends one broadcast after the other, each when the one before has
// reached everybody: no server can save work by joining messages.
func (b *bench) single(ctx context.Context, s subject, r *running, size string, f figures) error {
	got, err := b.pushbench(ctx, r, "broadcast", s.connect, s.broadcast,
		"-conns", fmt.Sprint(b.conns), "-steps", fmt.Sprint(b.first), "-settle", "1s",
		"-size", size, "-messages", fmt.Sprint(b.messages), "-callers", "1", "-outstanding", "1")
	if err != nil {
		return err
	}
	if !s.fanOutOnly {
		f[rowMemory], f[rowConnect] = got.Memory.RSS, got.Connect.ServerCPU
	}
	f[rowDelivery], f[rowDeliveries] = got.Push.CPUDelivery, got.Push.DeliveriesPerS
	f[rowHalf], f[rowLast] = got.Push.Delivery.P50, got.Push.Delivery.P99
	return nil
}

// queued sends broadcasts to a third of the connections as they come, up to
// eight of which may be under way.
func (b *bench) queued(ctx context.Context, s subject, r *running, size string, f figures) error {
	got, err := b.pushbench(ctx, r, "broadcast", s.connect, s.broadcast,
		"-conns", fmt.Sprint(b.conns/3+1), "-settle", "0s", "-size", size, "-messages", fmt.Sprint(6*b.messages), "-callers", "8")
	if err != nil {
		return err
	}
	f[rowQueuedCPU], f[rowQueued] = got.Push.CPUDelivery, got.Push.DeliveriesPerS
	return nil
}

func (b *bench) unicasts(ctx context.Context, s subject, r *running, f figures) error {
	if s.unicast == nil {
		return nil
	}
	got, err := b.pushbench(ctx, r, "unicast", s.connect, s.unicast,
		"-conns", "1000", "-settle", "0s", "-duration", b.unicast.String(), "-callers", "32")
	if err != nil {
		return err
	}
	f[rowUnicasts], f[rowUnicastCPU], f[rowUnicastP99] = got.Push.MessagesPerS, got.Push.CPUMessage, got.Push.Delivery.P99
	return nil
}

// size finds out how much data makes frames of the size asked for.
func (b *bench) size(ctx context.Context, s subject, r *running) (string, error) {
	const header, probe = 4, 200 // RFC 6455, section 5.2: 4 bytes from 126 to 65,535
	overhead, known := b.overhead[s.name]
	if !known {
		got, err := b.pushbench(ctx, r, "broadcast", s.connect, s.broadcast,
			"-conns", "10", "-settle", "0s", "-warmup", "0", "-size", fmt.Sprint(probe), "-messages", "10", "-callers", "1", "-outstanding", "1")
		if err != nil {
			return "", err
		}
		overhead = int(got.Push.Bytes) - probe
		b.overhead[s.name] = overhead
	}
	return strconv.Itoa(b.frame - header - overhead), nil
}

// pushbench runs it against r.
func (b *bench) pushbench(ctx context.Context, r *running, mode string, connect, publish []string, more ...string) (result, error) {
	var got result
	args := []string{mode, "-json", "-quiet", "-pid", fmt.Sprint(r.cmd.Process.Pid)}
	args = append(args, r.fill(slices.Concat(connect, publish))...)
	args = append(args, more...)
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "pushbench"), args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil {
		return got, fmt.Errorf("pushbench %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	if p := got.Push; p.Lost+p.Duplicates+p.Failed+p.Closed > 0 {
		return got, errors.New("figures of a server that loses messages say nothing: " + string(out))
	}
	return got, nil
}
