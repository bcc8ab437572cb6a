# `make sweep` measures, `make test` checks; both first build what they need into .venv.

PYTHON ?= python3
CONSTRAINTS ?= hpc/constraints-cpu.txt
# more than cores: those that test Slurm mostly wait
WORKERS ?= 5
BIN := .venv/bin
INSTALLED := .venv/.installed

# modules are compiled once, not again in each process that a test or a run starts
unexport PYTHONDONTWRITEBYTECODE

.PHONY: sweep test lint typecheck unit docs pictures soak clean help

sweep: $(INSTALLED)  ## run the default study here and now, up to the finished report
	$(BIN)/python -m weather_hpc.sweep --executor local

test: lint typecheck unit docs  ## everything that CI checks

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(INSTALLED)
	$(BIN)/mypy

unit: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS)

docs: $(INSTALLED)  ## build the documentation, warnings as errors
	$(BIN)/sphinx-build -W -n -q -b html docs docs/_build/html

pictures: $(INSTALLED)  ## make the pictures in README and docs again, with Chromium
	$(BIN)/python docs/pictures.py

soak: $(INSTALLED)  ## 200 random kills in 30 minutes: nothing lost, nothing made twice
	$(BIN)/python -m tests.soak

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' \
	  || { echo "make: $(PYTHON) is older than 3.11.4; name a newer one: make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[dev]'
	@touch $@

clean:  ## remove what make built; results stay
	rm -rf .venv docs/_build .pytest_cache .mypy_cache .ruff_cache

help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
