# A person needs python3, make and git; everything else is set up in .venv.
PYTHON ?= python3
BIN := .venv/bin
DATA ?=

.PHONY: setup check test test-all demo demo-train site dist release page browser clean

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

# The tests of the page drive Debian's Chromium; where it cannot be had they are skipped.
browser:
	@command -v chromium >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get install -y -qq chromium >/dev/null 2>&1; } || \
	  echo "no Chromium: the page is not tested (Debian: apt-get install chromium)"

# Two files at a time, each on one core: what is small gains nothing from a second one. What
# measures time comes after them, alone.
test: setup browser
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not slow and not alone"
	$(BIN)/pytest -m "alone and not slow"

test-all: setup browser
	$(BIN)/pytest

demo: setup
	$(BIN)/dpcenet demo $(if $(DATA),--data "$(DATA)")

demo-train: setup
	$(BIN)/dpcenet demo --train $(if $(DATA),--data "$(DATA)")

# The documents as a site, in site/; a warning is an error.
site: setup
	$(BIN)/mkdocs build --strict

dist: setup
	$(BIN)/python -m build

# `make release VERSION=0.2.0`: the version, the date in the changelog, wheel and sdist, their hashes.
release: setup
	$(BIN)/python .ci/release.py $(VERSION)

# The 3-D viewer of `dpcenet app`; a wheel has it already.
page: setup
	$(BIN)/python hatch_build.py

clean:
	rm -rf .venv demo demo-* dist site
