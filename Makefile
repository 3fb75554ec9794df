# Everything that is built or downloaded goes to the Go caches, to bin/, and to the cache of the control plane's programs
# ($XDG_CACHE_HOME/otelier, or OTELIER_CACHE). Needed: Go, make, git and a C compiler for the race detector.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
MODULES := . e2e hack/crdgen
IMAGE   ?= ghcr.io/otelier/otelier:$(VERSION)
ARCH    ?= $(shell go env GOARCH)

# kind, local (a control plane, pods without containers) or kubeconfig (KUBECONFIG, E2E_IMAGE, E2E_COLLECTOR_IMAGE, E2E_WORKBENCH_IMAGE).
E2E_PROVIDER ?= kind

LINT := bin/golangci-lint

##@ Use

.PHONY: demo
demo: check-tools build ## Run the main job: a control plane, the operator, a collector. ONCE=1 ends by itself.
	@go -C e2e build -o ../bin/demo ./cmd/demo
	@OTELIER_BIN=$(CURDIR)/bin/otelier exec bin/demo

.PHONY: cluster
cluster: check-tools ## Start a local control plane and print its kubeconfig. Ctrl-C ends it.
	@go -C e2e build -o ../bin/cluster ./cmd/cluster
	@exec bin/cluster

.PHONY: build
build: ## Build bin/otelier.
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/otelier .

.PHONY: image
image: check-tools ## Build the container image, from nothing but the static binary. IMAGE names it, ARCH says for what.
	@command -v docker >/dev/null || { echo "docker is missing: https://docs.docker.com/engine/install"; exit 1; }
	@CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build -trimpath -ldflags '$(LDFLAGS)' -o bin/image/linux-$(ARCH)/otelier .
	@docker build --quiet --platform linux/$(ARCH) --tag $(IMAGE) --file Dockerfile bin/image/linux-$(ARCH)

##@ Develop

.PHONY: test
test: check-tools check-race assets ## Run all tests, with the race detector, against a real control plane.
	go test -race -skip '^TestFaults$$' ./...
	@# By itself and with -v, because it says how many points it has covered.
	go test -race -v -run '^TestFaults$$' ./reconcile | grep -v '^=== '
	go -C hack/crdgen test ./...
	@# -count=1: the cache of test results does not see what changes outside of the module.
	go -C e2e test -race -count=1 -timeout 30m $$(go -C e2e list ./... | grep -v -e /targets$$ -e /features$$)
	@# What they hold where no container runs; make e2e is for the rest.
	go -C e2e test -race -count=1 -timeout 30m ./features -args -labels run=smoke
	@# By itself and with -v, because it says for how long nobody has scraped what.
	go -C e2e test -race -count=1 -timeout 30m -v ./targets | grep -v '^ *=== '

# grep outlives a Ctrl-C, since the tests clean up then and have things to say.
.PHONY: e2e
e2e: check-tools check-race ## Run the features on a cluster of containers (kind), with the operator's image. FULL=1 runs all, RUN=REGEXP some, KEEP=1 keeps the cluster, E2E_PROVIDER=kind|local|kubeconfig.
	$(if $(E2E_ARTIFACTS),E2E_ARTIFACTS=$(abspath $(E2E_ARTIFACTS)) )E2E_PROVIDER=$(E2E_PROVIDER) KEEP=$(KEEP) go -C e2e test -race -count=1 -timeout $(if $(filter-out 0,$(FULL)),120m,60m) -parallel 6 -v ./features \
		$(if $(RUN),-run '$(RUN)') -args $(if $(filter-out 0,$(FULL))$(RUN),,-labels run=smoke) | { trap '' INT; grep --line-buffered -v '^ *=== '; }

.PHONY: e2e-images
e2e-images: check-tools ## Build the images that make e2e needs, unless they are there.
	@go -C e2e run ./cmd/images

.PHONY: unit
unit: check-race ## Run only the tests that need no control plane.
	go test -race ./...

.PHONY: assets
assets: check-tools ## Build the programs of the control plane and a collector, unless they are there.
	@go -C e2e run ./cmd/cluster --assets-only

.PHONY: lint
lint: check-tools $(LINT) verify ## Check style, imports, generated files and what the binary links.
	@for m in $(MODULES); do echo "lint $$m"; (cd $$m && $(CURDIR)/$(LINT) run ./...); done

# golangci-lint is built rather than downloaded: at the version that go.sum pins.
$(LINT): hack/tools/lint/go.mod hack/tools/lint/go.sum
	@echo "golangci-lint: building, about 1 min (4 min the first time)"
	@CGO_ENABLED=0 go -C hack/tools/lint build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: fmt
fmt: $(LINT) ## Format the code.
	@for m in $(MODULES); do (cd $$m && $(CURDIR)/$(LINT) fmt ./...); done

.PHONY: generate
generate: ## Generate the CRDs from crds/schema, and the schemas for server-side apply from client-go.
	@go -C hack/crdgen run .
	@go test ./reconcile -run '^TestSchema$$' -update >/dev/null

.PHONY: verify
verify: ## Check that go.mod files, the CRDs and the links of the binary are what they should be.
	@for m in $(MODULES); do (cd $$m && go mod tidy -diff); done
	@go -C hack/crdgen run . -check
	@hack/check-links

.PHONY: golden
golden: ## Rewrite the golden files of the renderer from what it renders now.
	go test ./render -update

# One at a time, since go test takes one: what comes from outside is read without a panic or a hang.
FUZZTIME ?= 1m
.PHONY: fuzz
fuzz: ## Fuzz what reads input from outside. FUZZTIME is for each, 1m by default.
	go test -run '^$$' -fuzz '^FuzzFile$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5x ./discover/file
	go test -run '^$$' -fuzz '^FuzzHandler$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5x ./allocate
	go test -run '^$$' -fuzz '^FuzzTranslate$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5x ./discover/monitor

.PHONY: bench
bench: ## Run the benchmarks.
	go test -run '^$$' -bench . -benchmem ./...
	go -C e2e test -run '^$$' -bench . -benchtime 1x -timeout 30m ./bench

.PHONY: clean
clean: ## Remove what was built here. The programs of the control plane stay in their cache.
	rm -rf bin

##@ Help

.PHONY: help
help: ## Show this.
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: check-tools
check-tools:
	@command -v go >/dev/null || { echo "go is missing: install Go 1.26 or newer, https://go.dev/dl"; exit 1; }
	@command -v git >/dev/null || { echo "git is missing: install it with your system's packages"; exit 1; }

.PHONY: check-race
check-race:
	@command -v "$$(go env CC)" >/dev/null || { echo "the race detector needs a C compiler: install $$(go env CC), for example by apt-get install gcc libc6-dev"; exit 1; }
