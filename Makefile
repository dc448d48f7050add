# `make run` and `make test` do all the set-up they need.

CARGO ?= cargo
WEB := web
DIST := $(WEB)/dist/index.html
DATA ?= data

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: run
run: build ## Build, then run the demo: server, embedded engines, 24 simulated strips
	@target/release/dormouse demo --data $(DATA)

.PHONY: build
build: tools-build $(DIST) ## Build the release binary with the page inside
	$(CARGO) build --release --locked -p dormouse

.PHONY: web
web: $(DIST) ## Build the page

$(DIST): $(shell find $(WEB)/src $(WEB)/public -type f 2>/dev/null) $(WEB)/index.html $(WEB)/package-lock.json $(WEB)/vite.config.ts
	cd $(WEB) && npm ci --no-audit --no-fund && npm run build

.PHONY: tools-build
tools-build:
	@./scripts/tools build

.PHONY: tools-test
tools-test:
	@./scripts/tools test

.PHONY: test
test: tools-test $(DIST) check ## Run every check and every test
	$(CARGO) test --locked --workspace
	./scripts/check-deploy target/debug/dormouse
	cd $(WEB) && npm run check && npm test && npm run e2e

.PHONY: check
check: ## Formatting, lints, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

.PHONY: openapi
openapi: ## Write docs/openapi.json and the page's types from the handlers
	$(CARGO) run --locked -q -p dormouse -- openapi > docs/openapi.json
	cd $(WEB) && npm run api

.PHONY: soak
soak: tools-test ## Break nodes and engines at random under load; MINUTES=60 SEED=1
	DORMOUSE_SOAK_MINUTES=$(or $(MINUTES),10) $(if $(SEED),DORMOUSE_SOAK_SEED=$(SEED)) \
		$(CARGO) test --locked --release -p dormouse --test it cluster::soak -- --nocapture

.PHONY: emqx-check
emqx-check: tools-test ## Run it all on a real EMQX 5.8.9: EMQX_HOME=/unpacked/release, else docker or podman
	CARGO="$(CARGO)" ./scripts/emqx-check

.PHONY: bench
bench: tools-test build ## Measure; ROW=n for one row (writes docs/benchmarks.md)
	$(CARGO) build --release --locked -p dormouse-bench
	$(CARGO) build --release --locked -p dormouse --example history_load
	./bench/run $(if $(ROW),--row $(ROW))
