# SecBoard accounts: build, test and run. `make` alone lists the targets.

GO      ?= go
BIN     := $(CURDIR)/bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)

GOLANGCI_LINT := $(BIN)/golangci-lint-v2.15.0
GOVULNCHECK   := $(BIN)/govulncheck-v1.9.0

# The race detector needs cgo, and that a C compiler.
RACE = $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race,$(info No C compiler: the tests run without the race detector.))

.DEFAULT_GOAL := help
FUZZTIME ?= 30s

.PHONY: help setup run build test faults fuzz bench bench-data load lint fmt clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## check Go, and install PostgreSQL where it is missing (run, test and bench do it)
	@GO="$(GO)" ./scripts/setup

run: setup build ## run everything with demo data; ARGS="--listen 127.0.0.1:9000" adds flags
	@$(BIN)/secboard serve --demo $(ARGS)

build: ## make bin/secboard
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -ldflags '-X main.version=$(VERSION)' -o $(BIN)/secboard ./cmd/secboard

test: ## run all tests; ARGS="-run Name" adds flags
	@GO="$(GO)" ./scripts/setup test
	@$(GO) build ./... && $(GO) test $(RACE) -c -o /dev/null ./... # first, since tests that run beside a compiler wait for it
	$(GO) test $(RACE) -timeout 20m $(ARGS) $$($(GO) list ./... | grep -v /faults$$)
	$(GO) test -timeout 20m $(ARGS) ./faults # alone: what it breaks would slow the others down

fuzz: ## run every fuzz target for FUZZTIME (30s) each; what one finds stays in its testdata/fuzz
	@set -e; for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $(ARGS) $$package; \
		done; \
	done

faults: setup ## break everything at random and check what is promised; FAULTS_FOR=30m, FAULTS_SEED=N as an earlier run printed
	FAULTS_FOR=$(or $(FAULTS_FOR),30m) FAULTS_SEED=$(FAULTS_SEED) $(GO) test -v -count 1 -timeout 0 $(ARGS) ./faults

bench: setup ## run the benchmarks; BENCH=Append picks some
	$(GO) test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem -p 1 -timeout 60m $(ARGS) ./...

bench-data: ## fill bench-data/ with 1,000,000 events of 100,000 accounts; ARGS="-events 100000 -accounts 10000" for fewer
	$(GO) run ./cmd/benchdata -data bench-data $(ARGS)

load: ## send mixed load to a running server, see cmd/loadtest; ARGS="-url http://127.0.0.1:8080 -for 10m"
	@$(GO) run ./cmd/loadtest $(ARGS)

lint: $(GOLANGCI_LINT) $(GOVULNCHECK) ## check style, mistakes and known vulnerabilities
	$(GOLANGCI_LINT) run ./...
	GOVULNCHECK=$(GOVULNCHECK) ./scripts/vulncheck

fmt: $(GOLANGCI_LINT) ## format the code
	$(GOLANGCI_LINT) fmt ./...

clean: ## remove what was built; the data directory stays
	rm -rf $(BIN) coverage.out

$(GOLANGCI_LINT):
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(BIN)/golangci-lint $@

$(GOVULNCHECK):
	GOBIN=$(BIN) $(GO) install golang.org/x/vuln/cmd/govulncheck@v1.9.0
	mv $(BIN)/govulncheck $@
