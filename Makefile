# hookledger: `make` lists what there is. Each count is a variable: make kill ROUNDS=1000

GO            ?= go
TOOLS         ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hookledger-tools
GOLANGCI      := 2.15.0
REDOCLY       := 2.77.0
CHROMIUM      ?= chromium
N8N           ?= 2.41.1
N8N_NODE      := 24.21.0
N8N_DIR        = $(TOOLS)/n8n-$(N8N)
LINTER        := $(TOOLS)/golangci-lint-$(GOLANGCI)/golangci-lint
RACE_PACKAGES ?= ./ledger/... ./vault/... ./ingest/... ./projections/... ./delivery/... ./replays/... ./followups/... ./retire/... ./sources/... ./audit/... ./httpapi ./cmd/hookledger/simulation
# A world takes many times longer under the race detector: CI lets it see these.
RACE_SEEDS    ?= 8
# What walks through every file operation one after the other has no race to find, and takes minutes under the detector.
RACE_SKIP     ?= ^(TestCrash|TestFailEveryOperation|TestDamage)
ROUNDS        ?= 100
SEEDS         ?= 500
REPLAY_EVENTS ?= 100000
ATTEMPTS      ?= 10000000
ESDB          ?= 127.0.0.1:22113
FUZZTIME      ?= 60s

.DEFAULT_GOAL := help
.PHONY: help build demo test race lint vet kill kill-eventstore id-race faults simulate replay mutants fuzz bench bench-pages bench-eventstore verify docs-page n8n profile openapi golden ci clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/hookledger
	$(GO) build -trimpath -o bin/hookledger ./cmd/hookledger

demo: ## run the demo: a server, two receivers, six events, a retry
	$(GO) run ./cmd/hookledger demo

test: ## run all tests
	$(GO) test ./...

race: ## run the tests of the rooms with concurrency under the race detector
	HOOKLEDGER_SEEDS=$(RACE_SEEDS) $(GO) test -race -skip '$(RACE_SKIP)' $(RACE_PACKAGES)

vet: ## run go vet
	$(GO) vet ./...

fuzz: ## fuzz each fuzz target for FUZZTIME
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

bench: ## measure the binary on loopback, beside a bare net/http client
	$(GO) run ./cmd/hookledger bench

profile: ## measure, show where serve's CPU time goes, and write the profile by which Go builds: docs/adr/0013
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
		$(GO) run ./cmd/hookledger bench --runs 1 -n 60000 --cpu-profiles "$$dir" && \
		$(GO) tool pprof -proto -output cmd/hookledger/default.pgo "$$dir"/serve-*.pprof 2> /dev/null && \
		$(GO) tool pprof -top -cum -nodecount 60 cmd/hookledger/default.pgo

bench-pages: ## measure pages of a history of ATTEMPTS attempts; takes minutes, and 0.5 GB of TMPDIR for each million
	HOOKLEDGER_BENCH_ATTEMPTS=$(ATTEMPTS) $(GO) test -run '^$$' -bench BenchmarkPage -benchtime 1000x -timeout 60m \
		./projections

bench-eventstore: ## the same with the ledger in an EventStoreDB, in a process of its own
	mkdir -p bin && $(GO) build -trimpath -o bin/ ./cmd/hookledger && $(GO) build -o bin/esdb ./ledger/eventstore/esdbtest/serve
	@bin/esdb --listen $(ESDB) > /dev/null & pid=$$!; trap 'kill $$pid' EXIT; \
		bin/hookledger bench --store eventstore --eventstore 'esdb://$(ESDB)?tls=false'

kill: ## kill the server with SIGKILL at random moments, ROUNDS times
	HOOKLEDGER_KILL_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout=120m -run 'TestSIGKILLAtRandomMomentsLosesNothing$$' \
		./cmd/hookledger

kill-eventstore: ## the same with the ledger in an EventStoreDB of another process, whose faults fire at random
	HOOKLEDGER_KILL_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout=30m -run 'TestSIGKILL.*InEventStoreDB$$' \
		./cmd/hookledger

id-race: ## 64 clients post one id while the server is killed, ROUNDS times
	HOOKLEDGER_KILL_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout=60m -run 'TestOneEventOfManyPostsOfOneID$$' -v ./cmd/hookledger

