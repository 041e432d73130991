# Each target sets itself up in .venv from pyproject.toml and constraints.txt.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: demo check test docs bench clean

demo: $(VENV)/.ready
	$(BIN)/icecore run demo shapes

check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# A process a core, one thread each: on tensors as small as the tests' threads only wait for each other.
test: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto

# The documentation as a site, in build/site; every warning is an error.
docs: $(VENV)/.ready-dev
	DISABLE_MKDOCS_2_WARNING=true NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(VENV)/.ready-dev
	$(BIN)/python bench

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.ready

clean:
	rm -rf $(VENV) build dist *.egg-info
