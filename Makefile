# `make run` and `make test` need nothing but Python 3.11 or newer, git and make.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# Stages call `python`, `dvc` finds them: both must be the environment's. The quotes in the recipes
# and the relative paths keep folders with spaces working.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
# Without a bytecode cache every stage compiles torch again, which takes seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test check proofs lint calibrate bench format lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

# Without a git repository DVC needs `core.no_scm`; with one, that setting is removed again.
NO_SCM := [core]\n    no_scm = true\n
setup: $(READY) ## create .venv and install the locked dependencies, nothing else
	@if test -e .git; then printf '$(NO_SCM)' | cmp -s - .dvc/config.local && rm .dvc/config.local || true; \
	 elif ! test -e .dvc/config.local; then printf '$(NO_SCM)' > .dvc/config.local; fi

run: setup ## run the whole study, print the answer, name the report
	@python -m pipeline check
	@dvc repro
	@python -m pipeline show

test: setup ## run all tests except the proofs (minutes)
	@python -m pytest -q

check: lint ## check format, lint and types, run the fast tests
	@python -m pytest -q -m "not slow and not proof"

proofs: setup ## run the proofs: every member where `make test` tries a few, the slowest whole studies
	@python -m pytest -q -m proof

lint: setup ## check format, lint and types
	@ruff format --check .
	@ruff check .
	@mypy

calibrate: setup ## measure the error rates of the verdicts in simulated and real studies (minutes)
	@python -m benchmarks.calibration

DATA ?= mnist
bench: setup ## compare the generator with textbook recipes (an hour; DATA=folder with MNIST's four IDX files)
	@python -m benchmarks.comparison --data "$(DATA)"

format: setup ## format the code
	@ruff format .
	@ruff check --fix .

lock: setup ## rewrite requirements.lock from pyproject.toml
	@python -m pip install -q uv
	@uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes -o requirements.lock

clean: ## delete finished trials; results stay in DVC's cache
	@rm -rf .trials

# Compiling all 15,000 modules beforehand takes most of a minute; Python compiles what it imports.
$(READY): requirements.lock
	@"$(PYTHON)" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed, found " + sys.version.split()[0] + ". Fix: run make with PYTHON=python3.12 or the like")'
	@test -x $(VENV)/bin/python || "$(PYTHON)" -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV) (some 6 GB, a few minutes)"
	@$(VENV)/bin/python -m pip install -q --no-compile --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $(READY)
