# `make compare`, `make test`, and `make test-long`. Each makes .venv first if it is not there or pyproject.toml changed.
PYTHON ?= python3
ARGS ?= --epochs 10
BIN := .venv/bin

.PHONY: compare test lint types unit test-long clean

compare: .venv/installed
	$(BIN)/python compare.py $(ARGS)

test: lint types unit

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: .venv/installed-dev
	$(BIN)/basedpyright

unit: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-long: .venv/installed-dev
	$(BIN)/python -m pytest -m slow

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
