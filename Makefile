# A person needs python3, make and git; everything else is set up in .venv.
PYTHON ?= python3
BIN := .venv/bin
DATA ?=

.PHONY: setup check test test-all demo page clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup
	$(BIN)/pytest -m "not slow"

test-all: setup
	$(BIN)/pytest

demo: setup
	$(BIN)/dpcenet demo $(if $(DATA),--data "$(DATA)") --out demo

# The 3-D viewer of `dpcenet app`; a wheel has it already.
page: setup
	$(BIN)/python hatch_build.py

clean:
	rm -rf .venv demo
