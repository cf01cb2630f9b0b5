# Python 3.11 or newer and make are all this needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HELD_MODE ?= development

.PHONY: run demo test test-all lint fmt bench prove lock clean

run: $(VENV)/.run-ready  ## Serve a demo with synthetic people
	$(BIN)/held serve --demo

demo: $(VENV)/.run-ready  ## Walk the whole journey against a running `make run`
	$(BIN)/held demo

test: $(VENV)/.test-ready  ## Under 5 minutes
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not prove and not postgres"

test-all: $(VENV)/.test-ready  ## Everything, PostgreSQL included; under 20 minutes
	$(BIN)/pytest -n 2 --dist loadfile -m "not prove" --ignore tests/faults
	$(BIN)/pytest -n 2 -m "not prove" tests/faults

lint: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

fmt: $(VENV)/.test-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test-ready  ## Ratios measured in one run, with their thresholds
	$(BIN)/python -m tests.load.bench

prove: $(VENV)/.test-ready  ## The big figures; their JSON goes to docs/evidence
	$(BIN)/pytest -m prove

lock: $(VENV)/.test-ready
	for name in run test; do $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-header --no-annotate --universal --python-version 3.11 \
	  requirements/$$name.in -o requirements/$$name.lock; done

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Held needs Python 3.11 or newer.")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run-ready: requirements/run.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.test-ready: requirements/test.lock $(VENV)/.run-ready
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.lock
	touch $@
