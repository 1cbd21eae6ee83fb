package main

import "fmt"

// maxBacklogs bounds what waits for all slow clients together, in bytes.
const maxBacklogs = 256 << 20

// warnings names settings that are valid each, but do not work well together.
func (c config) warnings() (texts []string) {
	warn := func(when bool, format string, args ...any) {
		if when {
			texts = append(texts, fmt.Sprintf(format, args...))
		}
	}
	warn(c.MaxData > c.MaxBacklog,
		"-max-data (%s) is more than -max-backlog (%s): a client that is being sent one of the longest messages has room for one more, and is closed with 4100 when another comes; it catches up from history. Set -max-backlog to several times -max-data",
		formatSize(c.MaxData), formatSize(c.MaxBacklog))
	const few = 64
	warn(c.MaxData > maxBacklogs/few,
		"-max-data is %s: when %d slow clients are sent such messages at the same time, they fill the %s that may wait for all clients, and further ones are closed with 4100. Set -max-data to %s or less, and let clients fetch what is longer",
		formatSize(c.MaxData), maxBacklogs/c.MaxData, formatSize(maxBacklogs), formatSize(maxBacklogs/few))
	warn(c.Compression == "on" && c.CompressionMin > c.MaxData+1<<10,
		"-compression is on, but no message is compressed: -compression-min (%s) is more than the longest message (-max-data %s)",
		formatSize(c.CompressionMin), formatSize(c.MaxData))
	warn(c.UpgradeRate > 0 && c.UpgradeRatePerIP > c.UpgradeRate,
		"-upgrade-rate-per-ip (%d) has no effect: it is more than -upgrade-rate (%d)", c.UpgradeRatePerIP, c.UpgradeRate)
	warn(c.MaxConnections > 0 && c.MaxConnectionsPerIP > c.MaxConnections,
		"-max-connections-per-ip (%d) has no effect: it is more than -max-connections (%d)", c.MaxConnectionsPerIP, c.MaxConnections)
	return texts
}
