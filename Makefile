# Everything starts from a bare clone: the first target run makes the virtual environment.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
RUN    := demo-run
export PYTHONHASHSEED = 0

.PHONY: demo test slow explore lint types contract check clean help

help:
	@echo "make demo      train a small network on digits, search, report, export (3 minutes)"
	@echo "make test      the quick tests; make slow adds the long ones, make explore new examples"
	@echo "make check     tests, lint, types and import contract"

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python examples/demo.py $(RUN)

test: $(READY)
	$(BIN)/python -m pytest

slow: $(READY)
	$(BIN)/python -m pytest -m slow

explore: $(READY)  # properties on examples that are new in every run
	$(BIN)/python -m pytest --hypothesis-profile=explore

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

contract: $(READY)
	$(BIN)/lint-imports

check: test lint types contract

clean:
	rm -rf $(RUN) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
