# make run      pushd on this machine, nothing else needed
# make test     every test, with the race detector
# make lint     vet, staticcheck, buf lint, buf breaking, generated code current
# make help     the rest

GO   ?= go
ARGS ?=
REDIS ?= redis-server
export PUSHD_TEST_REDIS := $(REDIS)
BUF   = $(GO) tool -modfile=tools/go.mod buf
CHECK = $(GO) tool -modfile=tools/go.mod staticcheck
FUZZTIME ?= 10s
DURATION ?= 2m
SEED     ?= 0

.DEFAULT_GOAL := help

help:            ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run:             ## build and start pushd -dev: embedded history in ./pushd-data, loopback only
	@mkdir -p build && $(GO) build -o build/pushd ./cmd/pushd
	@exec build/pushd -dev $(ARGS)

build:           ## build/pushd
	@mkdir -p build && $(GO) build -trimpath -ldflags='-s -w' -o build/pushd ./cmd/pushd

define install
	@if command -v $(1) >/dev/null; then exit 0; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo 'installing $(2)'; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq install -y --no-install-recommends $(2); } >/dev/null; \
	else echo '$(1) is missing and the tests need it: apt-get install $(2), or brew install $(3)'; exit 1; fi
endef

tools-redis:     ## redis-server, which tests start themselves (REDIS=valkey-server takes that)
	$(call install,$(REDIS),redis-server,redis)

tools-nginx:     ## nginx, which a test puts before three nodes
	$(call install,nginx,nginx-light,nginx)

test: tools-redis tools-nginx ## every test, with the race detector, on both connection layers
	$(GO) test -race -timeout 15m ./...
	$(GO) test -timeout 5m -run Alloc ./internal/conn/...
	$(GO) test -race -timeout 5m -tags fallback ./internal/conn/...

e2e: tools-redis tools-nginx ## only the tests that drive the real binary
	$(GO) test -race -timeout 10m -run '^TestE2E' -v ./cmd/pushd

chaos: tools-redis ## DURATION=2m of faults on each kind of Redis, checking that nothing is lost (SEED=… replays)
	$(GO) test -race -count 1 -timeout 2h -v ./internal/chaos -chaos.duration $(DURATION) -chaos.seed $(SEED)

lint:            ## vet, staticcheck, buf lint and breaking, generated code current
	@test -z "$$(gofmt -l api bench cmd internal)" || { gofmt -l api cmd internal; echo 'not gofmted'; exit 1; }
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

.PHONY: help run build tools-redis tools-nginx test e2e chaos lint generated generate fuzz bench gobench
