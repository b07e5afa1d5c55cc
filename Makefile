# make run DIR=/usr   builds fustor and runs it on DIR
# make test           runs every test; builds the S3 servers that they need, once
# make help           lists the rest

DIR ?= .
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || echo 0.1.0-dev$$(git rev-parse --short HEAD 2>/dev/null | sed 's/^/+/'))

# As fustor is built, so is whatever tests it: then nothing is compiled twice, nor again in another checkout.
export GOFLAGS := $(filter-out -trimpath,$(shell go env GOFLAGS)) -trimpath

STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
DEADCODE    = go run golang.org/x/tools/cmd/deadcode@v0.50.0
GOVULNCHECK = go run golang.org/x/vuln/cmd/govulncheck@v1.9.0
BUF         = go run github.com/bufbuild/buf/cmd/buf@v1.75.0

# The race detector needs cgo and a C compiler.
RACE := $(shell CC=$$(go env CC); if command -v $${CC%% *} >/dev/null 2>&1 && [ "$$(go env CGO_ENABLED)" = 1 ]; then echo -race; fi)

# fustor runs fustor-read of the same version for reading commands (cmd/fustor/internal/first).
BUILD = CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$(VERSION) -X github.com/fustor/fustor/cmd/fustor/internal/first.Version=$(VERSION)" -o bin/fustor ./cmd/fustor && \
	CGO_ENABLED=0 go build -trimpath -tags reading -ldflags "-s -w -X main.version=$(VERSION)" -o bin/fustor-read ./cmd/fustor

.PHONY: help run build release release-check image chart build-lambda deploy-aws destroy-aws bench-lambda compose-env test race models simulate nightly day explore fuzz mutants e2e e2e-long engines upgrade-check soak histories servers web lint bench bench-once scale generate clean

help: ## lists the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1: /p' Makefile | awk -F': ' '{printf "make %-12s %s\n", $$1, $$2}'

run: ## builds fustor and indexes DIR (make run DIR=/usr)
	@$(BUILD)
	@exec bin/fustor up "$(DIR)"

build: ## builds bin/fustor, and bin/fustor-read, which it runs for reading commands
	$(BUILD)
	@echo "bin/fustor $(VERSION)"

release: ## makes archives, deb and rpm packages, lists of components and checksums in dist, for each platform (docs/install.md)
	@cd tools/release && go run . -version "$(VERSION)"

release-check: release ## builds the release again and compares, installs, upgrades and removes the deb (root, debootstrap), reads the rpm; some 20 minutes
	@cd tools/release && FUSTOR_RELEASE=$(abspath dist) go test -count=1 -v -timeout 60m .

IMAGE ?= fustor
PLATFORMS ?= linux/amd64

image: ## builds the container image IMAGE=fustor for PLATFORMS=linux/amd64
	docker buildx build --platform $(PLATFORMS) --build-arg VERSION=$(VERSION) --build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) -t $(IMAGE):$(subst +,-,$(VERSION)) .

# Of the two, the one that infra/aws/template.yaml takes is bin/lambda/bootstrap. Lambda's arm64 is cheaper by a fifth.
ARCH ?= arm64

chart: ## renders the Helm chart (infra/helm/fustor) with Helm's library, lints it, and checks it against Kubernetes' types and its schema
	@cd tools/chart && go test -count=1 -v . -update

build-lambda: ## builds the Lambda functions: bin/lambda-arm64.zip, bin/lambda-amd64.zip, and bin/lambda for ARCH=arm64
	@mkdir -p bin/lambda bin/lambda-arm64 bin/lambda-amd64
	@for arch in arm64 amd64; do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -tags lambda.norpc -ldflags "-s -w -X main.version=$(VERSION)" -o bin/lambda-$$arch/bootstrap ./cmd/fustor-lambda || exit 1; \
	  go run ./tools/lambdazip bin/lambda-$$arch.zip bin/lambda-$$arch/bootstrap || exit 1; \
	  echo "bin/lambda-$$arch.zip $(VERSION) ($$(wc -c <bin/lambda-$$arch.zip) bytes)"; \
	done
	@cp bin/lambda-$(ARCH)/bootstrap bin/lambda/bootstrap

STACK ?= fustor
export STACK ARCH
# As it was given: with blanks, quotes and dollars.
override export PARAMETERS := $(value PARAMETERS)

deploy-aws: ## deploys to AWS by SAM (STACK=fustor, PARAMETERS="Name=value …"; docs/deploy-aws.md)
	@sh infra/aws/deploy.sh check
	@$(MAKE) --no-print-directory build-lambda
	@sh infra/aws/deploy.sh deploy

destroy-aws: ## removes the stack STACK=fustor; the bucket and what is in it stay
	@sh infra/aws/deploy.sh destroy

bench-lambda: servers ## measures how the Lambda functions begin (docs/deploy-aws.md)
	go test -run '^$$' -bench ColdStart -benchtime 20x ./cmd/fustor-lambda

# Packages whose tests run without the race detector: processes of their own, which it does not see into, and simulations, where it costs
# most and sees what it sees in the packages that they simulate. They run beside the others, as they wait most of the time.
UNRACED := ./testkit/e2e ./cmd/fustor ./cmd/fustor/internal/cost ./testkit/bubble ./testkit/damage

# The dearest of the others come first, so that not one of them is left alone in the end.
DEAR := ./query ./compactor ./agent ./internal/layer ./testkit/storesuite

# What go vet says is make lint's to tell. Of random cases, make models tries all.
test: servers ## runs every test, most of them with the race detector where a C compiler is (the others have it in make race)
	@$(if $(RACE),echo "race detector: on",echo "race detector: OFF, as there is no C compiler or CGO_ENABLED is 0")
	@go build -o .cache/bin/testsummary ./tools/testsummary
	@{ go test -p 1 -json -vet=off -timeout 40m $(UNRACED) >.cache/unraced.json 2>&1 & \
	   go test -json -vet=off $(RACE) -timeout 40m $(DEAR) $$(go list ./... | grep -vxF "$$(go list $(UNRACED))") 2>&1; \
	   wait; cat .cache/unraced.json; } | .cache/bin/testsummary

race: servers ## runs the packages that make test runs without the race detector with it, and their processes, too
	FUSTOR_E2E_RACE=1 go test -p 1 -race -vet=off -timeout 90m $(UNRACED)

CASES ?= 1

models: ## runs the tests of random cases in full, without the race detector (CASES=10 for ten times as many)
	@FUSTOR_CASES=$(CASES) RAPID_CHECKS=$$((100 * $(CASES))) go test -vet=off -timeout 60m $$(sh .ci/models)

web: ## bundles the pages' scripts (query/page/app) into query/page/web, and checks their types if npx is there
	@cd tools/web && go run .
	@if command -v npx >/dev/null; then npx --yes -p typescript@5.9.3 tsc -p query/page/app; else echo "types not checked: there is no npx"; fi

SEEDS ?= 10000
FIRST ?= 0

simulate: ## runs the simulation on SEEDS=10000 seeds from FIRST=0 on (docs/reliability.md)
	go test ./testkit/sim -run TestSimulation -v -timeout 24h -seeds=$(SEEDS) -first=$(FIRST)
	go test ./testkit/sim -run TestSimulation -v -timeout 24h -v2 -seeds=$$(($(SEEDS) / 10)) -first=$$(($(FIRST) / 10))

nightly: ## a million seeds of the simulation, a day of it, ten minutes of histories, and the fuzzers: most of a night on two cores
	$(MAKE) simulate SEEDS=1000000
	$(MAKE) day histories fuzz

DAY ?= 24h

day: ## eight simulated hosts change a tree for DAY=24h of simulated time while everything breaks (docs/reliability.md); most of an hour
	go test ./testkit/sim -run TestDay -v -timeout 24h -day=$(DAY) -day.archives=2

explore: ## runs the lease, folds, a merge and retention in every order that the store may take their requests, a fault at every place
	go test ./testkit/explore -v -timeout 3h -whole

FUZZTIME ?= 1m

# A minimization of a slow input would take most of the time: one step of it is enough.
fuzz: ## runs every fuzz target for FUZZTIME=1m, one after the other; an input that fails is kept in the package's testdata/fuzz
	@grep -rH --include='*_test.go' '^func Fuzz' . | sed 's/^\(.*\)\/[^/]*:func \(Fuzz[A-Za-z0-9]*\).*/\1 \2/' | while read -r package target; do \
	  echo "$$package $$target"; \
	  go test "$$package" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x </dev/null || exit 1; \
	done

MUTANTS ?= 40
PKG ?= .
SEED ?= $(shell date +%s)

mutants: ## changes MUTANTS=40 places of each package of the core (0: all) one by one, and fails where no test sees it (PKG=evidence, SEED=1; docs/reliability.md)
	nice -n 19 go run ./tools/mutants -n $(MUTANTS) -seed $(SEED) -packages '$(PKG)'

E2E ?= .

e2e: servers ## runs the real processes on real trees, three hosts among them (E2E=TestHosts for those alone; docs/reliability.md)
	go test $(RACE) ./testkit/e2e -run '$(E2E)' -v -timeout 30m

e2e-long: servers ## runs the tests of faults in full, some twenty minutes (E2E=TestHuge for one; docs/reliability.md)
	FUSTOR_E2E_LONG=1 go test ./testkit/e2e -run '$(if $(filter .,$(E2E)),TestChurn|TestHundred|TestHuge|TestDeep|TestAgentKilled|TestStoreIsDown|TestClock|TestRoot|TestStateOn|TestPermissions|TestV2Killed|TestDifficult|TestUpIndexes,$(E2E))' -v -timeout 60m

ENGINES ?= .cache/engines

engines: servers ## starts PyIceberg, DuckDB, Spark and Trino on tables of views (docs/sql.md); installs them first, 3 GB
	@sh testkit/e2e/testdata/engines/install.sh $(ENGINES)
	FUSTOR_ENGINES=$(abspath $(ENGINES)) go test ./testkit/e2e -run 'TestEngines|TestCookbook' -v -timeout 60m

EARLIER ?= 294bb36

upgrade-check: ## upgrades a running system from the build of commit EARLIER=294bb36 part by part (docs/upgrading.md)
	@rm -rf .cache/earlier && mkdir -p .cache/earlier/source && git archive $(EARLIER) | tar -x -C .cache/earlier/source
	@cd .cache/earlier/source && CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=0.0.0-earlier" -o ../fustor ./cmd/fustor
	FUSTOR_EARLIER=$(abspath .cache/earlier/fustor) go test -count=1 ./testkit/e2e -run 'TestUpgrade$$|TestEarlierServers' -v -timeout 30m

SOAK ?= 30m
SOAK_STORE ?= minio

soak: servers ## breaks everything at random for SOAK=30m, on eight hosts and SOAK_STORE=minio or versitygw (needs bindfs; docs/reliability.md)
	go test ./testkit/e2e -run TestSoak -soak=$(SOAK) -soak.store=$(SOAK_STORE) -v -timeout 24h

HISTORIES ?= 10m

histories: servers ## holds what clients are told against what may be, while servers and store break, HISTORIES=10m for each of two stores (needs root; docs/reliability.md)
	go test ./testkit/e2e -run TestHistories -histories=$(HISTORIES) -v -timeout 24h

# The tests build the servers themselves, under a lock and in silence; done here first, one sees what takes so long.
servers: .cache/servers-built

.cache/servers-built: $(wildcard testkit/servers/*/go.mod testkit/servers/*/go.sum)
	@mkdir -p .cache/bin
	@echo "building MinIO and versitygw for the tests; the first time this takes minutes"
	@cd testkit/servers/minio && GOWORK=off GOFLAGS=-mod=readonly go build -trimpath -ldflags='-s -w' -o /dev/null github.com/minio/minio
	@cd testkit/servers/versitygw && GOWORK=off GOFLAGS=-mod=readonly go build -trimpath -ldflags='-s -w' -o /dev/null github.com/versity/versitygw/cmd/versitygw
	@touch $@

lint: ## gofmt, go vet, staticcheck, dead code, govulncheck, go mod tidy -diff
	@files=$$(gofmt -l $$(go list -f '{{.Dir}}' ./...)); if [ -n "$$files" ]; then echo "gofmt wants to change:"; echo "$$files"; exit 1; fi
	go vet ./...
	go vet -tags reading ./cmd/fustor
	$(STATICCHECK) ./...
	@DEADCODE="$(DEADCODE)" sh .ci/deadcode
	@GOVULNCHECK="$(GOVULNCHECK)" sh .ci/govulncheck
	go mod tidy -diff
	@echo "lint: clean"

ROWS ?= 1000000
TREE ?= /usr

bench: build ## runs the benchmarks of docs/benchmarks.md (ROWS=10000000 for large views, TREE=DIR for the side by side)
	FUSTOR_BENCH_ROWS=$(ROWS) go test -run '^$$' -bench . -benchtime 1x -timeout 60m ./compactor
	go test -run '^$$' -bench Read -timeout 60m ./query -rows $(ROWS)
	go test -run '^$$' -bench . -benchmem -timeout 60m ./internal/layer ./internal/event ./agent ./internal/client ./testkit/storesuite
	go run ./tools/sidebyside bin/fustor "$(TREE)"
	go run ./tools/agentload bin/fustor

bench-once: ## runs each benchmark of the parts once on a small view, to see that none is broken (a minute or two)
	FUSTOR_BENCH_ROWS=20000 FUSTOR_BENCH_GONE=3000 FUSTOR_BENCH_PARTITION=20000 FUSTOR_BENCH_DAYS=2 FUSTOR_BENCH_FOLDS=2 go test -p 1 -run '^$$' -bench . -benchtime 1x \
		./compactor ./query/engine ./internal/layer ./internal/event
	go test -run '^$$' -bench . -benchtime 1x ./query -rows 20000

scale: servers ## measures how costs grow with the view, up to 100 M rows (tools/scale/scale.sh)
	tools/scale/scale.sh

generate: ## regenerates segment.pb.go and the command reference in docs/cli.md
	$(BUF) lint
	$(BUF) generate
	@mkdir -p .cache
	go run ./cmd/fustor manual > .cache/manual.md
	@sed '/<!-- generated by make generate -->/q' docs/cli.md | cat - .cache/manual.md > .cache/cli.md && mv .cache/cli.md docs/cli.md

compose-env: ## writes infra/compose/.env with new keys and passwords, unless it is there (docs/self-hosting.md)
	@infra/compose/make-env.sh

clean: ## removes what was built
	rm -rf bin dist .cache
