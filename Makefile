# Everything this project does, one word each; plain `make` lists them.
#
# Needs Linux with Python 3.11 or newer, make and git. All else goes into .venv, on the first call of any target.
#   Another interpreter:     make test PYTHON=python3.12
#   CPU-only PyTorch wheels  (hundreds of megabytes instead of gigabytes): set PIP_EXTRA_INDEX_URL to the CPU wheel
#   index that PyTorch's install page names before the first call; pip then prefers its build of the pinned version.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Tests that start many processes, or whose subject is what happens under load: one at a time, after the others.
ALONE := tests/end_to_end tests/reliability tests/stack

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-seeds stack test test-vllm bench-judging bench-learning bench-fleet bench-training lint types check clean

help: ## this list
	@echo "rubric-reward: train an image generator on rewards from a judge that reads a rubric"
	@echo
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20
	@echo
	@echo "Start with \`make demo\`; then see what the command can do: $(BIN)/arr --help"

demo: $(INSTALLED) ## the whole loop on this machine, in minutes: demo_out/report.html
	@$(BIN)/arr demo

demo-seeds: $(INSTALLED) ## the demo over three seeds, with the spread
	@$(BIN)/arr demo --num-seeds 3

stack: $(INSTALLED) ## the whole service on this machine, without a container engine; STACK="--trainers" for three trainers, too
	@$(BIN)/python -m deploy.stack $(STACK)

test: $(INSTALLED) ## all tests that need no vLLM
	@$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile $(addprefix --ignore=,$(ALONE))
	@$(BIN)/pytest $(ALONE)

test-vllm: $(INSTALLED) ## the tests against a real vLLM, built into .vllm (2 GB) on the first call
	@PYTHON=$(PYTHON) tests/vllm/build.sh
	@$(BIN)/pytest tests/vllm

bench-judging: $(INSTALLED) ## judging side by side with other ways: throughput, latency, fairness, overload
	@$(BIN)/python -m benchmarks.judging

bench-learning: $(INSTALLED) ## learning a rubric set: one call at a time, as built, and the same again
	@$(BIN)/python -m benchmarks.learning

bench-fleet: $(INSTALLED) ## 256 training runs on the scheduler, simulated: goodput, fairness, and how far off `arr size` is
	@$(BIN)/python -m benchmarks.fleet

bench-training: $(INSTALLED) ## training beside the reference's loop: batching, overlap, the rest; on a GPU: docs/performance.md
	@$(BIN)/python -m benchmarks.training

lint: $(INSTALLED) ## ruff: lint rules and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(INSTALLED) ## mypy, strict
	@$(BIN)/mypy

check: lint types test ## lint, types and tests: what a pull request must pass

clean: ## remove .venv, .vllm and caches; data (.arr, runs, demo_out) stays
	rm -rf $(VENV) .vllm .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamp makes set-up run again when, and only when, the dependencies changed.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: $(PYTHON) is missing or older than Python 3.11; name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "error: $(PYTHON) cannot create virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) (minutes the first time: PyTorch is large)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]' \
	  | sed -unE 's/^ *(Downloading|Using cached|Processing) ([^ ]*\/)*([^ /]+).*/  \3/p; s/^(Installing) collected.*/  installing .../p'
	@touch $@
