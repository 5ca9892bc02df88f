# berth: `make help` lists what there is to do. Every recipe is one script that can be called by hand as well.

.DEFAULT_GOAL := help
.PHONY: help run build test test-vm fuzz bench lint fmt check layers clean setup

DENO := scripts/deno
# How dist/berth is made: compiled, self-extracting, or empty for the best that is possible here.
PACKAGE ?=

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build berth and run a first container, step by step
	@scripts/first_run

build: setup ## make dist/berth, one executable file (PACKAGE=compiled or self-extracting to choose)
	@$(DENO) run -A scripts/build.ts $(if $(PACKAGE),--package=$(PACKAGE))

test: ## run every check and every test (FILTER=words for some test files)
	@scripts/test $(FILTER)

test-vm: ## test limits in a virtual machine with systemd and cgroup v2 (PARTS="drivers systemd units integration:volumes bench …")
	@scripts/test_vm $(PARTS)

fuzz: setup ## feed the readers of archives and the API with damage (SECONDS=600 SEED=1)
	@BERTH_FUZZ_SECONDS=$(or $(SECONDS),600) BERTH_FUZZ_SEED=$(or $(SEED),$(shell date +%s)) $(DENO) run -A npm:vitest run tests/fuzz

bench: build ## measure berth beside its peers (BENCH="network" for one part)
	@$(DENO) run -A bench/run.ts $(BENCH)

check: setup ## type-check every file
	@scripts/check_types

lint: setup ## deno lint, and the check that imports point downwards
	@$(DENO) lint --quiet
	@$(DENO) run -A scripts/check_layers.ts

fmt: setup ## format every file
	@$(DENO) fmt --quiet

clean: ## remove what build and tests have made
	rm -rf dist coverage .cache

setup: ## install the pinned npm packages, if they are not there
	@scripts/setup
