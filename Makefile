# The verbs of this house, the same for people and for .ci/run.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
MODEL  ?= all_minilm_l6_v2
PORT   ?= 8080
GRPC_PORT ?= 8081

.PHONY: setup run test lint format bench bench-keys bench-quotas stress-quotas clean help
help:
	@echo "make run [MODEL=…] [PORT=…] [GRPC_PORT=…] | setup | test | lint | format | bench | bench-keys | bench-quotas | stress-quotas | clean"

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
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .
	@$(BIN)/python -m router.config.reference docs/reference

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.router

bench-keys: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.keys

bench-quotas: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.quotas

# Kills routers and stops PostgreSQL under load, then compares all books; exits 1 if they differ.
stress-quotas: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.stress_quotas

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache
