//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// server is the process that is measured, if it runs on this machine; pid 0
// means that it does not, and all its figures are 0.
type server struct{ pid int }

// check says whether the process can be measured and may hold conns
// connections.
func (s server) check(conns int) error {
	if s.pid == 0 {
		return nil
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", s.pid)); err != nil {
		return fmt.Errorf("-pid %d: no such process on this machine", s.pid)
	}
	limit, err := s.fileLimit()
	if err == nil && limit < conns {
		return fmt.Errorf("-pid %d: that process may open %d files (/proc/%d/limits), too few for %d connections: raise its limit (ulimit -n) or lower -conns", s.pid, limit, s.pid, conns)
	}
	return err
}

// cpu returns what the process has used in all its threads, to the nanosecond.
// /proc/PID/stat would give it in hundredths of a second.
func (s server) cpu() (time.Duration, error) {
	if s.pid == 0 {
		return 0, nil
	}
	// The kernel's number for another process's CPU clock: see
	// clock_getcpuclockid(3) and CPUCLOCK_SCHED in linux/posix-timers_types.h.
	const sched = 2
	clockID := int32(^s.pid<<3 | sched)
	var ts unix.Timespec
	if err := unix.ClockGettime(clockID, &ts); err != nil {
		return 0, fmt.Errorf("-pid %d: reading its CPU time: %w (has it ended?)", s.pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// memory is how much a process and the kernel hold, in bytes.
type memory struct {
	// RSS is all of the process's resident memory, Anon the part of it that no
	// file backs.
	RSS  int64 `json:"rss_bytes"`
	Anon int64 `json:"anon_bytes"`
	// Slab is the whole machine's kernel objects: sockets of both sides, if
	// pushbench runs on the same machine, and everything else.
	Slab int64 `json:"machine_slab_bytes"`
}

func (s server) memory() (m memory, err error) {
	if s.pid == 0 {
		return m, nil
	}
	status, err := procFields(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		return m, fmt.Errorf("-pid %d: reading its memory: %w", s.pid, err)
	}
	machine, err := procFields("/proc/meminfo")
	if err != nil {
		return m, fmt.Errorf("reading the machine's memory: %w", err)
	}
	return memory{RSS: status["VmRSS"] << 10, Anon: status["RssAnon"] << 10, Slab: machine["Slab"] << 10}, nil
}

// procFields reads the numbers of a file whose lines are "Name:  123 kB".
func procFields(path string) (map[string]int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if f := strings.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseInt(f[0], 10, 64); err == nil {
				fields[name] = n
			}
		}
	}
	return fields, nil
}

func (s server) fileLimit() (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.pid))
	if err != nil {
		return 0, fmt.Errorf("-pid %d: reading its limits: %w", s.pid, err)
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("Max open files")); ok {
			if n, err := strconv.Atoi(string(bytes.Fields(rest)[0])); err == nil {
				return n, nil
			}
		}
	}
	return 1 << 30, nil // "unlimited"
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// machine is what figures depend on.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	text, _ := os.ReadFile("/proc/cpuinfo") // not everywhere, and only a name
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}

// resolveTCP looks host:port up.
func resolveTCP(hostport string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(n)), nil
}
