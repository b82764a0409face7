SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON := .venv/bin/python
UV := UV_PROJECT_ENVIRONMENT=.venv .venv/bin/uv
NODES ?= 3
WORKERS ?= 4
LIVE_WORKERS ?= 4
ARGS ?=

# A command in a lab that stays up if it was up before.
define in_lab
keep=; ! $(PYTHON) -m tests.lab status >/dev/null 2>&1 || keep=yes; \
	$(PYTHON) -m tests.lab up $(NODES); \
	code=0; $(1) || code=$$?; \
	[[ -n $$keep ]] || $(PYTHON) -m tests.lab down; \
	exit $$code
endef

# Live tests side by side, file by file in the order of tests/live/conftest.py.
define side_by_side
	$(PYTHON) -m pytest -m "($(1)) and not load" -n $(LIVE_WORKERS) --dist loadfile \
		--no-loadscope-reorder --durations=10 $(ARGS)
endef

# The same; then, by itself, what measures callers. With ARGS there may be nothing of one kind.
define live
	$(call in_lab,{ $(call side_by_side,$(1)) || [[ $$? = 5 && -n "$(ARGS)" ]]; } && { \
	$(PYTHON) -m pytest -m "($(1)) and load" --durations=0 $(ARGS) || [[ $$? = 5 && -n "$(ARGS)" ]]; })
endef

on_oldest = export DEPLOYTOOL_LAB=9 DEPLOYTOOL_LAB_ENGINE=oldest

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make .venv with the locked dependencies
	@scripts/bootstrap.sh

.PHONY: quickstart
quickstart: ## From a bare machine to four replicas of the example behind a proxy
	@scripts/quickstart.sh

.PHONY: test
test: lint test-unit test-live ## Lint, types and tests, on real clusters too (needs root)

.PHONY: test-all
test-all: lint test-unit ## The same, and what takes too long for every day: most of an hour
	@$(call live,live and not faults and not corpus and not nomad)
	@$(MAKE) test-corpus
	@$(on_oldest); $(call live,live and (core or load) and not faults and not double)
	@$(MAKE) test-faults

.PHONY: test-unit
test-unit: setup ## The tests that need no engine
	$(PYTHON) -m pytest -m "not live" -n $(WORKERS) $(ARGS)

.PHONY: test-live
test-live: setup ## The tests on real clusters, LIVE_WORKERS=4 side by side (needs root)
	@$(call live,live and not thorough and not nomad)

.PHONY: test-nomad
test-nomad: setup ## The tests on the real Nomad cluster of NOMAD_ADDR, in NOMAD_NAMESPACE
	$(PYTHON) -m pytest -m nomad --durations=10 $(ARGS)

.PHONY: test-corpus
test-corpus: setup ## Every project of tests/corpus from init to an answer (needs root)
	@$(call in_lab,$(PYTHON) -m pytest -m corpus -n $(LIVE_WORKERS) --dist worksteal \
		--durations=10 $(ARGS) || [[ $$? = 5 && -n "$(ARGS)" ]])

.PHONY: test-oldest
test-oldest: setup ## The most important of them on the oldest engine (needs root)
	@$(on_oldest); $(call live,live and core and not faults and not double)

.PHONY: test-faults
test-faults: setup ## Every deploy that goes wrong, under load; writes docs/faults.md (needs root)
	@rm -rf .faults
	@$(call in_lab,$(PYTHON) -m pytest -m faults $(ARGS))
	$(PYTHON) -m tests.live.faults.table

.PHONY: lint
lint: setup ## Style, format, types and the direction of imports
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-cache --no-logo

.PHONY: format
format: setup ## Format the code and fix what can be fixed
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

.PHONY: bench
bench: setup ## Benchmarks, side by side with plain tooling (ARGS="name")
	@$(PYTHON) -c 'import matplotlib' 2>/dev/null || \
	  UV_SYSTEM_CERTS=$${UV_SYSTEM_CERTS:-1} $(UV) sync --locked --inexact --quiet --group bench
	$(PYTHON) -m bench $(ARGS)

.PHONY: lab-up
lab-up: setup ## A Swarm of NODES=3 on this machine, for tests (needs root)
	$(PYTHON) -m tests.lab up $(NODES)

.PHONY: lab-down
lab-down: setup ## Remove it, all of it
	$(PYTHON) -m tests.lab down

.PHONY: lock
lock: setup ## Resolve the dependencies anew into uv.lock
	$(UV) lock --upgrade

.PHONY: clean
clean: ## Remove .venv and what tools leave behind
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
