# The one door for people and CI. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/sh
X := . tools/env.sh && cargo xtask

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: ## build everything, start a hub and two sample apps, show them in the dashboard
	@sh tools/bootstrap.sh run
	@$(X) demo

.PHONY: test
test: ## set up what tests need and run everything: what CI runs
	@sh tools/bootstrap.sh test
	@$(X) test

.PHONY: bench
bench: ## side by side with the real pm2, in one run; prints the table of ratios
	@sh tools/bootstrap.sh bench
	@$(X) bench

.PHONY: lint
lint: ## format check, clippy, dependency policy, tidy, web type check and lint
	@sh tools/bootstrap.sh lint
	@$(X) lint

.PHONY: fmt
fmt: ## format Rust and TypeScript
	@sh tools/bootstrap.sh lint
	@$(X) fmt

.PHONY: dist
dist: ## release binary with the dashboard inside, in dist/
	@sh tools/bootstrap.sh run
	@$(X) dist
