# The verbs of this house, the same for people and for .ci/run.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
MODEL  ?= all_minilm_l6_v2
PORT   ?= 8080
GRPC_PORT ?= 8081

.PHONY: setup run test test-cluster cluster-parts lint format help clean images
.PHONY: bench bench-cache bench-engine bench-gpu bench-keys bench-metrics bench-quotas bench-workers
.PHONY: chaos rolling stress-quotas
help:
	@echo "make run [MODEL=…] [PORT=…] [GRPC_PORT=…] [OBSERVE=1] | setup | test | test-cluster | lint"
	@echo "make bench | bench-cache | bench-engine | bench-gpu | bench-keys | bench-metrics"
	@echo "make bench-quotas | bench-workers | chaos | rolling | stress-quotas | cluster-parts"
	@echo "make format | clean"
	@echo "make images [ENGINE=docker|podman|buildah] [IMAGES='router operator triton']"

# `run` needs the engine only; everything else works on the development environment.
$(VENV)/.engine: pyproject.toml constraints.txt
	@sh deploy/setup.sh "$(PYTHON)" "$(VENV)" engine
	@touch $@
$(VENV)/.dev: pyproject.toml constraints.txt
	@sh deploy/setup.sh "$(PYTHON)" "$(VENV)" dev
	@touch $@ $(VENV)/.engine

setup: $(VENV)/.dev

run: $(VENV)/.engine
	@exec $(BIN)/embedway up --model "$(MODEL)" --port "$(PORT)" --grpc-port "$(GRPC_PORT)" $(if $(OBSERVE),--observe)

test: $(VENV)/.dev
	@$(BIN)/python -m pytest

# Built once a machine (some minutes), or those in KUBEBUILDER_ASSETS.
cluster-parts: $(VENV)/.dev
	@$(BIN)/python -m tests.support.cluster.binaries

test-cluster: cluster-parts
	@$(BIN)/python -m pytest tests/cluster

lint: $(VENV)/.dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@report=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$report"; exit 1; }

format: $(VENV)/.dev
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .
	@$(BIN)/python -m router.config.reference docs/reference
	@$(BIN)/python -m router.telemetry.metric_reference docs/reference
	@$(BIN)/python -m deploy.dashboards helm/embedway/files/dashboards
	@$(BIN)/python -m router.config.crds helm/embedway-crds/templates
	@$(BIN)/python -m router.config.resource_reference docs/reference
	@$(BIN)/python deploy/chart/chart_reference.py

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.router

bench-engine: $(VENV)/.dev
	@PYTHONPATH=backends/embedding $(BIN)/python -m benchmarks.engine

bench-gpu: $(VENV)/.dev
	@PYTHONPATH=backends/embedding $(BIN)/python -m benchmarks.gpu $(ARGS)

chaos: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.chaos.run

# Restarts routers and Tritons one after another under load; exits 1 if a client notices.
rolling: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.rolling

bench-workers: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.workers

bench-keys: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.keys

bench-metrics: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.metrics

bench-quotas: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.quotas

bench-cache: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.shared_cache

# Kills routers and stops PostgreSQL under load, then compares all books; exits 1 if they differ.
stress-quotas: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.stress_quotas

# ENGINE, TAG, PYTHON_IMAGE, TRITON_IMAGE and more: see the script.
images: $(VENV)/.engine
	@sh deploy/images/build.sh $(BIN)/python $(IMAGES)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache
