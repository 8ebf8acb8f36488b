# Yare's commands. `make help` lists them.
SHELL := /bin/bash
DATA_DIR ?= /var/lib/yare
VERSION ?= v1.37.2+yare
LDFLAGS := -s -w -X main.version=$(VERSION)
STATIC := CGO_ENABLED=0 go build -ldflags '-s -w'
STATICCHECK := go run -modfile=scripts/lint/go.mod honnef.co/go/tools/cmd/staticcheck
GO_FILES := $(shell find . -name '*.go' -not -path './bin/*')
IMAGES := bin/images/pause.tar bin/images/demo-v1.tar bin/images/demo-v2.tar bin/images/coredns.tar

.PHONY: help up down build images check lint test soak soak-envtest bench clean

help: ## list these targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## install what a node needs, build, and run a cluster here until Ctrl-C
	@scripts/up.sh "$(DATA_DIR)"

down: build ## stop the cluster and remove its containers, rules and namespaces (DATA=1: its data too)
	@bin/yare reset --data-dir "$(DATA_DIR)" $(if $(DATA),--data)

build: bin/yare bin/kubectl images ## build bin/yare, bin/kubectl and the images

images: $(IMAGES)

check: lint ## format, vet, lint and unit tests: fast
	go test -short ./...

lint: ## format, vet and lint only
	@test -z "$$(gofmt -l $(GO_FILES))" || { gofmt -l $(GO_FILES); echo 'run gofmt -w on these'; exit 1; }
	go vet ./...
	$(STATICCHECK) ./...

test: ## install what the tests need and run them all, with -race
	scripts/test.sh

soak: ## let faults strike the stores for as long as ROUNDS (1000) take, with -race
	scripts/install-test.sh
	YARE_FAULT_ROUNDS=$(or $(ROUNDS),1000) go test -race -timeout 24h -run 'Faults|TestFullDisk|TestFailOver' -v ./storage/etcd ./storage/postgres ./storage/memory

soak-envtest: build ## run the suite of test/operator ROUNDS (100) times and look for what is left
	ROUNDS=$(or $(ROUNDS),100) scripts/soak-envtest.sh

bench: build ## measure, and print figures
	scripts/bench.sh

clean: ## remove what was built
	rm -rf bin

bin/yare: $(GO_FILES) go.mod go.sum
	go build -ldflags '$(LDFLAGS)' -o $@ ./cmd/yare

bin/kubectl: cmd/kubectl/main.go go.mod go.sum
	go build -ldflags '-s -w -X k8s.io/component-base/version.gitVersion=$(VERSION) -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37' -o $@ ./cmd/kubectl

# What tests run beside Yare, each a module of its own.
bin/helm: test/helm/tool/go.mod test/helm/tool/go.sum
	cd $(<D) && go build -ldflags '-s -w' -o $(CURDIR)/$@ helm.sh/helm/v4/cmd/helm

bin/sample-apiserver: test/aggregation/sample/go.mod test/aggregation/sample/go.sum
	cd $(<D) && go build -ldflags '-s -w' -o $(CURDIR)/$@ k8s.io/sample-apiserver

bin/metrics-server: test/aggregation/metrics/go.mod test/aggregation/metrics/go.sum
	cd $(<D) && go build -ldflags '-s -w' -o $(CURDIR)/$@ sigs.k8s.io/metrics-server/cmd/metrics-server

bin/mkimage: $(wildcard cmd/mkimage/*.go)
	go build -o $@ ./cmd/mkimage

bin/static/pause: $(wildcard cmd/pause/*.go)
	$(STATIC) -o $@ ./cmd/pause

bin/static/demo: $(wildcard cmd/demo/*.go)
	$(STATIC) -o $@ ./cmd/demo

bin/static/coredns: $(wildcard cmd/coredns/*)
	cd cmd/coredns && $(STATIC) -o ../../$@ .

bin/images/pause.tar: bin/mkimage bin/static/pause
	@mkdir -p $(@D)
	bin/mkimage -tag yare.local/pause:v1 -file bin/static/pause:/pause -o $@

bin/images/demo-%.tar: bin/mkimage bin/static/demo
	@mkdir -p $(@D)
	bin/mkimage -tag yare.local/demo:$* -file bin/static/demo:/bin/demo -env VERSION=$* -o $@

bin/images/coredns.tar: bin/mkimage bin/static/coredns
	@mkdir -p $(@D)
	bin/mkimage -tag yare.local/coredns:v1 -file bin/static/coredns:/coredns -o $@
