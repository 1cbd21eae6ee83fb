// Command echo is a WebSocket server that sends every message back. It stands
// on the same reactor as pushd and is what conformance suites are pointed at.
package main

import (
	"flag"
	"fmt"
	"log"
	"log/slog"

	"pushd.example/internal/conn/echo/handler"
	"pushd.example/internal/conn/reactor"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9001", "address to serve on")
	path := flag.String("path", "/", "path to serve at")
	most := flag.Int("max-message", 16<<20, "the longest message, in bytes")
	compress := flag.Bool("compression", true, "agree to permessage-deflate")
	flag.Parse()
	cfg := config(*listen, *path, *most)
	cfg.Compression = *compress
	r, err := reactor.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("echo at ws://%s%s\n", r.Addr(), *path)
	r.Run()
}

// config allows all that a conformance suite may send.
func config(listen, path string, most int) reactor.Config {
	return reactor.Config{
		Listen:  listen,
		Path:    path,
		Handler: handler.New,
		Limits: reactor.Limits{
			MaxMessage:          most,
			MaxFragments:        1 << 16,
			UpgradeRate:         -1,
			MessageRate:         -1,
			ClientBacklogBytes:  4 * most,
			ClientBacklogFrames: 1 << 16,
		},
		CompressionMin: 1,
		Log:            slog.Default(),
	}
}