faults: ## fail each file operation of ledger and vault in each way, and cut the power after each
	HOOKLEDGER_LONG=1 $(GO) test -count=1 -timeout=60m -run 'TestFailEveryOperation|TestCrash|TestACrash' -v \
		./ledger/pebblestore ./vault

simulate: ## run SEEDS simulated worlds (HOOKLEDGER_SEED=N in the environment: that one)
	@out=$$(HOOKLEDGER_SEEDS=$(SEEDS) $(GO) test -count=1 -timeout=60m -run 'TestSimulation$$' -v ./cmd/hookledger/simulation); \
		status=$$?; echo "$$out" | grep -v '^=== \|--- PASS: TestSimulation/'; exit $$status

replay: ## replay REPLAY_EVENTS events into a new endpoint, with the server killed twice, counted at the receiver
	HOOKLEDGER_REPLAY_EVENTS=$(REPLAY_EVENTS) $(GO) test -count=1 -timeout=60m -run TestSIGKILLTwice -v ./cmd/hookledger

mutants: ## plant each bug of testdata/mutants; the suite must catch it
	HOOKLEDGER_MUTANTS=1 $(GO) test -count=1 -timeout=30m -run TestMutantsAreCaught -v .

verify: ## verify what a real server sends: v1 with the npm package of Standard Webhooks, v1a with Node's crypto
	mkdir -p $(TOOLS)/node && cp docs/examples/node/*.mjs docs/examples/node/package*.json $(TOOLS)/node/
	cd $(TOOLS)/node && npm ci --silent --no-audit --no-fund
	HOOKLEDGER_NODE=$(TOOLS)/node $(GO) test -count=1 -run TestWhatIsSentVerifies -v .

docs-page: ## open /docs of a real server in Chromium, which must be in PATH (Debian: apt-get install chromium)
	HOOKLEDGER_CHROMIUM=$(CHROMIUM) $(GO) test -count=1 -run TestDocsPageInChromium -v .

n8n: $(N8N_DIR)/installed ## send to the workflow of docs/n8n.md in a real n8n, version N8N, installed the first time: 3 GB
	HOOKLEDGER_N8N=$(N8N_DIR)/node_modules/.bin/n8n $(GO) test -count=1 -timeout=30m -run TestInARealN8N -v .

n8n $(N8N_DIR)/installed: export PATH := $(N8N_DIR)/node/node_modules/node/bin:$(PATH)

# n8n wants xlsx, which reads spreadsheets, from a host of its own; the registry has 0.18.5. Of the install scripts only
# that of sqlite3 is needed: it takes a built one from GitHub, or else builds it.
$(N8N_DIR)/installed:
	mkdir -p $(N8N_DIR)/node
	npm install --silent --no-audit --no-fund --prefix $(N8N_DIR)/node node@$(N8N_NODE)
	echo '{"private": true, "dependencies": {"n8n": "$(N8N)"}, "overrides": {"xlsx": "0.18.5"}}' > $(N8N_DIR)/package.json
	cd $(N8N_DIR) && npm install --silent --no-audit --no-fund --ignore-scripts && npm rebuild --silent sqlite3
	touch $@

openapi: ## lint the OpenAPI document of a real server
	npm install --silent --no-audit --no-fund --prefix $(TOOLS)/redocly @redocly/cli@$(REDOCLY)
	HOOKLEDGER_OPENAPI=$(TOOLS)/redocly/openapi.json $(GO) test -count=1 -run TestOpenAPIDocument .
	REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true $(TOOLS)/redocly/node_modules/.bin/redocly lint \
		--config .ci/redocly.yaml $(TOOLS)/redocly/openapi.json

golden: ## write the golden files' records into docs/records.md
	$(GO) test . -run TestRecordsPage -update

lint: $(LINTER) ## run golangci-lint (installed into a cache outside the tree the first time)
	$(LINTER) run --allow-parallel-runners ./...

$(LINTER):
	GOBIN=$(dir $@) GOFLAGS=-mod=mod $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI)

ci: ## run everything that CI runs
	.ci/run

clean: ## remove what was built
	rm -rf bin
