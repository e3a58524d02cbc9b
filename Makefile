# The two commands to know: `make demo` and `make test`. Python 3.11 or newer is all they need.

PYTHON ?= python3
VENV ?= .venv
WORKSPACE ?= workspace
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Much of the time tests wait for services, so there are more processes than cores. Each starts services of
# its own, and has 2 GB; who is out of tests takes half of another's.
PROCESSES := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) * 3 / 2)))
SIDE_BY_SIDE := --numprocesses $(PROCESSES) --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test lint types contracts check clean

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Waveband needs Python 3.11 or newer; this is %d.%d. Say PYTHON=/path/to/python" % sys.version_info[:2]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing Waveband and what it needs (about 5 GB, some minutes)"
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "installing what the tests need"
	$(PIP) -e '.[test]'
	@touch $@

install: $(VENV)/.installed ## Make .venv and install Waveband into it

demo: $(VENV)/.installed ## From a synthesized album to a mix, in minutes
	$(BIN)/waveband demo --workspace $(WORKSPACE)

test: $(VENV)/.installed-test ## Install what the tests need and run them
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

lint: $(VENV)/.installed-test ## Style: ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test ## Types of the library: mypy
	$(BIN)/mypy

contracts: $(VENV)/.installed-test ## Who may import whom: import-linter
	$(BIN)/lint-imports

check: lint types contracts test ## All of the above

clean: ## Remove caches (not the workspace, not .venv)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
