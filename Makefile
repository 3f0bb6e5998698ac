# SecBoard accounts: build, test and run. `make` alone lists the targets.

GO  ?= go
BIN := $(CURDIR)/bin

# What `secboard version` says. A commit without a tag is a snapshot.
VERSION ?= $(shell git describe --tags --exact-match --match 'v*' --dirty 2>/dev/null || \
	git describe --always --exclude '*' --dirty 2>/dev/null | sed 's/^/snapshot-/')
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE    ?= $(shell TZ=UTC0 git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

GOLANGCI_LINT := $(BIN)/golangci-lint-v2.15.0
GOVULNCHECK   := $(BIN)/govulncheck-v1.9.0
CYCLONEDX     := $(BIN)/cyclonedx-gomod-v1.10.0
CRANE         := $(BIN)/crane-v0.22.1

# The race detector needs cgo, and that a C compiler.
RACE = $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race,$(info No C compiler: no race detector.))

.DEFAULT_GOAL := help
FUZZTIME ?= 30s

.PHONY: help setup run build test faults fuzz bench bench-data load lint fmt release clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## check Go, and install PostgreSQL if it is missing (run, test and bench do this)
	@GO="$(GO)" ./scripts/setup

# Directories and mail servers that are tried with the demo are on this machine.
DEMO_TARGETS = SECBOARD_ALLOWED_TARGETS=$${SECBOARD_ALLOWED_TARGETS-127.0.0.0/8,::1}

run: setup build ## run everything with demo data; ARGS="--listen 127.0.0.1:9000" adds flags
	@$(DEMO_TARGETS) $(BIN)/secboard serve --demo $(ARGS)

build: ## make bin/secboard, static and stripped
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -ldflags '$(LDFLAGS)' -o $(BIN)/secboard ./cmd/secboard

# Without what only a debugger reads, a test links in half the time; lint runs vet.
TEST = $(GO) test -vet=off -ldflags='-s -w' -timeout 60m
# Most tests wait for a database, a disk or a time-out more than they compute, so more of them than cores run at once.
AT_ONCE = -p 4 -parallel 8

# The race detector makes code two to ten times as slow. `make test` has it where goroutines of ours meet; not where pure
# decisions are tested, nor stories through the whole program. CI has it everywhere: `make test UNRACED=`.
UNRACED = /(cmd|demo|domain)(/|$$)|/(httpapi|projections|eventstore|backup|export|storetest|migrations|mailing|secrets)$$

test: ## run all tests; ARGS="-run Name" adds flags, UNRACED= has the race detector everywhere
	@GO="$(GO)" ./scripts/setup test
	@$(GO) build ./...
	$(TEST) $(RACE) $(AT_ONCE) $(ARGS) $$($(GO) list ./... | grep -v /faults$$ | grep -vE '$(or $(UNRACED),^$$)')
	$(if $(UNRACED),$(TEST) $(AT_ONCE) $(ARGS) $$($(GO) list ./... | grep -E '$(UNRACED)'))
	$(TEST) $(ARGS) ./faults # alone: the faults it makes would slow the others down

fuzz: ## run every fuzz target for FUZZTIME (30s) each; failing inputs are kept in testdata/fuzz
	@set -e; for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $(ARGS) $$package; \
		done; \
	done

faults: setup ## inject random faults and check every promise; FAULTS_FOR=30m, FAULTS_SEED=N repeats a run
	FAULTS_FOR=$(or $(FAULTS_FOR),30m) FAULTS_SEED=$(FAULTS_SEED) \
		$(GO) test -v -count 1 -timeout 0 $(ARGS) ./faults

bench: setup ## run the benchmarks; BENCH=Append picks some
	$(GO) test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem -p 1 -timeout 60m $(ARGS) ./...

bench-data: ## fill bench-data/ with 1,000,000 events; ARGS="-events 100000 -accounts 10000" for fewer
	$(GO) run ./cmd/benchdata -data bench-data $(ARGS)

load: ## send mixed load to a running server; ARGS="-url http://127.0.0.1:8080 -for 10m"
	@$(GO) run ./cmd/loadtest $(ARGS)

lint: $(GOLANGCI_LINT) $(GOVULNCHECK) ## check style, mistakes and known vulnerabilities
	$(GOLANGCI_LINT) run ./...
	GOVULNCHECK=$(GOVULNCHECK) ./scripts/vulncheck

fmt: $(GOLANGCI_LINT) ## format the code
	$(GOLANGCI_LINT) fmt ./...

release: $(CYCLONEDX) $(CRANE) ## build dist/: binaries, checksums, SBOMs and the image; publishes nothing
	@VERSION='$(VERSION)' COMMIT='$(COMMIT)' DATE='$(DATE)' CYCLONEDX='$(CYCLONEDX)' CRANE='$(CRANE)' \
		./scripts/release

clean: ## remove what was built; the data directory stays
	rm -rf $(BIN) dist coverage.out

$(GOLANGCI_LINT):
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(BIN)/golangci-lint $@

$(GOVULNCHECK):
	GOBIN=$(BIN) $(GO) install golang.org/x/vuln/cmd/govulncheck@v1.9.0
	mv $(BIN)/govulncheck $@

$(CYCLONEDX):
	GOBIN=$(BIN) $(GO) install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
	mv $(BIN)/cyclonedx-gomod $@

$(CRANE):
	GOBIN=$(BIN) $(GO) install github.com/google/go-containerregistry/cmd/crane@v0.22.1
	mv $(BIN)/crane $@
