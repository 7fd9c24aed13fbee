# The verbs of this house, the same for people and for .ci/run.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
MODEL  ?= all_minilm_l6_v2
PORT   ?= 8080
GRPC_PORT ?= 8081

.PHONY: setup run test lint format bench bench-engine bench-gpu bench-keys bench-quotas chaos stress-quotas clean help
help:
	@echo "make run [MODEL=…] [PORT=…] [GRPC_PORT=…] | setup | test | lint | format | clean"
	@echo "make bench | bench-engine | bench-gpu | bench-keys | bench-quotas | chaos | stress-quotas"

# `run` needs the engine only; everything else works on the development environment.
$(VENV)/.engine: pyproject.toml constraints.txt
	@sh deploy/setup.sh "$(PYTHON)" "$(VENV)" engine
	@touch $@
$(VENV)/.dev: pyproject.toml constraints.txt
	@sh deploy/setup.sh "$(PYTHON)" "$(VENV)" dev
	@touch $@ $(VENV)/.engine

setup: $(VENV)/.dev

run: $(VENV)/.engine
	@exec $(BIN)/embedway up --model "$(MODEL)" --port "$(PORT)" --grpc-port "$(GRPC_PORT)"

test: $(VENV)/.dev
	@$(BIN)/python -m pytest

lint: $(VENV)/.dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@report=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$report"; exit 1; }

format: $(VENV)/.dev
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .
	@$(BIN)/python -m router.config.reference docs/reference

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.router

bench-engine: $(VENV)/.dev
	@PYTHONPATH=backends/embedding $(BIN)/python -m benchmarks.engine

bench-gpu: $(VENV)/.dev
	@PYTHONPATH=backends/embedding $(BIN)/python -m benchmarks.gpu $(ARGS)

chaos: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.chaos.run

bench-keys: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.keys

bench-quotas: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.quotas

# Kills routers and stops PostgreSQL under load, then compares all books; exits 1 if they differ.
stress-quotas: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.stress_quotas

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache
