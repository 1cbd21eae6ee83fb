# make run      pushd on this machine, nothing else needed
# make test     every test, with the race detector
# make lint     vet, staticcheck, prose, buf lint, buf breaking, generated code current
# make help     the rest

GO    ?= go
ARGS  ?=
BUILD ?= build
# What -version prints. Without git, the programs say what the Go tool knows.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
MODULE   = $(shell $(GO) list -m)
STAMP    = -X '$(MODULE)/internal/version.stamp=$(VERSION)'
REDIS ?= redis-server
export PUSHD_TEST_REDIS := $(REDIS)
BUF   = $(GO) tool -modfile=tools/go.mod buf
CHECK = $(GO) tool -modfile=tools/go.mod staticcheck
FUZZTIME ?= 10s
DURATION ?= 2m
SEED     ?= 0
# Percent of sentences that may begin without their subject (internal/prose).
PROSE_LIMIT ?= 0.5

.DEFAULT_GOAL := help

help:            ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

run:             ## build and start pushd -dev: embedded history in ./pushd-data, loopback only
	@$(MAKE) --no-print-directory programs
	@exec $(BUILD)/pushd -dev $(ARGS)

programs:
	@mkdir -p $(BUILD) && $(GO) build -ldflags="$(STAMP)" -o $(BUILD)/ ./cmd/pushd ./cmd/pushctl

build:           ## build/pushd, build/pushctl and build/pushbench
	@mkdir -p $(BUILD) && $(GO) build -trimpath -ldflags="-s -w $(STAMP)" -o $(BUILD)/ ./cmd/...

define install
	@if PATH=$$PATH:/usr/sbin command -v $(1) >/dev/null; then exit 0; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo 'installing $(2)'; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq install -y --no-install-recommends $(2); } >/dev/null; \
	else echo '$(1) is missing and the tests need it: apt-get install $(2), or brew install $(3)'; exit 1; fi
endef

tools-redis:     ## redis-server, which tests start themselves (REDIS=valkey-server takes that)
	$(call install,$(REDIS),redis-server,redis)

tools-proxies:   ## nginx, HAProxy, Caddy, Apache and Varnish, which tests put before three nodes
	$(call install,nginx,nginx-light,nginx)
	$(call install,haproxy,haproxy,haproxy)
	$(call install,caddy,caddy,caddy)
	$(call install,apache2,apache2,httpd)
	$(call install,varnishd,varnish,varnish)

test: tools-redis tools-proxies ## every test, with the race detector, on both connection layers
	$(GO) test -race -timeout 20m ./...
	$(GO) test -timeout 5m -run Alloc ./internal/conn/...
	$(GO) test -race -timeout 5m -tags fallback ./internal/conn/...

e2e: tools-redis tools-proxies ## only the tests that drive the real binary
	$(GO) test -race -timeout 10m -run '^TestE2E' -v ./cmd/pushd

chaos: tools-redis ## DURATION=2m of faults on each kind of Redis, checking that nothing is lost (SEED=… replays)
	$(GO) test -race -count 1 -timeout 2h -v ./internal/chaos -chaos.duration $(DURATION) -chaos.seed $(SEED)

lint:            ## vet, staticcheck, prose, buf lint and breaking, generated code current
	@test -z "$$(gofmt -l api bench cmd internal)" || { gofmt -l api bench cmd internal; echo 'not gofmted'; exit 1; }
	$(GO) run ./internal/prose -limit $(PROSE_LIMIT)
	$(GO) vet ./...
	$(GO) vet -tags fallback ./internal/conn/...
	$(CHECK) ./...
	$(BUF) lint
	@if git rev-parse -q --verify origin/main >/dev/null; then against=origin/main; else against=main; fi; \
	if git cat-file -e $$against:api/push/v1/push.proto 2>/dev/null; then \
		$(BUF) breaking --against ".git#ref=$$against,subdir=."; \
	else echo "no main branch to compare the API with"; fi
	@$(MAKE) --no-print-directory generated

generated:       ## check that the committed generated code is what buf generates
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && $(BUF) generate -o "$$tmp" && \
	diff -r -x '*.proto' -x '*.yaml' "$$tmp/api" api && \
	diff -r "$$tmp/internal/rpc/gateway" internal/rpc/gateway && \
	diff "$$tmp/internal/rpc/openapi.json" internal/rpc/openapi.json && echo 'generated code is current'

generate:        ## generate code from api/
	$(BUF) generate

# The name is a placeholder until the module has its final place.
module-path:     ## give the module another path everywhere: TO=github.com/acme/pushd
	@test -n "$(TO)" || { echo 'usage: make module-path TO=github.com/acme/pushd'; exit 2; }
	@grep -rlIF --exclude-dir=.git --exclude-dir=$(BUILD) '$(MODULE)' . | while read -r f; do \
		sed -i.bak 's|$(subst .,\.,$(MODULE))\([^[:alnum:].-]\)|$(TO)\1|g; s|$(subst .,\.,$(MODULE))$$|$(TO)|' "$$f" && rm "$$f.bak" || exit 1; \
	done
	@$(MAKE) --no-print-directory generate

module-path-test: ## move a copy of the tree and build all of it, which takes minutes
	$(GO) test -timeout 20m -count 1 -run '^TestE2EModulePath$$' ./cmd/pushd -module-path.build

fuzz:            ## every fuzz target for FUZZTIME (default 10s)
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$pkg || exit 1; \
		done; \
	done

bench:           ## pushd beside the floor and a peer, in one run (ARGS=-write puts it into docs)
	$(GO) run -C bench . $(ARGS)

gobench:         ## every Go benchmark, once
	$(GO) test -run '^$$' -bench . -benchmem -timeout 30m ./...

.PHONY: help run programs build tools-redis tools-proxies test e2e chaos lint generated generate module-path module-path-test fuzz bench gobench
