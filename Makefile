# `make compare`, `make check` (a minute), `make test`, `make test-long` and `make docs`. Each makes .venv first if it is not there or
# pyproject.toml changed.
PYTHON ?= python3
ARGS ?= --epochs 10
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: compare docs gpu check test test-common test-long lint types clean

compare: .venv/installed
	$(BIN)/python compare.py $(ARGS)

gpu: .venv/installed  # on a machine with an NVIDIA GPU, at most nine minutes; again, it goes on (docs/results/gpu.md)
	$(BIN)/python -m comparison.bench.gpu --json gpu.json

check: .venv/installed-dev  # what needs neither framework: the checkers on one core, the tests on the other
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint types test-common

test-common: .venv/installed-dev
	$(PYTEST) tests/common

test: check
	$(PYTEST) --ignore=tests/common

test-long: .venv/installed-dev
	$(PYTEST) -m slow

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: .venv/installed-dev
	$(BIN)/basedpyright

docs: .venv/installed  # the documentation as a site, in build/site/index.html
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	$(BIN)/zensical build --strict --clean

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ .venv/installed

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
