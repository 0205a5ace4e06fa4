# hookledger: `make` lists what there is. Each count is a variable: make kill ROUNDS=1000

GO            ?= go
TOOLS         ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hookledger-tools
GOLANGCI      := 2.15.0
LINTER        := $(TOOLS)/golangci-lint-$(GOLANGCI)/golangci-lint
RACE_PACKAGES ?= ./ledger/... ./vault/... ./ingest/... ./projections/... ./delivery/...
ROUNDS        ?= 100
FUZZTIME      ?= 60s

.DEFAULT_GOAL := help
.PHONY: help build demo test race lint vet kill mutants fuzz bench verify openapi golden ci clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/hookledger
	$(GO) build -trimpath -o bin/hookledger ./cmd/hookledger

demo: ## run the demo: a server, two receivers, six events, a retry
	$(GO) run ./cmd/hookledger demo

test: ## run all tests
	$(GO) test ./...

race: ## run the tests of the rooms with concurrency under the race detector
	$(GO) test -race $(RACE_PACKAGES)

vet: ## run go vet
	$(GO) vet ./...

kill: ## kill the server with SIGKILL at random moments, ROUNDS times
	HOOKLEDGER_KILL_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout=30m -run TestSIGKILL ./cmd/hookledger

mutants: ## plant each bug of testdata/mutants; the suite must catch it
	HOOKLEDGER_MUTANTS=1 $(GO) test -count=1 -timeout=30m -run TestMutantsAreCaught -v .

golden: ## write the golden files' records into docs/records.md
	$(GO) test . -run TestRecordsPage -update

lint: $(LINTER) ## run golangci-lint (installed into a cache outside the tree the first time)
	$(LINTER) run ./...

$(LINTER):
	GOBIN=$(dir $@) GOFLAGS=-mod=mod $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI)

ci: ## run everything that CI runs
	.ci/run

clean: ## remove what was built
	rm -rf bin
